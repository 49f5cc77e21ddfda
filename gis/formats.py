"""Vector files that GIS staff have, read with every fault named.

Shapefile (plain, in a folder or zipped; GBK or UTF-8), GeoPackage, file geodatabase (a folder, or zipped), DXF, KML and
KMZ, GML, GeoJSON, GeoJSONSeq, TopoJSON, FlatGeobuf, GeoParquet, OSM PBF, and CSV or Excel (xlsx) with a column of WKT
or with two of coordinates. ``open_vector`` reads in batches, so that memory does not grow with the file;
``read_vector`` reads a whole layer and settles its system. Writing is in gis/written.py. Whatever is missing, empty or
broken is UnfitFile with the file, the row (from 1) and the field.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyogrio
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from gis.columns import geometry_of, pandas_of
from gis.crs import GEODETIC, SCRAMBLED, crs_of, reproject
from gis.dbf import Encoding, cut_text
from gis.errors import UnfitFile, unfit, unreadable
from gis.sources import CARRIER, JSON, Source, opening, sources, text_encoding
from gis.tables import TableFile
from gis.wkb import Flat
from gis.written import WRITTEN, write_layers, write_vector

__all__ = [
    "WRITTEN",
    "Batch",
    "LayerInfo",
    "UnfitFile",
    "VectorFile",
    "code_text",
    "layers_of",
    "open_vector",
    "read_vector",
    "unfit",
    "write_layers",
    "write_vector",
]

BATCH = 50_000  #: rows
EXACT = 2.0**53  #: integers below are exact in a float
CODE_LIKE = 1e11  #: a whole number of 12 digits or more is a code, not a measure
Mask = npt.NDArray[np.bool_]


class LayerInfo(NamedTuple):
    """One layer of a file."""

    name: str
    geometry_type: str | None  #: as GDAL calls it; None: none, or not known before reading
    rows: int | None  #: None: not known without reading


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a layer."""

    frame: pd.DataFrame  #: the fields, and ``geometry``: shapely geometries or None, 2-D, numbers as in the file
    #: by row: "curved" (arcs, which became chords), "z" and "m" (not all 0, dropped), "unreadable" (the geometry was
    #: lost and is None), "garbled" (a text has bytes that are not in its encoding)
    flags: Mapping[str, Mask]


