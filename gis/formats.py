"""Vector files that GIS staff have, read and written with every fault named.

Reading: shapefile (plain or zipped; GBK or UTF-8 attributes), GeoPackage, GeoJSON, KML, DXF, FlatGeobuf, GML, file
geodatabase, GeoParquet, and CSV with a column of WKT or with two of coordinates. Writing: by extension, see WRITTEN.
Whatever is missing, empty or broken is UnfitFile with the file, the row (from 1) and the field.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyogrio
import pyogrio.errors
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from gis.crs import GEODETIC, SCRAMBLED, crs_of, reproject
from gis.dbf import encoding_of
from gis.errors import Conflict, UnfitFile

MOST_UNPACKED_BYTES = 2 * 2**30  #: of a zip file
GUESSED_BYTES = 16 * 2**20  #: of a table, from which its encoding is guessed
#: extension → format of GDAL that is written; None: GeoParquet; "zip": a shapefile in one file
WRITTEN: Mapping[str, str | None] = {
    ".gpkg": "GPKG",
    ".parquet": None,
    ".shp": "ESRI Shapefile",
    ".zip": "zip",
    ".geojson": "GeoJSON",
    ".fgb": "FlatGeobuf",
}
_PARQUET = (".parquet", ".geoparquet")
_TABLES = (".csv", ".txt", ".tsv")
_WKT = ("wkt", "geometry", "geom", "the_geom", "shape")
_X = ("x", "lon", "lng", "longitude", "east", "easting", "经度", "东坐标", "x坐标")
_Y = ("y", "lat", "latitude", "north", "northing", "纬度", "北坐标", "y坐标")
_SHAPEFILE_PARTS = (".shp", ".shx", ".dbf", ".prj", ".cpg")
_NAME = 10  #: characters of a field's name in a shapefile
_TEXT_BYTES = 254
EXACT = 2.0**53  #: integers below are exact in a float
CODE_LIKE = 1e11  #: a whole number of 12 digits or more is a code, not a measure


def unfit(path: Path, en: str, zh: str, *, mend: str, mend_zh: str, **where: object) -> UnfitFile:
    """UnfitFile about a file; ``en``/``zh`` continue "NAME …"."""
    return UnfitFile(f"{path.name} {en}", f"{path.name} {zh}", mend=mend, mend_zh=mend_zh, file=path, **where)


# ── reading ────────────────────────────────────────


def read_vector(path: Path, *, layer: str | None = None, srid: int | None = None) -> gpd.GeoDataFrame:
    """All rows of a vector file, in its own coordinate system, which is always set.

    layer : which, in a file of several; else the message lists them
    srid  : EPSG number (or GCJ-02, BD-09) for a file that does not say its own; one that says another is refused
    The index counts the rows from 0; rows without geometry are kept. Text stays text; whole numbers of 12 digits
    and more become text if they are exact (see code_text). Positions in GCJ-02 and BD-09 come back as EPSG:4326.
    """
    path = Path(path)
    _want_file(path)
    suffix = path.suffix.lower()
    stated = True
    if suffix in _PARQUET:
        frame = _read_parquet(path)
    elif suffix in _TABLES:
        frame = _read_table(path)
    else:
        frame, stated = _read_ogr(path, layer, srid)
    if frame.empty:
        raise unfit(
            path,
            "holds no rows",
            "没有任何记录",
            mend="choose another file or layer",
            mend_zh="请选择其他文件或图层",
            **({"layer": layer} if layer else {}),
        )
    frame = _with_system(path, frame, srid, stated)
    for name in frame.columns.drop(frame.geometry.name):
        frame[name] = _restored(frame[name])
    return frame.reset_index(drop=True)


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


def _want_file(path: Path) -> None:
    if not path.exists():
        raise unfit(path, "is not there", "不存在", mend="correct the name or the folder", mend_zh="请更正文件名或目录")
    if path.is_dir() and path.suffix.lower() != ".gdb":
        raise unfit(path, "is a folder, not a file", "是文件夹，不是文件", mend="name a file", mend_zh="请指定文件")
    if path.is_file() and path.stat().st_size == 0:
        raise unfit(
            path,
            "is empty (0 bytes)",
            "为空文件（0 字节）",
            mend="copy or export it again",
            mend_zh="请重新复制或导出",
        )


def _unreadable(path: Path, why: object) -> UnfitFile:
    return unfit(
        path,
        f"cannot be read: {why}",
        f"无法读取：{why}",
        mend="a broken copy, or another format under this name; export it anew, a GeoPackage serves best",
        mend_zh="文件可能损坏，或文件名与实际格式不符；请重新导出，建议使用 GeoPackage",
    )


def _read_parquet(path: Path) -> gpd.GeoDataFrame:
    try:
        return gpd.read_parquet(path)
    except (pa.ArrowException, ValueError, OSError, KeyError) as bad:
        raise _unreadable(path, bad) from bad


def _read_ogr(path: Path, layer: str | None, srid: int | None) -> tuple[gpd.GeoDataFrame, bool]:
    """The frame, and whether the file itself says its system (GeoJSON without one is read as degrees)."""
    source, encoding = _shapefile(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # GDAL's remarks on winding orders and the like
            chosen = _layer(path, source, layer)
            frame = pyogrio.read_dataframe(source, layer=chosen, encoding=encoding, on_invalid="fix")
    except UnicodeDecodeError as bad:
        raise unfit(
            path,
            f"has text that is not {bad.encoding}, as its .cpg file says",
            f"的文本不是其 .cpg 文件所述的 {bad.encoding} 编码",
            mend="write the right encoding into the .cpg file (GBK or UTF-8), or delete that file",
            mend_zh="请在 .cpg 文件中写明正确的编码（GBK 或 UTF-8），或删除该文件",
        ) from bad
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError, shapely.GEOSException) as bad:
        raise _unreadable(path, bad) from bad
    if not isinstance(frame, gpd.GeoDataFrame):
        raise unfit(
            path,
            "has no geometry",
            "没有几何数据",
            mend="choose a layer with polygons, lines or points",
            mend_zh="请选择含几何数据的图层",
        )
    stated = True
    if path.suffix.lower() in (".geojson", ".json") and srid is not None:
        stated = '"crs"' in path.read_text(encoding="utf-8-sig", errors="replace")[:65536]
    return frame, stated


def _layer(path: Path, source: str, layer: str | None) -> str:
    """The layer to read: the one named, else the only one with geometry."""
    names = {str(name): kind for name, kind in pyogrio.list_layers(source)}
    spatial = [name for name, kind in names.items() if kind is not None] or list(names)
    if layer is None and len(spatial) == 1:
        return spatial[0]
    if layer in names:
        return str(layer)
    shown = ", ".join(spatial)
    en = f"has no layer {layer!r}" if layer is not None else f"has {len(spatial)} layers"
    zh = f"没有图层 {layer!r}" if layer is not None else f"有 {len(spatial)} 个图层"
    mend, mend_zh = f"name one with --layer: {shown}", f"请用 --layer 指定其一：{shown}"
    raise unfit(path, en, zh, mend=mend, mend_zh=mend_zh, layers=shown)


def _shapefile(path: Path) -> tuple[str, str | None]:
    """What GDAL opens, and the encoding of the texts if the file is a shapefile."""
    if path.suffix.lower() == ".zip":
        try:
            with zipfile.ZipFile(path) as archive:
                inside = [name for name in archive.namelist() if not name.startswith("__MACOSX")]
                shapes = [name for name in inside if name.lower().endswith(".shp")]
                if len(shapes) != 1:
                    raise unfit(
                        path,
                        f"holds {len(shapes)} shapefiles",
                        f"内有 {len(shapes)} 个 shapefile",
                        mend="give a zip file with one shapefile, or unpack it and name the file",
                        mend_zh="请提供只含一个 shapefile 的压缩包，或解压后指定文件",
                    )
                beside = {name[len(shapes[0]) - 4 :].lower(): name for name in inside if name[:-4] == shapes[0][:-4]}
                _want_parts(path, set(beside))
                if sum(entry.file_size for entry in archive.infolist()) > MOST_UNPACKED_BYTES:
                    raise _unreadable(path, f"unpacked it would take over {MOST_UNPACKED_BYTES // 2**30} GiB")
                cpg = archive.open(beside[".cpg"]).read(100) if ".cpg" in beside else None
                table = archive.open(beside[".dbf"]).read(GUESSED_BYTES)
                return f"/vsizip/{path.resolve()}/{shapes[0]}", encoding_of(table, cpg)
        except (zipfile.BadZipFile, OSError, RuntimeError) as bad:
            raise _unreadable(path, bad) from bad
    if path.suffix.lower() != ".shp":
        return str(path.resolve()), None
    parts = {file.suffix.lower(): file for file in path.parent.iterdir() if file.stem == path.stem}
    _want_parts(path, set(parts))
    cpg = parts[".cpg"].read_bytes()[:100] if ".cpg" in parts else None
    with parts[".dbf"].open("rb") as records:
        return str(path.resolve()), encoding_of(records.read(GUESSED_BYTES), cpg)


def _want_parts(path: Path, have: set[str]) -> None:
    lacking = ", ".join(part for part in (".shx", ".dbf") if part not in have)
    if lacking:
        raise unfit(
            path,
            f"is a shapefile without its {lacking}",
            f"缺少同名的 {lacking} 文件",
            mend="copy all files of the shapefile (.shp, .shx, .dbf, .prj, .cpg) into one folder",
            mend_zh="请将 shapefile 的全部文件（.shp、.shx、.dbf、.prj、.cpg）复制到同一目录",
        )


def _read_table(path: Path) -> gpd.GeoDataFrame:
    """A CSV file, every column as text; geometry from WKT or from two columns."""
    data = path.read_bytes()
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            head = data.decode(encoding).splitlines()[0]
            break
        except UnicodeDecodeError:
            continue
        except IndexError as bad:
            raise _unreadable(path, "no lines") from bad
    else:
        raise _unreadable(path, "its text is neither UTF-8 nor GBK")
    mark = max(",;\t|", key=head.count)
    try:
        frame = pd.read_csv(path, dtype=str, encoding=encoding, sep=mark, keep_default_na=False, na_values=[""])
    except (ValueError, pd.errors.ParserError, UnicodeDecodeError) as bad:
        raise _unreadable(path, bad) from bad
    plain = {str(name).strip().lower(): name for name in frame.columns}
    wkt = next((plain[name] for name in _WKT if name in plain), None)
    if wkt is not None:
        words = np.array([word if isinstance(word, str) else None for word in frame[wkt].tolist()], dtype=object)
        try:
            geometry = shapely.from_wkt(words, on_invalid="ignore")
        except (NotImplementedError, shapely.GEOSException) as bad:
            raise _unreadable(path, f"its WKT has curves or another geometry that is not read here ({bad})") from bad
        lost = np.flatnonzero(shapely.is_missing(geometry) & frame[wkt].notna().to_numpy())
        if len(lost):
            _refuse_row(path, int(lost[0]) + 1, str(wkt), "is not WKT", "不是 WKT 几何")
        return gpd.GeoDataFrame(frame.drop(columns=wkt), geometry=geometry)
    x, y = (next((plain[name] for name in names if name in plain), None) for names in (_X, _Y))
    if x is None or y is None:
        raise unfit(
            path,
            "has neither a column of WKT nor two of coordinates",
            "既没有 WKT 列，也没有坐标列",
            mend="name a column WKT, or two x and y (or lon and lat)",
            mend_zh="请将几何列命名为 WKT，或将坐标列命名为 x 和 y（或 lon 和 lat）",
            fields=", ".join(map(str, frame.columns)),
        )
    numbers = []
    for name in (x, y):
        number = pd.to_numeric(frame[name], errors="coerce")
        lost = np.flatnonzero((number.isna() & frame[name].notna()).to_numpy())
        if len(lost):
            _refuse_row(path, int(lost[0]) + 1, str(name), "is not a number", "不是数字")
        numbers.append(number.to_numpy(np.float64))
    points: Any = shapely.points(*numbers)
    points[np.isnan(numbers[0]) | np.isnan(numbers[1])] = None
    return gpd.GeoDataFrame(frame, geometry=points)


def _refuse_row(path: Path, row: int, field: str, en: str, zh: str) -> None:
    raise unfit(
        path,
        f"row {row}, field {field} {en}",
        f"第 {row} 行字段 {field} {zh}",
        mend="correct the row",
        mend_zh="请更正该行",
        row=row,
        field=field,
    )


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
            raise _unreadable(path, f"its coordinate system {own.name} is not tied to the Earth") from bad
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


# ── writing ────────────────────────────────────────


def write_vector(frame: gpd.GeoDataFrame, path: Path, *, layer: str | None = None, overwrite: bool = False) -> None:
    """Write the frame by the file's extension (WRITTEN), beside its place and then renamed: whole or not at all.

    Columns of dicts become JSON text. A shapefile gets UTF-8 attributes with a .cpg, and field names cut to ten
    characters. Raises Conflict when the file is there and ``overwrite`` is not said, UnfitFile for an extension that
    is none of WRITTEN and for what a shapefile cannot hold.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        raise unfit(
            path,
            "has an extension that is not written",
            "的扩展名不受支持",
            mend=f"use one of {', '.join(WRITTEN)}",
            mend_zh=f"请使用 {'、'.join(WRITTEN)} 之一",
        )
    frame = _plain(frame)
    with _beside(path, overwrite) as folder:
        if suffix == ".parquet":
            frame.to_parquet(folder / path.name, index=False)
        elif suffix in (".shp", ".zip"):
            shape = folder / f"{path.stem}.shp"
            _ogr(_for_shapefile(path, frame), shape, "ESRI Shapefile", ENCODING="UTF-8")
            if suffix == ".zip":
                with zipfile.ZipFile(folder / path.name, "w", zipfile.ZIP_DEFLATED) as archive:
                    for part in sorted(folder.glob(f"{path.stem}.*")):
                        if part.suffix in _SHAPEFILE_PARTS:
                            archive.write(part, part.name)
                            part.unlink()
        else:
            options = {"COORDINATE_PRECISION": 15} if suffix == ".geojson" else {}
            if suffix == ".geojson" and frame.crs is not None and frame.crs.to_epsg() == GEODETIC:
                options["COORDINATE_PRECISION"] = 17
            _ogr(frame, folder / path.name, str(WRITTEN[suffix]), layer=layer or path.stem, **options)


