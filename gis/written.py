"""Vector files written whole or not at all, the same bytes for the same rows: the format by the extension.

GeoPackage, GeoParquet, FlatGeobuf, shapefile (also zipped) and GeoJSON hold everything (WRITTEN); CSV, Excel, KML and
DXF do not (LOSSY): CSV has its types in a file beside it, Excel no system, KML only degrees, DXF no attributes.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pyogrio.raw
import shapely

from gis.crs import GEODETIC
from gis.dbf import shown
from gis.errors import Conflict, unfit
from gis.spreadsheets import with_places, write_csv, write_xlsx

#: extension → format of GDAL that is written; None: GeoParquet; "zip": a shapefile in one file
WRITTEN: Mapping[str, str | None] = {
    ".gpkg": "GPKG",
    ".parquet": None,
    ".shp": "ESRI Shapefile",
    ".zip": "zip",
    ".geojson": "GeoJSON",
    ".fgb": "FlatGeobuf",
}
#: extension → what these formats lose, English and Chinese
LOSSY: Mapping[str, tuple[str, str]] = {
    ".csv": (
        "the types of the fields of a CSV file are in the .csvt beside it",
        "CSV 的字段类型写在同名的 .csvt 文件中",
    ),
    ".xlsx": ("an Excel file holds no coordinate system, and geometry only as text", "Excel 不含坐标系，几何仅为文本"),
    ".kml": (
        "KML holds degrees (WGS 84) to 10 decimals, days and numbers with gaps only as text",
        "KML 只含 WGS 84 经纬度（10 位小数），日期与有缺值的数字均为文本",
    ),
    ".dxf": (
        "DXF holds geometry and the name of a drawing layer; all other fields are lost",
        "DXF 只含几何与图层名，其余字段丢失",
    ),
}
_PARTS = (".shp", ".shx", ".dbf", ".prj", ".cpg")
_NAME_BYTES = 10  #: of a field's name in a shapefile
_TEXT_BYTES = 254
_NO_DAY = "2000-01-01"  #: stands where a format wants the day of writing: the same rows make the same bytes
_KINDS = ("Point", "LineString", "Polygon")  #: by dimension
_BY_DIMENSION = ("points", "lines", "areas")
pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": f"{_NO_DAY}T00:00:00.000Z"})


def write_vector(
    frame: gpd.GeoDataFrame,
    path: Path,
    *,
    layer: str | None = None,
    overwrite: bool = False,
    encoding: str = "utf-8",
    drawn_as: str | None = None,
    beside: Mapping[str, str] | None = None,
) -> None:
    """Write the frame by the file's extension (WRITTEN or LOSSY), then put in its place: whole or not at all.

    encoding : of a shapefile or CSV, utf-8 or gbk (which is written as gb18030 where GBK lacks the character)
    drawn_as : the column whose values become layers of a DXF drawing
    beside   : further texts by the name of their file, which come with it
    Columns of dicts become JSON text. Names of fields in a shapefile are those of shapefile_names; geometries of
    different dimensions become shapefiles of their own, …_points, …_lines, …_areas. Raises Conflict when the file is
    there and ``overwrite`` is not said, UnfitFile for another extension and for what a format cannot hold.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITTEN and suffix not in LOSSY:
        known = (*WRITTEN, *LOSSY)
        raise unfit(
            path,
            "has an extension that is not written",
            "的扩展名不受支持",
            mend=f"use one of {', '.join(known)}",
            mend_zh=f"请使用 {'、'.join(known)} 之一",
        )
    encoding = encoding_named(path, encoding)
    frame = _plain(frame)
    with _beside(path, overwrite) as folder:
        target = folder / path.name
        if suffix == ".parquet":
            frame.to_parquet(target, index=False)
        elif suffix in (".shp", ".zip"):
            for stem, rows in shapefile_stems(path.stem, frame.geometry.to_numpy()).items():
                _write_shapefile(path, frame[rows], folder / f"{stem}.shp", encoding)
            if suffix == ".zip":
                parts = sorted(part for part in folder.iterdir() if part.suffix in _PARTS)
                zip_same(target, {part.name: part.read_bytes() for part in parts})
                for part in parts:
                    part.unlink()
        elif suffix == ".csv":
            write_csv(with_places(frame), target, encoding)
        elif suffix == ".xlsx":
            write_xlsx(with_places(frame), target, path)
        elif suffix == ".dxf":
            names = frame[drawn_as].fillna("0").astype(str) if drawn_as else pd.Series("0", index=frame.index)
            drawn = gpd.GeoDataFrame({"Layer": names.to_numpy(dtype=object)}, geometry=frame.geometry.to_numpy())
            _ogr(drawn, target, "DXF", geometry_type="Unknown", use_arrow=False)
        elif suffix == ".kml":
            _ogr(_for_kml(frame), target, "KML", layer=layer or path.stem, use_arrow=False)
        else:
            options = {"COORDINATE_PRECISION": 15} if suffix == ".geojson" else {}
            if suffix == ".geojson" and frame.crs is not None and frame.crs.to_epsg() == GEODETIC:
                options["COORDINATE_PRECISION"] = 17
            _ogr(frame, target, str(WRITTEN[suffix]), layer=layer or path.stem, **options)
        for name, text in (beside or {}).items():
            (folder / name).write_text(text, encoding="utf-8")