class VectorFile:
    """One layer of a vector file, open for reading; a context manager. Made by open_vector."""

    def __init__(self, path: Path, source: Source, layers: list[LayerInfo], content: _Content, held: ExitStack) -> None:
        self.path = path
        self.layer = source.name
        self.layers = layers  #: all layers of the file
        self.driver = source.driver
        self.encoding = content.encoding.name  #: of the texts
        self.encoding_said = content.encoding.en, content.encoding.zh  #: how it is known
        self.crs = content.crs  #: None: the file does not say
        self.fields = content.fields  #: (name, type: text, integer, number, yes/no, day, instant, time, list, binary)
        self.rows = content.rows  #: None: not known before they are read
        self.geometry_type = source.geometry_type
        self.geometry_fields = content.places  #: of a CSV: the column of WKT, or the two of coordinates
        self._content, self._held = content, held

    def __enter__(self) -> VectorFile:
        """The file itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, bad: BaseException | None, at: TracebackType | None) -> None:
        """Forget what was unpacked."""
        self._held.close()

    def batches(self, rows: int = BATCH) -> Iterator[Batch]:
        """All rows in order, so many at a time; the index of the frames is the row, counted from 1.

        Memory is bounded by the batch. Text is text; integers that have missing values are Python integers or None.
        Raises UnfitFile where the file breaks off.
        """
        start = 1
        for columns, flat, garbled in self._content.batches(rows):
            index = pd.RangeIndex(start, start + len(flat.geometry), name="row")
            frame = columns.set_index(index) if len(columns.columns) else pd.DataFrame(index=index)
            frame = frame.assign(geometry=pd.Series(flat.geometry, index=index, dtype=object))
            start += len(frame)
            flags = {"curved": flat.curved, "z": flat.z, "m": flat.m, "unreadable": flat.unreadable, "garbled": garbled}
            yield Batch(frame, flags)


class _Content(NamedTuple):
    """What one layer holds, however it is read."""

    crs: CRS | None
    fields: list[tuple[str, str]]
    rows: int | None
    encoding: Encoding
    batches: Callable[[int], Iterator[tuple[pd.DataFrame, Flat, Mask]]]
    places: tuple[str, ...] = ()


def layers_of(path: Path, *, encoding: str | None = None) -> list[LayerInfo]:
    """The layers of a file, those of geometry first. UnfitFile as open_vector."""
    with tempfile.TemporaryDirectory(prefix="wanmi-") as scratch:
        return _infos(sources(Path(path), Path(scratch), encoding))


def open_vector(path: Path, *, layer: str | None = None, encoding: str | None = None) -> VectorFile:
    """A layer of a vector file, ready to be read; everything about the file is checked, nothing is read yet.

    path     : a file, a zip file, a file geodatabase, or a folder of shapefiles
    layer    : which, in a file of several; else UnfitFile lists them
    encoding : of the texts of a shapefile or CSV; without it, it is known from the file (see encoding_said)
    """
    path = Path(path)
    held = ExitStack()
    try:
        scratch = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="wanmi-")))
        found = sources(path, scratch, encoding, layer)
        source = _chosen(path, found, layer)
        makes = {"ogr": _ogr, "table": _table, "parquet": _parquet}
        content = makes[source.kind](path, source, encoding)
        return VectorFile(path, source, _infos(found), content, held)
    except BaseException:
        held.close()
        raise


def _infos(found: list[Source]) -> list[LayerInfo]:
    infos = [LayerInfo(source.name, source.geometry_type, source.rows) for source in found]
    return sorted(infos, key=lambda info: info.geometry_type is None)


def _chosen(path: Path, found: list[Source], layer: str | None) -> Source:
    """The layer to read: the one named, else the only one with geometry."""
    spatial = [source for source in found if source.geometry_type is not None or source.kind != "ogr"] or found
    if layer is None and len(spatial) == 1:
        return spatial[0]
    named = next((source for source in found if source.name == layer), None)
    if named is not None:
        return named
    names = ", ".join(source.name for source in spatial)
    en = f"has no layer {layer!r}" if layer is not None else f"has {len(spatial)} layers"
    zh = f"没有图层 {layer!r}" if layer is not None else f"有 {len(spatial)} 个图层"
    mend, mend_zh = f"name one with --layer: {names}", f"请用 --layer 指定其一：{names}"
    raise unfit(path, en, zh, mend=mend, mend_zh=mend_zh, layers=names)


# ── by kind ────────────────────────────────────────

_TYPES = {
    "OFTInteger": "integer",
    "OFTInteger64": "integer",
    "OFTReal": "number",
    "OFTString": "text",
    "OFTDate": "day",
    "OFTDateTime": "instant",
    "OFTTime": "time",
    "OFTBinary": "binary",
}
_ARCS = "AcDb(?:Arc|Circle|Ellipse|Spline)"  #: entities of a drawing that are curves
_DRAWN = Encoding("utf-8", "converted from the code page in its header", "按文件头的代码页转换")
_UTF8 = Encoding("utf-8", "as its format prescribes", "该格式规定使用 UTF-8")


def _ogr(path: Path, source: Source, encoding: str | None) -> _Content:
    with opening(path):
        info = pyogrio.read_info(source.path, layer=source.inner, **source.options)
    known = source.encoding or (_DRAWN if source.driver == "DXF" else _UTF8)
    carried = known.name if source.encoding is not None else None
    names = [str(name) for name in info["fields"]]
    if carried is not None:
        names = [cut_text(name.encode(CARRIER), carried) or f"field_{n}" for n, name in enumerate(names, start=1)]
    names = _apart(names)
    types = [
        "yes/no" if subtype == "OFSTBoolean" else _TYPES.get(kind, "list")
        for kind, subtype in zip(info["ogr_types"], info["ogr_subtypes"], strict=True)
    ]

    def batches(rows: int) -> Iterator[tuple[pd.DataFrame, Flat, Mask]]:
        with (
            opening(path),
            pyogrio.open_arrow(
                source.path, layer=source.inner, use_pyarrow=True, batch_size=rows, **source.options
            ) as (meta, reader),
        ):
            shape = meta["geometry_name"] or "wkb_geometry"
            at = reader.schema.get_field_index(shape)
            others = [n for n in range(len(reader.schema)) if n != at]
            got = 0
            for batch in reader:
                got += batch.num_rows
                columns = [batch.column(n) for n in others]
                frame, garbled = pandas_of(columns, names, carried)
                flat = geometry_of(batch.column(at) if at >= 0 else None, batch.num_rows)
                if source.driver == "DXF":  # GDAL made chords of them already
                    arcs = frame["SubClasses"].str.contains(_ARCS, na=False).to_numpy(dtype=bool)
                    flat = flat._replace(curved=flat.curved | arcs)
                yield frame, flat, garbled
            # A stream of GDAL ends at a fault as it does at the end. Shapefiles may count rows that were deleted.
            if source.rows is not None and got < source.rows and source.driver != "ESRI Shapefile":
                raise unreadable(path, f"it breaks off after row {got:,}", f"读到第 {got:,} 行后中断")

    return _Content(_system(path, info["crs"]), list(zip(names, types, strict=True)), source.rows, known, batches)


def _parquet(path: Path, source: Source, encoding: str | None) -> _Content:
    from gis.geoparquet import ParquetLayer

    opened = ParquetLayer(path, source.path)
    names = _apart(opened.names)

    def batches(rows: int) -> Iterator[tuple[pd.DataFrame, Flat, Mask]]:
        for columns, flat in opened.batches(rows):
            frame, garbled = pandas_of(columns, names, None)
            yield frame, flat, garbled

    return _Content(opened.crs, list(zip(names, opened.types, strict=True)), opened.rows, _UTF8, batches)


def _table(path: Path, source: Source, encoding: str | None) -> _Content:
    known, rows = text_encoding(source.path, encoding)
    opened = TableFile(path, source.path, known.name)
    names = _apart(opened.names)

    def batches(rows: int) -> Iterator[tuple[pd.DataFrame, Flat, Mask]]:
        for frame, flat in opened.batches(rows):
            frame.columns = pd.Index(names)
            yield frame, flat, np.zeros(len(frame), dtype=bool)

    return _Content(None, list(zip(names, opened.types, strict=True)), rows, known, batches, opened.places)


def _apart(names: list[str]) -> list[str]:
    """Names of fields, none twice and none that of the geometry."""
    taken = {"geometry"}
    apart = []
    for name in names:
        plain, n = name, 1
        while name in taken:
            n += 1
            name = f"{plain}_{n}"
        taken.add(name)
        apart.append(name)
    return apart


def _system(path: Path, stated: str | None) -> CRS | None:
    """The system that a file states."""
    try:
        return CRS.from_user_input(stated) if stated else None
    except CRSError as bad:
        raise unreadable(path, f"its coordinate system is none ({bad})", f"其坐标系无法识别（{bad}）") from bad


# ── whole layers ────────────────────────────────────────


def read_vector(path: Path, *, layer: str | None = None, srid: int | None = None) -> gpd.GeoDataFrame:
    """All rows of a vector file, in its own coordinate system, which is always set.

    layer : which, in a file of several; else the message lists them
    srid  : EPSG number (or GCJ-02, BD-09) for a file that does not say its own; one that says another is refused
    The index counts the rows from 0; rows without geometry are kept, a geometry that is unreadable refuses the file.
    Text stays text; whole numbers of 12 digits and more become text if they are exact (see code_text). Positions in
    GCJ-02 and BD-09 come back as EPSG:4326.
    """
    path = Path(path)
    with open_vector(path, layer=layer) as file:
        if file.geometry_type is None and file.driver not in ("CSV", "GeoParquet"):
            raise unfit(
                path,
                "has no geometry",
                "没有几何数据",
                mend="choose a layer with polygons, lines or points",
                mend_zh="请选择含几何数据的图层",
            )
        parts = []
        for batch in file.batches():
            lost = np.flatnonzero(batch.flags["unreadable"])
            if len(lost):
                row = int(batch.frame.index[lost[0]])
                _refuse_row(path, row, _lost_field(batch.frame.iloc[int(lost[0])], file.geometry_fields))
            parts.append(batch.frame)
        stated = srid is None or path.suffix.lower() not in JSON or _names_system(path)
    if not parts or not sum(map(len, parts)):
        raise unfit(
            path,
            "holds no rows",
            "没有任何记录",
            mend="choose another file or layer",
            mend_zh="请选择其他文件或图层",
            **({"layer": layer} if layer else {}),
        )
    rows = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0].reset_index(drop=True)
    frame = gpd.GeoDataFrame(rows, geometry="geometry", crs=file.crs)
    frame = _with_system(path, frame, srid, stated)
    for name in frame.columns.drop(frame.geometry.name):
        frame[name] = _restored(frame[name])
    return frame


def _names_system(path: Path) -> bool:
    """Whether a GeoJSON file names its system; without one it is read as degrees."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return '"crs"' in file.read(65536)


