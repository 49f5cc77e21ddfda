"""Files of reports: their head, which columns say what, and their rows a batch at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pyogrio
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError

from gis.crs import crs_of, number_bounds
from gis.errors import Invalid, unfit, unreadable

PART_ROWS = 500_000  #: so that several workers end at about the same time
BATCH_ROWS = 250_000  #: that are in memory at once, of each thread
CSV_BLOCK = 8 << 20  #: bytes
#: How the columns of a file may be called, in lower case; the first that is there is taken.
CALLED = {
    "x": ("x", "lon", "longitude", "lng", "east", "easting", "经度", "x坐标", "横坐标"),
    "y": ("y", "lat", "latitude", "north", "northing", "纬度", "y坐标", "纵坐标"),
    "class_code": ("class_code", "class", "类别", "小类", "类别编码"),
    "condition_no": ("condition_no", "condition", "立案条件"),
    "component_code": ("component_code", "component", "部件编码", "部件标识码"),
}


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns of a file say what. Either x and y, or geometry."""

    x: str | None = None
    y: str | None = None
    geometry: str | None = None  #: points, WKB
    class_code: str | None = None
    condition_no: str | None = None
    component_code: str | None = None
    srid: int | None = None  #: of the numbers, EPSG (or GCJ02, BD09 of gis.crs); None: the city's


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some rows of a Parquet file."""

    number: int
    path: str
    groups: tuple[int, ...]
    first_row: int  #: in the file, from 1


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file of reports, its head read."""

    path: Path
    kind: str  #: parquet, csv, layer
    names: tuple[str, ...]
    geometry: str | None
    srid: int | None  #: None: it does not say
    rows: int | None  #: None: not known before it is read
    nested: tuple[str, ...] = ()  #: columns that only Parquet can hold
    parts: tuple[Part, ...]  #: of Parquet
    encoding: str = "utf-8"


def open_source(path: Path, *, encoding: str | None = None, part_rows: int = PART_ROWS) -> Source:
    """The head of a .parquet file or folder of them, a .csv, or a layer of points (.gpkg …).

    Raises UnfitFile for what cannot be read; a broken file of a folder is named.
    """
    if path.is_dir() or path.suffix.lower() in (".parquet", ".geoparquet"):
        return _open_parquet(path, part_rows)
    if not path.exists():
        raise unfit(path, "is not there", "不存在", mend="check its name", mend_zh="请检查文件名")
    if path.suffix.lower() in (".csv", ".txt"):
        encoding = encoding or _encoding(path)
        try:
            with path.open(encoding=encoding, newline="") as file:
                names = next(csv.reader(file), [])
        except (UnicodeDecodeError, csv.Error) as bad:
            raise unreadable(path, bad) from None
        if not names:
            raise unfit(path, "is empty", "是空文件", mend="choose another file", mend_zh="请选择其他文件")
        head = Source(path=path, kind="csv", names=tuple(names), geometry=None, srid=None, rows=None, parts=())
        return replace(head, encoding=encoding)
    try:
        info = pyogrio.read_info(path)
    except Exception as bad:  # whatever GDAL says
        raise unreadable(path, bad) from None
    crs = info["crs"]
    srid = None if crs is None else _srid(path, crs)
    _want_points(path, [str(info["geometry_type"] or "none")])
    fields = tuple(str(name) for name in info["fields"])
    geometry = None if info["geometry_type"] is None else "geometry"
    return Source(
        path=path, kind="layer", names=fields, geometry=geometry, srid=srid, rows=int(info["features"]), parts=()
    )


def _open_parquet(path: Path, part_rows: int) -> Source:
    found = [path] if not path.is_dir() else path.rglob("*.parquet")
    files = sorted(file for file in found if not any(part.startswith(".") for part in file.relative_to(path).parts))
    if not files:
        raise unfit(
            path,
            "holds no .parquet files",
            "中没有 .parquet 文件",
            mend="choose another folder",
            mend_zh="请选择其他目录",
        )
    parts: list[Part] = []
    rows, first = 0, None
    for file in files:
        try:
            with pq.ParquetFile(file) as read:
                schema, metadata = read.schema_arrow, read.metadata
        except (pa.ArrowException, OSError, ValueError) as bad:
            raise unreadable(file, bad) from None
        first = first or schema
        if schema.names != first.names:
            raise unfit(
                file,
                f"has other columns than {files[0].name}",
                f"的列与 {files[0].name} 不同",
                mend="bring all files of a folder to the same columns",
                mend_zh="同一目录内各文件的列须一致",
            )
        groups: list[int] = []
        held = at = 0
        for group in range(metadata.num_row_groups):
            many = metadata.row_group(group).num_rows
            if groups and held + many > part_rows:
                parts.append(Part(number=len(parts), path=str(file), groups=tuple(groups), first_row=at - held + 1))
                groups, held = [], 0
            groups.append(group)
            held, at = held + many, at + many
        if groups:
            parts.append(Part(number=len(parts), path=str(file), groups=tuple(groups), first_row=at - held + 1))
        rows += metadata.num_rows
    assert first is not None
    geometry, srid = _geo(files[0], first)
    names = tuple(name for name in first.names if name != geometry)
    nested = tuple(field.name for field in first if pa.types.is_nested(field.type))
    return Source(
        path=path,
        kind="parquet",
        names=names,
        geometry=geometry,
        srid=srid,
        rows=rows,
        parts=tuple(parts),
        nested=nested,
    )


