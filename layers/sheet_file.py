"""Files of a city's sheet (立结案标准): Excel or CSV as rows of texts, with what is merged, and the way back.

Nothing is understood here; layers/sheet.py does that.
"""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from gis.errors import UnfitFile

MOST_BYTES = 24_000_000  #: of a workbook unpacked, and of a CSV file
MOST_COLUMNS = 100
MOST_MERGED = 200_000  #: cells under merges
ERRORS = frozenset({"#REF!", "#N/A", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!"})
ENCODINGS = ("utf-8-sig", "gb18030")
TABLES = (".csv", ".txt", ".xlsx", ".xlsm", ".xls", ".ods")  #: read as tables; any other file as one of geometry
WRITTEN = (".csv", ".xlsx")


@dataclass(frozen=True)
class Cell:
    """What stands in a cell."""

    text: str = ""
    fault: str | None = None  #: formula_error, formula_empty, day
    number: bool = False  #: it is a number: zeros before it are gone
    merge: int | None = None  #: number of the vertical merge that it belongs to
    top: bool = True  #: it is the first cell of its merge, or of none


@dataclass(frozen=True)
class RawSheet:
    """One sheet: rows by their number in the file, which begins at 1."""

    title: str
    rows: dict[int, list[Cell]]
    hidden: bool = False
    across: list[tuple[int, int]] = field(default_factory=list)  #: row and column (from 1) of merges over columns


def read_file(path: Path) -> list[RawSheet]:
    """The sheets of an ``.xlsx``, ``.xlsm`` or ``.csv`` file. UnfitFile says why not, and what to save it as."""
    if not path.is_file():
        raise _unfit(path, f"there is no file {path}", f"文件 {path} 不存在", "correct the name", "请更正文件名")
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        raise _unfit(path, "is empty", "是空文件", "take it from its source again", "请重新取得该文件")
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise _unfit(
            path, "is an old Excel file, or locked by a password", "是旧版 Excel 文件或已加密", *_save_as("xlsx")
        )
    if head.startswith(b"PK"):
        return list(_workbook(path))
    if path.suffix.lower() in (".xlsx", ".xlsm", ".xls", ".ods"):
        raise _unfit(path, "is no Excel workbook", "不是有效的 Excel 工作簿", *_save_as("xlsx"))
    return [_csv(path)]


def write_file(path: Path, sheets: Sequence[tuple[str, Sequence[Sequence[str]]]], *, merged: int = 0) -> None:
    """Write sheets (title, rows of texts; the first is the header). In Excel equal cells that follow each other in
    the first ``merged`` columns are merged, within what is merged to their left. A CSV file takes one sheet.
    """
    if path.suffix.lower() == ".csv":
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            for _, rows in sheets:
                csv.writer(file).writerows(rows)
        return
    from openpyxl import Workbook
    from openpyxl.styles import Alignment, Font

    book = Workbook()
    book.remove(book.active)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for number, row in enumerate(rows, start=1):
            for column, text in enumerate(row, start=1):
                cell = sheet.cell(number, column)
                cell.value, cell.data_type = text, "s"  # also what begins with =
                cell.alignment = Alignment(vertical="top", wrap_text=True)
                if number == 1:
                    cell.font = Font(bold=True)
        for first, last, column in _runs(rows, merged):
            sheet.merge_cells(start_row=first, end_row=last, start_column=column, end_column=column)
        for column in range(1, len(rows[0]) + 1):
            sheet.column_dimensions[chr(64 + column)].width = 12 if column <= merged else 32
        sheet.freeze_panes = "A2"
    book.save(path)


def _runs(rows: Sequence[Sequence[str]], merged: int) -> Iterator[tuple[int, int, int]]:
    for column in range(merged):
        first = 1
        for row in range(2, len(rows) + 1):
            if row == len(rows) or rows[row][: column + 1] != rows[first][: column + 1]:
                if row - first > 1:
                    yield first + 1, row, column + 1
                first = row


def _csv(path: Path) -> RawSheet:
    content = path.read_bytes()
    if len(content) > MOST_BYTES:
        raise _too_large(path)
    for encoding in ENCODINGS:
        try:
            text = content.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise _unfit(path, "is neither UTF-8 nor GB 18030 text", "不是 UTF-8 或 GB 18030 文本", *_save_as("csv"))
    head = text.split("\n", 1)[0]
    sign = max(",;\t", key=head.count)
    try:
        lines = list(csv.reader(text.splitlines(keepends=True), delimiter=sign, strict=True))
    except csv.Error as bad:
        raise _unfit(path, f"cannot be read as CSV: {bad}", f"无法按 CSV 读取：{bad}", *_save_as("csv")) from bad
    return RawSheet(path.stem, {n: [Cell(text) for text in line] for n, line in enumerate(lines, start=1)})


def _workbook(path: Path) -> Iterator[RawSheet]:
    from openpyxl import load_workbook

    try:
        with zipfile.ZipFile(path) as parts:
            if sum(part.file_size for part in parts.infolist()) > MOST_BYTES:
                raise _too_large(path)
            if sum(_merged_cells(parts, name) for name in parts.namelist()) > MOST_MERGED:
                raise _too_large(path)  # the reader makes an object of each
        books = [load_workbook(path, data_only=shown) for shown in (True, False)]
    except UnfitFile:
        raise
    except Exception as bad:  # whatever a broken workbook makes of the reader
        raise _unfit(path, f"is no Excel workbook: {bad}"[:200], "不是有效的 Excel 工作簿", *_save_as("xlsx")) from bad
    shown, written = books
    for sheet in shown.worksheets:  # sheets of charts have no cells
        yield _sheet(sheet, written[sheet.title])


def _merged_cells(parts: zipfile.ZipFile, name: str) -> int:
    """How many cells the merges of a sheet cover."""
    if not name.startswith("xl/worksheets/"):
        return 0
    spans = re.findall(
        rb'<(?:\w+:)?mergeCell ref="([A-Z]{1,3})([0-9]{1,7}):([A-Z]{1,3})([0-9]{1,7})"', parts.read(name)
    )
    total = 0
    for first, top, last, bottom in spans:
        columns = [sum(26**at * (sign - 64) for at, sign in enumerate(reversed(text))) for text in (first, last)]
        total += (columns[1] - columns[0] + 1) * (int(bottom) - int(top) + 1)
    return total


def _sheet(sheet: Any, written: Any) -> RawSheet:
    merges: dict[tuple[int, int], tuple[int, int, int]] = {}
    across = []
    for number, span in enumerate(sheet.merged_cells.ranges):
        if span.max_col > span.min_col:
            across.append((span.min_row, span.min_col))
        for row in range(span.min_row, span.max_row + 1):
            merges[row, span.min_col] = (number, span.min_row, span.max_row)
    rows: dict[int, list[Cell]] = {}
    there = sorted(at for at in sheet._cells if at[1] <= MOST_COLUMNS)  # the public ways make all cells up to the last
    for number, column in there:
        at, top, last = merges.get((number, column), (None, number, number))
        value = sheet.cell(top, column).value
        formula = written.cell(top, column).value
        cell = _cell(value, isinstance(formula, str) and formula.startswith("=") and value is None)
        if cell.text or cell.fault:
            cells = rows.setdefault(number, [])
            cells += [Cell()] * (column - 1 - len(cells))
            cells.append(replace(cell, merge=at if last > top else None, top=top == number))
    return RawSheet(sheet.title, rows, sheet.sheet_state != "visible", across)


def _cell(value: Any, empty_formula: bool) -> Cell:
    if empty_formula:
        return Cell(fault="formula_empty")
    if value is None:
        return Cell()
    if isinstance(value, bool):
        return Cell(str(value).upper())
    if isinstance(value, int | float):
        return Cell(f"{value:.15g}", number=True)
    if isinstance(value, datetime | date | time):
        return Cell(str(value), fault="day")
    text = str(value)
    if text.strip().upper() in ERRORS:
        return Cell(text, fault="formula_error")
    return Cell(text)


def _save_as(kind: str) -> tuple[str, str]:
    if kind == "csv":
        return "save it as CSV UTF-8 in Excel", "请在 Excel 中另存为“CSV UTF-8”"
    return "open it in Excel and save it as .xlsx, without a password", "请在 Excel 中打开并另存为不加密的 .xlsx"


def _too_large(path: Path) -> UnfitFile:
    return _unfit(
        path,
        f"holds more than {MOST_BYTES // 1_000_000} MB unpacked: no sheet of classes is as large",
        f"解压后超过 {MOST_BYTES // 1_000_000} MB，超出分类表的合理大小",
        "delete the empty rows and the pictures, and save it again",
        "请删除空行与图片后重新保存",
    )


def _unfit(path: Path, en: str, zh: str, mend: str, mend_zh: str) -> UnfitFile:
    said, said_zh = (en, zh) if str(path) in en else (f"{path.name} {en}", f"{path.name} {zh}")
    return UnfitFile(said, said_zh, mend=mend, mend_zh=mend_zh, file=path)