def encoding_named(path: Path, word: str) -> str:
    """Python's name of the encoding wanted; UnfitFile for one that is not written."""
    names = {"utf-8": "utf-8", "utf8": "utf-8", "gbk": "gb18030", "gb18030": "gb18030", "gb2312": "gb18030"}
    if word.lower() not in names:
        raise unfit(
            path,
            f"cannot be written in {word}",
            f"不能以 {word} 编码写出",
            mend="use gbk or utf-8",
            mend_zh="请使用 gbk 或 utf-8",
            field="encoding",
        )
    return names[word.lower()]


def shapefile_names(names: list[str], encoding: str = "utf-8") -> dict[str, str]:
    """Each name as a shapefile has room for it: ten bytes, whole characters, none twice."""
    short: dict[str, str] = {}
    for name in names:
        made, number = _cut(name, encoding, _NAME_BYTES), 1
        while made.lower() in {other.lower() for other in short.values()}:
            number += 1
            made = f"{_cut(name, encoding, _NAME_BYTES - len(str(number)))}{number}"
        short[name] = made
    return short


def _cut(text: str, encoding: str, most: int) -> str:
    while len(text.encode(encoding)) > most:
        text = text[:-1]
    return text


def zip_same(path: Path, contents: Mapping[str, bytes]) -> None:
    """A zip file of these contents, the same bytes whenever it is made."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content)


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
    _want_free(path, overwrite)
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
        for part in folder.iterdir():
            _want_free(path.parent / part.name, overwrite)
        for part in sorted(folder.iterdir(), key=lambda part: part.suffix == ".shp"):
            part.replace(path.parent / part.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _want_free(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise Conflict(
            f"{path} is there already",
            f"{path} 已存在",
            mend="choose another name, or say that it may be replaced (--overwrite, --replace)",
            mend_zh="请换一个文件名，或允许覆盖（--overwrite、--replace）",
            file=path,
        )


def _ogr(frame: gpd.GeoDataFrame, path: Path, driver: str, *, layer: str | None = None, **options: Any) -> None:
    if layer is not None:
        options["layer"] = layer
    kinds = {str(kind) for kind in frame.geom_type.dropna().unique()}
    options = {"use_arrow": True, "geometry_type": kinds.pop() if len(kinds) == 1 else "Unknown", **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "no CRS": said by us where it matters
        pyogrio.write_dataframe(frame, path, driver=driver, promote_to_multi=False, **options)


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


def _for_kml(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """In degrees; days and instants as text."""
    if frame.crs is not None and frame.crs.to_epsg() != GEODETIC:
        frame = frame.to_crs(GEODETIC)
    if "code" in frame and not {"name"} & {str(column).lower() for column in frame.columns}:
        frame = frame.assign(Name=frame["code"])  # what a placemark is called
    for name in frame.columns.drop(frame.geometry.name):
        if pd.api.types.is_datetime64_any_dtype(frame[name]) or _is_days(frame[name]):
            frame[name] = frame[name].map(lambda value: None if pd.isna(value) else value.isoformat()).astype(object)
    return frame


def _is_days(column: pd.Series) -> bool:
    if column.dtype != object:
        return False
    known = column.dropna()
    return len(known) > 0 and all(isinstance(value, date) for value in known)


def shapefile_stems(stem: str, shapes: Any) -> dict[str, Any]:
    """The shapefiles that geometries need, one for each dimension: name → which rows; one name where one is enough."""
    dimension = shapely.get_dimensions(shapes)
    multi = shapely.get_type_id(shapes) == shapely.GeometryType.MULTIPOINT
    kind = np.where(multi, len(_BY_DIMENSION), dimension)
    found = [int(one) for one in np.unique(kind[kind >= 0])]
    if len(found) <= 1:
        return {stem: np.ones(len(kind), dtype=bool)}
    kind[kind < 0] = found[0]  # rows without geometry
    names = (*_BY_DIMENSION, "multipoints")
    return {f"{stem}_{names[one]}": kind == one for one in found}


def _write_shapefile(said: Path, frame: gpd.GeoDataFrame, path: Path, encoding: str) -> None:
    """Attributes in the encoding, and a .cpg that says so."""
    columns = list(frame.columns.drop(frame.geometry.name))
    short = shapefile_names([str(name) for name in columns], encoding)
    values, masks = [], []
    for name in columns:
        array, mask = _dbf_column(said, frame[name], encoding)
        values.append(array)
        masks.append(mask)
    shapes = frame.geometry.to_numpy()
    dimension = int(shapely.get_dimensions(shapes).max(initial=0))
    kind = _KINDS[dimension]
    if (shapely.get_type_id(shapes) == shapely.GeometryType.MULTIPOINT).any():
        kind = "MultiPoint"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyogrio.raw.write(
            path,
            shapely.to_wkb(shapes),
            values,
            np.array([short[str(name)] for name in columns], dtype=object),
            field_mask=masks,
            driver="ESRI Shapefile",
            geometry_type=kind,
            crs=None if frame.crs is None else frame.crs.to_wkt("WKT1_ESRI"),
            encoding=encoding,
            promote_to_multi=False,
            layer_options={"DBF_DATE_LAST_UPDATE": _NO_DAY},
        )
    path.with_suffix(".cpg").write_text(shown(encoding), encoding="ascii")


def _dbf_column(said: Path, column: pd.Series, encoding: str) -> tuple[Any, Any]:
    """The values as pyogrio writes them, and where they are missing; instants become days."""
    missing = column.isna().to_numpy(dtype=bool)
    if pd.api.types.is_datetime64_any_dtype(column) or _is_days(column):
        days = [None if gone else value.strftime("%Y-%m-%d") for value, gone in zip(column, missing, strict=True)]
        return np.array(days, dtype="datetime64[D]"), missing
    if pd.api.types.is_bool_dtype(column.dtype):
        return column.fillna(False).to_numpy(dtype=np.bool_), missing
    if pd.api.types.is_integer_dtype(column.dtype):
        return column.fillna(0).to_numpy(dtype=np.int64), missing
    if pd.api.types.is_float_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan), missing
    texts = [None if gone else str(value) for value, gone in zip(column, missing, strict=True)]
    for row, text in enumerate(texts, start=1):
        if text is not None and len(text.encode(encoding)) > _TEXT_BYTES:
            raise unfit(
                said,
                f"cannot hold the text of row {row}, field {column.name}: a shapefile has room for {_TEXT_BYTES} bytes",
                f"无法容纳第 {row} 行字段 {column.name} 的文本：shapefile 最多 {_TEXT_BYTES} 字节",
                mend="write a GeoPackage instead",
                mend_zh="请改用 GeoPackage",
                row=row,
                field=column.name,
            )
    return np.array(texts, dtype=object), missing