def write_layers(layers: Mapping[str, gpd.GeoDataFrame], path: Path, *, overwrite: bool = False) -> None:
    """Write frames as the layers of one GeoPackage, whole or not at all; Conflict when it is there."""
    path = Path(path)
    if path.suffix.lower() != ".gpkg":
        raise unfit(
            path,
            "is not named as a GeoPackage",
            "不是 GeoPackage 文件名",
            mend="end the name in .gpkg",
            mend_zh="请使用 .gpkg 扩展名",
        )
    with _beside(path, overwrite) as folder:
        for name, frame in layers.items():
            _ogr(_plain(frame), folder / path.name, "GPKG", layer=name)


@contextmanager
def _beside(path: Path, overwrite: bool) -> Iterator[Path]:
    """A folder beside the file; what is written there takes the file's place at the end."""
    if path.exists() and not overwrite:
        raise Conflict(
            f"{path} is there already",
            f"{path} 已存在",
            mend="choose another name, or say that it may be replaced (--overwrite, --replace)",
            mend_zh="请换一个文件名，或允许覆盖（--overwrite、--replace）",
            file=path,
        )
    if not path.parent.is_dir():
        raise unfit(
            path,
            f"cannot be written: there is no folder {path.parent}",
            f"无法写入：目录 {path.parent} 不存在",
            mend="make the folder first",
            mend_zh="请先建立该目录",
        )
    folder = Path(tempfile.mkdtemp(prefix=".wanmi-", dir=path.parent))
    try:
        yield folder
        for part in sorted(folder.iterdir(), key=lambda part: part.suffix == ".shp"):
            part.replace(path.parent / part.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ogr(frame: gpd.GeoDataFrame, path: Path, driver: str, *, layer: str | None = None, **options: object) -> None:
    if layer is not None:
        options["layer"] = layer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "field name too long", "no CRS": said by us where it matters
        pyogrio.write_dataframe(frame, path, driver=driver, **options)


def _plain(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Dicts and lists as JSON text."""
    frame = frame.copy()
    for name in frame.columns.drop(frame.geometry.name):
        if frame[name].dtype == object and frame[name].map(lambda value: isinstance(value, dict | list)).any():
            frame[name] = frame[name].map(
                lambda value: (
                    json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else value
                )
            )
    return frame


def _for_shapefile(path: Path, frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Names of at most ten characters, instants as days, and no text that would be cut."""
    names: dict[str, str] = {}
    for name in frame.columns.drop(frame.geometry.name):
        short, number = str(name)[:_NAME], 1
        while short in names.values():
            number += 1
            short = f"{str(name)[: _NAME - len(str(number))]}{number}"
        names[name] = short
        column = frame[name]
        if pd.api.types.is_datetime64_any_dtype(column):
            frame[name] = column.dt.date
        elif not pd.api.types.is_numeric_dtype(column):
            size = column.map(lambda value: len(str(value).encode()) if value is not None and value == value else 0)
            if (size > _TEXT_BYTES).any():
                row = int((size > _TEXT_BYTES).to_numpy().argmax()) + 1
                raise unfit(
                    path,
                    f"cannot hold the text of row {row}, field {name}: a shapefile has room for {_TEXT_BYTES} bytes",
                    f"无法容纳第 {row} 行字段 {name} 的文本：shapefile 最多 {_TEXT_BYTES} 字节",
                    mend="write a GeoPackage instead",
                    mend_zh="请改用 GeoPackage",
                    row=row,
                    field=name,
                )
    return frame.rename(columns=names)
