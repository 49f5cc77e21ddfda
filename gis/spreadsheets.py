"""Rows as CSV and Excel have them: places as two numbers or as WKT, types beside, bytes that do not tell the hour."""

from __future__ import annotations

import re
import zipfile
from datetime import date, datetime
from datetime import time as clock
from io import BytesIO
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import shapely

from gis.errors import unfit, unreadable

MOST_ROWS = 1_048_575  #: of a sheet, beside its heading
MOST_TEXT = 32_767  #: characters of a cell
MOST_BYTES = 512 * 2**20  #: of a workbook that is read, unpacked
_STILL = (1980, 1, 1, 0, 0, 0)
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")


def with_places(frame: gpd.GeoDataFrame) -> pd.DataFrame:
    """The rows with columns ``x`` and ``y`` where all are points, else with a column ``wkt``; numbers in full."""
    shapes = frame.geometry.to_numpy()
    table = pd.DataFrame(frame.drop(columns=frame.geometry.name))
    points = shapely.get_type_id(shapes) == shapely.GeometryType.POINT
    names = {str(name).lower() for name in table.columns}
    if (points | shapely.is_missing(shapes)).all() and points.any() and not names & {"x", "y"}:
        return table.assign(x=shapely.get_x(shapes), y=shapely.get_y(shapes))
    return table.assign(wkt=shapely.to_wkt(shapes, rounding_precision=-1))


def write_csv(table: pd.DataFrame, path: Path, encoding: str) -> None:
    """A CSV file (UTF-8 with a mark, so that Excel sees it), and the types of its columns in a .csvt beside it."""
    table = table.copy()
    types = []
    for name in table.columns:
        column = table[name]
        known = column.dropna()
        if pd.api.types.is_bool_dtype(column.dtype):
            table[name] = column.astype("Int64")
            types.append("Integer(Boolean)")
        elif pd.api.types.is_integer_dtype(column.dtype):
            types.append("Integer64")
        elif pd.api.types.is_float_dtype(column.dtype):
            types.append("Real")
        elif len(known) and all(type(value) is date for value in known):
            types.append("Date")
        else:
            types.append("String")
    table.to_csv(path, index=False, lineterminator="\r\n", encoding="utf-8-sig" if encoding == "utf-8" else encoding)
    words = ",".join(f'"{kind}"' for kind in types)
    path.with_suffix(".csvt").write_text(f"{words}\n", encoding="ascii")


def write_xlsx(table: pd.DataFrame, path: Path, said: Path) -> None:
    """A workbook of one sheet; text stays text (codes keep their digits). UnfitFile if it is too large."""
    from openpyxl import Workbook

    if len(table) > MOST_ROWS:
        raise unfit(
            said,
            f"cannot hold {len(table):,} rows: a sheet has room for {MOST_ROWS:,}",
            f"无法容纳 {len(table):,} 行：工作表最多 {MOST_ROWS:,} 行",
            mend="narrow it with --class or --area, or write a GeoPackage",
            mend_zh="请用 --class 或 --area 缩小范围，或改用 GeoPackage",
        )
    book = Workbook(write_only=True)
    sheet = book.create_sheet("data")
    sheet.append([str(name) for name in table.columns])
    columns = [[_cell(value, said, str(name)) for value in table[name].tolist()] for name in table.columns]
    for row in zip(*columns, strict=True):
        sheet.append(row)
    made = BytesIO()
    book.save(made)
    with zipfile.ZipFile(made) as given, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in given.infolist():
            content = given.read(member)
            if member.filename == "docProps/core.xml":
                content = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", b"2000-01-01T00:00:00Z", content)
            still = zipfile.ZipInfo(member.filename, date_time=_STILL)
            still.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(still, content)


def sheets(said: Path, path: Path, scratch: Path) -> list[tuple[str, Path]]:
    """The sheets of a workbook as CSV files in ``scratch``, by name: first row the names of the columns, dates as days.

    UnfitFile (about ``said``) for what is no workbook, holds nothing, or is too large to be read whole.
    """
    from openpyxl import load_workbook

    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MOST_BYTES:
            raise unfit(
                said,
                f"holds over {MOST_BYTES >> 20} MB when unpacked",
                f"解压后超过 {MOST_BYTES >> 20} MB",
                mend="save it as CSV (UTF-8)",
                mend_zh="请另存为 CSV（UTF-8）",
            )
        book = load_workbook(path, read_only=True, data_only=True)
        made = []
        for number, sheet in enumerate(book.worksheets):
            rows = [list(row) for row in sheet.iter_rows(values_only=True)]
            rows = [row for row in rows if any(value is not None for value in row)]
            if len(rows) < 2:
                continue
            names = [f"field_{n}" if name is None else str(name).strip() for n, name in enumerate(rows[0], start=1)]
            table = pd.DataFrame([row[: len(names)] for row in rows[1:]], columns=names, dtype=object).infer_objects()
            folder = scratch / f"sheet{number}"
            folder.mkdir()
            write_csv(_days(table), folder / "sheet.csv", "utf-8")
            made.append((str(sheet.title), folder / "sheet.csv"))
    except (
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        OSError,
        SyntaxError,
    ) as bad:
        raise unreadable(said, bad) from bad
    if not made:
        raise unfit(said, "holds no rows", "没有任何记录", mend="choose another file", mend_zh="请选择其他文件")
    return made


def _days(table: pd.DataFrame) -> pd.DataFrame:
    """Instants at midnight as days: a workbook knows no other days."""
    for at, name in enumerate(table.columns):
        column = table.iloc[:, at].astype(object)
        known = [value for value in column if value is not None and value == value]
        if known and all(isinstance(value, datetime | date) for value in known):
            days = [
                value.date() if isinstance(value, datetime) and value.time() == clock() else value
                for value in (None if value is None or value != value else value for value in column)
            ]
            table[name] = pd.Series(days, index=table.index, dtype=object)
    return table


def _cell(value: Any, said: Path, name: str) -> Any:
    if value is None or value is pd.NaT or value is pd.NA or value != value:
        return None
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, bool | int | float | date):
        return value
    text = _FORBIDDEN.sub("", str(value))
    if len(text) > MOST_TEXT:
        raise unfit(
            said,
            f"cannot hold a text of {len(text):,} characters in field {name}: a cell has room for {MOST_TEXT:,}",
            f"无法容纳字段 {name} 中 {len(text):,} 个字符的文本：单元格最多 {MOST_TEXT:,} 个",
            mend="write a GeoPackage instead",
            mend_zh="请改用 GeoPackage",
            field=name,
        )
    return text