def _lost_field(row: pd.Series, fields: tuple[str, ...]) -> str:
    """Which of the fields of a place is none: the one of WKT, or the first that is no number."""
    if len(fields) == 1:
        return fields[0]
    odd = [name for name in fields if pd.isna(pd.to_numeric(row[name], errors="coerce"))]
    return odd[0] if odd else "geometry"


def _refuse_row(path: Path, row: int, field: str) -> None:
    raise unfit(
        path,
        f"row {row}, field {field} is not a geometry",
        f"第 {row} 行字段 {field} 不是几何数据",
        mend="correct the row",
        mend_zh="请更正该行",
        row=row,
        field=field,
    )


def code_text(path: Path, column: pd.Series) -> pd.Series:
    """A column of codes as text, None where missing; UnfitFile with the row where digits have been lost.

    Whole numbers below 2⁵³ are exact; larger floats, fractions and spreadsheet forms such as 6.1E+14 are not.
    """

    def text(value: Any, row: int) -> str | None:
        if value is None or value is pd.NA or value != value or (isinstance(value, str) and not value.strip()):
            return None
        if isinstance(value, str):
            plain = value.strip()
            whole = plain[:-2] if plain.endswith(".0") and plain[:-2].isdigit() else plain
            if "e+" not in whole.lower():
                return whole
        elif (isinstance(value, int | np.integer) and not isinstance(value, bool)) or (
            isinstance(value, float | np.floating) and float(value).is_integer() and abs(float(value)) < EXACT
        ):
            return str(int(value))
        raise unfit(
            path,
            f"has lost digits of a code: {value!r} in row {row}, field {column.name}",
            f"第 {row} 行字段 {column.name} 的编码 {value!r} 已丢失精度",
            mend="save the column as text in the program that wrote the file, and read it again",
            mend_zh="请在生成该文件的软件中将该列保存为文本后重新读取",
            row=row,
            field=column.name,
        )

    values = [text(value, row) for row, value in enumerate(column.tolist(), start=1)]
    return pd.Series(values, index=column.index, name=column.name, dtype=object)