def _geo(path: Path, schema: Any) -> tuple[str | None, int | None]:
    """The geometry's column of GeoParquet and its system; None, None without one."""
    said = (schema.metadata or {}).get(b"geo")
    if said is None:
        return None, None
    try:
        geo = json.loads(said)
        column = geo["columns"][geo["primary_column"]]
        crs = column.get("crs", "OGC:CRS84")
        if str(column["encoding"]).upper() != "WKB":
            return None, None
        _want_points(path, list(column.get("geometry_types", ())))
        return str(geo["primary_column"]), None if crs is None else _srid(path, crs)
    except (ValueError, KeyError, TypeError) as bad:
        raise unreadable(path, bad) from None


def _want_points(path: Path, kinds: Sequence[str]) -> None:
    """Refuse a layer of which it is known that it holds no points."""
    known = [kind for kind in kinds if not kind.startswith(("Unknown", "GeometryCollection", "none"))]
    if known and not any(kind.startswith("Point") for kind in known):
        raise unfit(
            path,
            f"holds {known[0]}, not points",
            f"的几何类型为 {known[0]}，不是点",
            mend="take points (QGIS: Point on surface, or Multipart to singleparts)",
            mend_zh="请使用点图层（QGIS：面内点，或多部件转单部件）",
        )


def _srid(path: Path, crs: Any) -> int | None:
    try:
        known = CRS.from_user_input(crs)
    except CRSError as bad:
        raise unreadable(path, bad) from None
    if known.to_authority() == ("OGC", "CRS84"):
        return 4326
    return known.to_epsg()


def _encoding(path: Path) -> str:
    """UTF-8, with or without a mark, else GBK: which of them the beginning of a file can be."""
    with path.open("rb") as file:
        head = file.read(1 << 20)
    try:
        head.decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        return "utf-8-sig" if bad.start > len(head) - 4 else "gb18030"
    return "utf-8-sig"


def columns_of(source: Source, said: Columns, city_srid: int) -> Columns:
    """Which columns say what: as said, else by how they are usually called. Invalid where the place or its system is
    not known: what a file does not say is asked for, not guessed.
    """
    twice = sorted({name for name in source.names if source.names.count(name) > 1})
    if twice:
        raise unfit(
            source.path,
            f"has the column {twice[0]!r} twice",
            f"的列 {twice[0]!r} 重复",
            mend="give each column a name of its own",
            mend_zh="请使用不同的列名",
            field=twice[0],
        )
    have = {name.strip().lower(): name for name in source.names}
    for field in ("x", "y", "class_code", "condition_no", "component_code"):
        name = getattr(said, field)
        if name is not None and name not in source.names:
            raise Invalid(
                f"{source.path.name} has no column {name!r}; it has {', '.join(source.names) or 'none'}",
                f"{source.path.name} 没有 {name!r} 列；现有：{'、'.join(source.names) or '无'}",
                mend="correct the name",
                mend_zh="请更正列名",
                file=source.path,
                field=field,
            )
    found = {
        field: getattr(said, field) or next((have[name] for name in called if name in have), None)
        for field, called in CALLED.items()
    }
    by_numbers = said.x is not None or said.y is not None or source.geometry is None
    if by_numbers and (found["x"] is None or found["y"] is None):
        raise Invalid(
            f"{source.path.name} does not say where its reports are: it has {', '.join(source.names) or 'no columns'}",
            f"{source.path.name} 未说明坐标所在列：现有 {'、'.join(source.names) or '无'}",
            mend="--x COLUMN --y COLUMN say which hold the coordinates",
            mend_zh="请用 --x 列名 --y 列名 指定坐标列",
            file=source.path,
            field="x",
        )
    srid = said.srid or source.srid
    if srid is None:
        raise Invalid(
            f"{source.path.name} does not say its coordinate system",
            f"{source.path.name} 未说明坐标系",
            mend=f"--crs says it: {city_srid} is the city's, 4326 degrees; 910002 GCJ-02, 910009 BD-09",
            mend_zh=f"请用 --crs 指定：{city_srid} 为本市坐标系，4326 为经纬度，910002 为 GCJ-02，910009 为 BD-09",
            file=source.path,
            field="crs",
        )
    crs_of(srid)  # an unknown system is refused as such, not row by row
    number_bounds(srid)
    if by_numbers and found["x"] == found["y"]:
        raise Invalid(
            f"x and y are the same column, {found['x']!r}",
            f"x 与 y 为同一列 {found['x']!r}",
            mend="name two columns",
            mend_zh="请指定两列",
            file=source.path,
            field="y",
        )
    if not by_numbers:
        found |= {"x": None, "y": None}
    return Columns(**found, geometry=None if by_numbers else source.geometry, srid=srid)


