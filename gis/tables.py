"""Tables of text (CSV) with a place in each row: a column of WKT, or two of coordinates.

Every column is text, unless a ``.csvt`` file beside (a convention of GDAL, which QGIS knows too) gives types; a value
that is not of its column's type stays text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely

from gis.errors import unfit, unreadable
from gis.wkb import DEEPEST, Flat

_WKT = ("wkt", "geometry", "geom", "the_geom", "shape")
_X = (
    *("x", "lon", "lng", "long", "longitude", "east", "easting", "point_x", "pointx", "coord_x", "x_coord"),
    *("经度", "东坐标", "横坐标", "x坐标", "坐标x"),
)
_Y = (
    *("y", "lat", "latitude", "north", "northing", "point_y", "pointy", "coord_y", "y_coord"),
    *("纬度", "北坐标", "纵坐标", "y坐标", "坐标y"),
)
_TYPES = {"integer": "integer", "integer64": "integer", "real": "number", "integer(boolean)": "yes/no", "date": "day"}
_EWKT = re.compile(r"^\s*SRID=\d+;", re.IGNORECASE)


class TableFile:
    """A CSV file, its header read; every column is text."""

    def __init__(self, said: Path, path: Path, encoding: str) -> None:
        """``said`` is the file's name in messages. UnfitFile when it has no place, with the columns it has."""
        self._said, self._path, self._encoding = said, path, encoding
        with path.open(encoding=encoding, newline="") as file:
            head = file.readline().rstrip("\r\n")
        self._mark = max(",;\t|", key=head.count)
        blank = next(self._frames(1), None)
        if blank is None:
            blank = pd.DataFrame(columns=head.split(self._mark))
        plain = {str(name).strip().lower(): str(name) for name in reversed(blank.columns)}
        self._wkt = next((plain[name] for name in _WKT if name in plain), None)
        x, y = (next((plain[name] for name in names if name in plain), None) for names in (_X, _Y))
        if self._wkt is None and (x is None or y is None):
            raise unfit(
                said,
                "has neither a column of WKT nor two of coordinates",
                "既没有 WKT 列，也没有坐标列",
                mend="name a column WKT, or two x and y (or lon and lat)",
                mend_zh="请将几何列命名为 WKT，或将坐标列命名为 x 和 y（或 lon 和 lat）",
                fields=", ".join(map(str, blank.columns)),
            )
        self._xy = (str(x), str(y))
        self.places = self._xy if self._wkt is None else (self._wkt,)
        kinds = dict(zip(blank.columns, _stated(path, len(blank.columns)), strict=True))
        kept = [name for name in blank.columns if name != self._wkt]
        self.names = [str(name).strip() for name in kept]
        self.types = [kinds[name] for name in kept]

    def batches(self, rows: int) -> Iterator[tuple[pd.DataFrame, Flat]]:
        """The columns without that of WKT, and the geometries."""
        for frame in self._frames(rows):
            flat = self._from_wkt(frame) if self._wkt is not None else self._from_numbers(frame)
            kept = frame.drop(columns=[] if self._wkt is None else [self._wkt]).reset_index(drop=True)
            for name, kind in zip(kept.columns, self.types, strict=True):
                kept[name] = _typed(kept[name], kind)
            yield kept, flat

    def _frames(self, rows: int) -> Iterator[pd.DataFrame]:
        try:
            with pd.read_csv(
                self._path,
                dtype=str,
                encoding=self._encoding,
                sep=self._mark,
                keep_default_na=False,
                na_values=[""],
                chunksize=rows,
            ) as parts:
                yield from parts
        except pd.errors.EmptyDataError as bad:
            raise unreadable(self._said, "no lines", "没有任何行") from bad
        except (ValueError, pd.errors.ParserError, UnicodeDecodeError) as bad:
            raise unreadable(self._said, bad) from bad

    def _from_wkt(self, frame: pd.DataFrame) -> Flat:
        column = frame[self._wkt]
        words = [_EWKT.sub("", word) if isinstance(word, str) else None for word in column.tolist()]
        deep = np.array([word is not None and word.upper().count("COLLECTION") > DEEPEST for word in words], dtype=bool)
        words = [None if lost else word for word, lost in zip(words, deep, strict=True)]
        texts = np.array(words, dtype=object)
        try:
            shapes: Any = shapely.from_wkt(texts, on_invalid="ignore")
        except (NotImplementedError, shapely.GEOSException):  # curves among them
            shapes = np.array([_one(word) for word in words], dtype=object)
        given = np.array([word is not None for word in words], dtype=bool)
        z, m = shapely.has_z(shapes), shapely.has_m(shapes)
        lost = deep | (given & shapely.is_missing(shapes))
        return Flat(shapely.force_2d(shapes), np.zeros(len(words), bool), z, m, lost)

    def _from_numbers(self, frame: pd.DataFrame) -> Flat:
        texts = [frame[name] for name in self._xy]
        numbers = [pd.to_numeric(text.str.strip(), errors="coerce").to_numpy(np.float64) for text in texts]
        points: Any = shapely.points(*numbers)
        missing = np.isnan(numbers[0]) | np.isnan(numbers[1])
        points[missing] = None
        some = (texts[0].notna() | texts[1].notna()).to_numpy()
        no = np.zeros(len(frame), dtype=bool)
        return Flat(points, no, no.copy(), no.copy(), missing & some)


def _stated(path: Path, columns: int) -> list[str]:
    """The types of the columns that the .csvt beside states; text without one."""
    beside = path.with_suffix(".csvt")
    try:
        words = beside.read_text(encoding="utf-8-sig").strip().split(",")
    except (OSError, UnicodeDecodeError):
        return ["text"] * columns
    kinds = [_TYPES.get(re.sub(r"\(\d.*", "", word.strip().strip('"').lower()), "text") for word in words]
    return kinds if len(kinds) == columns else ["text"] * columns


def _typed(column: pd.Series, kind: str) -> pd.Series:
    """The column as what it is said to be; whole numbers with gaps as Python integers and None; other as text."""
    if kind == "text":
        return column
    reads: dict[str, Any] = {
        "integer": int,
        "number": float,
        "day": date.fromisoformat,
        "yes/no": {"1": True, "0": False, "true": True, "false": False}.__getitem__,
    }
    odd = False

    def read(value: Any) -> Any:
        nonlocal odd
        if not isinstance(value, str):
            return None
        try:
            return reads[kind](value)
        except (ValueError, KeyError):
            odd = True
            return value

    values = [read(value) for value in column.tolist()]
    if odd:
        return pd.Series(values, index=column.index, name=column.name, dtype="object")
    whole = kind == "integer" and all(value is not None and abs(value) < 2**63 for value in values)
    kinds = {"number": "float64", "integer": "int64" if whole else "object"}
    return pd.Series(values, index=column.index, name=column.name, dtype=kinds.get(kind, "object"))


def _one(word: str | None) -> Any:
    try:
        return shapely.from_wkt(word, on_invalid="ignore")
    except (NotImplementedError, shapely.GEOSException):
        return None