def _with_system(path: Path, frame: gpd.GeoDataFrame, srid: int | None, stated: bool) -> gpd.GeoDataFrame:
    """The frame with its system set, by its EPSG number where it has one."""
    own = frame.crs if stated else None
    if own is None and srid is None:
        raise unfit(
            path,
            "does not say its coordinate system",
            "没有坐标系信息",
            mend="say it with --crs and its EPSG number, such as --crs 4545; 910002 is GCJ-02, 910009 BD-09",
            mend_zh="请用 --crs 指明 EPSG 编号，如 --crs 4545；GCJ-02 用 910002，BD-09 用 910009",
            field="crs",
        )
    if own is not None:
        number = own.to_epsg(min_confidence=70)
        try:
            Transformer.from_crs(own, GEODETIC)
        except ProjError as bad:
            raise unreadable(path, f"its coordinate system {own.name} is not tied to the Earth") from bad
        if srid is not None and srid not in SCRAMBLED and number != srid and own != crs_of(srid):
            name = f"EPSG:{number}" if number else own.name
            raise unfit(
                path,
                f"says that it is in {name}, not in EPSG:{srid}",
                f"自述坐标系为 {name}，而不是 EPSG:{srid}",
                mend="leave out --crs, or correct the system in the file (QGIS: Assign projection)",
                mend_zh="请去掉 --crs，或更正文件的坐标系（QGIS：指定投影）",
                field="crs",
            )
        if srid not in SCRAMBLED:
            return frame.set_crs(CRS.from_epsg(number), allow_override=True) if number else frame
    assert srid is not None
    if srid in SCRAMBLED:
        moved = reproject(frame.geometry.to_numpy(), srid, GEODETIC)
        return frame.set_geometry(gpd.GeoSeries(moved, index=frame.index), crs=None).set_crs(
            GEODETIC, allow_override=True
        )
    return frame.set_crs(crs_of(srid), allow_override=True)


def _restored(column: pd.Series) -> pd.Series:
    """Numbers of 12 digits and more as text, if every one of them is whole and exact."""
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return column
    known = column.dropna()
    if known.empty or (known.abs() < CODE_LIKE).any():
        return column
    if pd.api.types.is_float_dtype(column) and ((known % 1 != 0) | (known.abs() >= EXACT)).any():
        return column
    return column.map(lambda value: None if pd.isna(value) else str(int(value))).astype(object)