def tables_of(part: Part, columns: Sequence[str], texts: Sequence[str]) -> Iterator[pa.Table]:
    """The rows of a part of a Parquet file, a batch at a time; ``texts`` as dictionaries where they are texts."""
    path = Path(part.path)
    try:
        with pq.ParquetFile(path, read_dictionary=list(texts), memory_map=True) as file:
            for batch in file.iter_batches(
                BATCH_ROWS, row_groups=list(part.groups), columns=list(columns), use_threads=False
            ):
                yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError, ValueError) as bad:
        if isinstance(bad, OSError) and bad.errno is not None:
            raise
        raise unreadable(path, bad) from None


def stream(source: Source, part_rows: int) -> Iterator[tuple[int, int, pa.Table]]:
    """The rows of a file that can only be read from its beginning: number of the part, its first row, table."""
    number, first = 0, 1
    held: list[pa.RecordBatch] = []
    many = 0
    for batch in _batches(source):
        held.append(batch)
        many += len(batch)
        if many >= part_rows:
            yield number, first, pa.Table.from_batches(held)
            number, first, held, many = number + 1, first + many, [], 0
    if held:
        yield number, first, pa.Table.from_batches(held)


def _batches(source: Source) -> Iterator[pa.RecordBatch]:
    try:
        if source.kind == "csv":
            numbers = {name: pa.string() for name in source.names}  # as they are written; numbers are read where needed
            read = pa_csv.ReadOptions(encoding=source.encoding.replace("utf-8-sig", "utf-8"), block_size=CSV_BLOCK)
            convert = pa_csv.ConvertOptions(column_types=numbers, strings_can_be_null=True, null_values=[""])
            with pa_csv.open_csv(source.path, read_options=read, convert_options=convert) as reader:
                yield from reader
            return
        with pyogrio.open_arrow(source.path, batch_size=BATCH_ROWS, use_pyarrow=True) as (meta, reader):
            geometry = meta["geometry_name"] or "wkb_geometry"
            for batch in reader:
                names = ["geometry" if name == geometry else name for name in batch.schema.names]
                yield batch.rename_columns(names)
    except (pa.ArrowException, ValueError, pyogrio.errors.DataSourceError) as bad:
        raise unreadable(source.path, bad) from None


# ── columns ────────────────────────────────────────


def floats(column: Any) -> Any:
    """Numbers of a column; what is none is NaN."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pd.to_numeric(column.to_pandas(), errors="coerce").to_numpy(dtype=np.float64)
    return column.to_numpy().astype(np.float64, copy=False)


def points(column: Any) -> tuple[Any, Any]:
    """x and y of WKB points; NaN for what is no point."""
    x, y = [], []
    for chunk in column.chunks:
        sizes = pc.binary_length(chunk)
        if chunk.null_count == 0 and len(chunk) and pc.min_max(sizes).as_py() == {"min": 21, "max": 21}:
            start = np.frombuffer(
                chunk.buffers()[1], dtype=np.int64 if pa.types.is_large_binary(chunk.type) else np.int32
            )
            first = int(start[chunk.offset])
            raw = np.frombuffer(chunk.buffers()[2], dtype=np.uint8)[first : first + 21 * len(chunk)].reshape(-1, 21)
            if (raw[:, 0] == 1).all() and (raw[:, 1:5] == (1, 0, 0, 0)).all():  # little-endian points
                xy = np.ascontiguousarray(raw[:, 5:]).view("<f8")
                x.append(xy[:, 0])
                y.append(xy[:, 1])
                continue
        shapes = shapely.from_wkb(chunk.to_numpy(zero_copy_only=False), on_invalid="ignore")
        there = (shapely.get_type_id(shapes) == 0) & ~shapely.is_empty(shapes)
        for axis, read in ((x, shapely.get_x), (y, shapely.get_y)):
            numbers = np.full(len(shapes), np.nan)
            numbers[there] = read(shapes[there])
            axis.append(numbers)
    return (np.concatenate(x), np.concatenate(y)) if x else (np.empty(0), np.empty(0))


def category(column: Any) -> Any:
    """Texts as categories, without making them one by one where they are dictionaries already."""
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    column = column.unify_dictionaries().combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], pa.string()).dictionary_encode()
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    names = column.dictionary.cast(pa.string()).to_pylist()
    known: Any = [name.strip() if name is not None else "" for name in names]
    if len(set(known)) == len(known) and "" not in known:
        return pd.Categorical.from_codes(codes, categories=known)
    values = np.array([name or None for name in known] + [None], dtype=object)
    return pd.Categorical(values[codes])
