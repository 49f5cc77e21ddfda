"""Where the layers of a vector file are: looking into folders, zip files and containers, reading nothing yet."""

from __future__ import annotations

import codecs
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyogrio
import pyogrio.errors
import pyogrio.raw

from gis.archives import unpack
from gis.dbf import Encoding, encoding_of, shown, text_codec
from gis.errors import UnfitFile, unfit, unreadable
from gis.spreadsheets import sheets
from gis.whole import records_of, want_whole

PARQUET = (".parquet", ".geoparquet")
TABLES = (".csv", ".txt", ".tsv")
JSON = (".geojson", ".json", ".topojson", ".geojsonl", ".geojsons", ".ndjson")
_ALONE = (*PARQUET, *TABLES, *JSON, ".xlsx", ".gpkg", ".fgb", ".kml", ".kmz", ".gml", ".dxf", ".pbf", ".osm")
#: what may be read; GDAL knows more, some of which lead to other files and addresses (OGR_VRT)
DRIVERS = frozenset(
    [
        "ESRI Shapefile",
        "GPKG",
        "OpenFileGDB",
        "DXF",
        "LIBKML",
        "KML",
        "GML",
        "GeoJSON",
        "GeoJSONSeq",
        "ESRIJSON",
        "TopoJSON",
        "FlatGeobuf",
        "OSM",
    ]
)
_WHOLE = frozenset({"TopoJSON", "ESRIJSON", "LIBKML", "KML"})  #: read into memory as one
MOST_WHOLE_BYTES = 512 * 2**20
_HEAD_BYTES = 16 * 2**20  #: of an attribute table, from which its encoding is known
#: shapefile: bytes are handed through as Latin-1, which loses none, and decoded here
CARRIER = "ISO-8859-1"
#: what is read stays on this machine, and extracts whose nodes are not in order are read too
pyogrio.set_gdal_config_options({"GML_DOWNLOAD_SCHEMA": "NO", "OSM_USE_CUSTOM_INDEXING": "NO"})


@dataclass(frozen=True, slots=True)
class Source:
    """One layer and how it is opened."""

    name: str
    kind: Literal["ogr", "table", "parquet"]
    path: Path  #: of the file that is opened
    inner: str | None = None  #: its name inside a container
    geometry_type: str | None = None  #: None: not known, or none
    rows: int | None = None  #: None: not known without reading
    encoding: Encoding | None = None  #: of a shapefile
    driver: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """What GDAL is told when it opens the file."""
        return {"encoding": CARRIER} if self.driver == "ESRI Shapefile" else {}


def sources(path: Path, scratch: Path, encoding: str | None = None, only: str | None = None) -> list[Source]:
    """The layers of a file, or of the shapefiles and databases in a folder or a zip file. UnfitFile names the fault.

    scratch : an empty folder for what is unpacked; encoding: of a shapefile's texts, if a person says it
    only    : the layer that is wanted: of the others in a container only the names are read
    """
    want_file(path)
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return _inside(path, unpack(path, scratch), encoding)
    if path.is_dir() and suffix != ".gdb":
        return _inside(path, path, encoding)
    return _sources(path, path, scratch, encoding, only)


def want_file(path: Path) -> None:
    """Refuse a file that is not there or empty."""
    if not path.exists():
        raise unfit(path, "is not there", "不存在", mend="correct the name or the folder", mend_zh="请更正文件名或目录")
    if path.is_file() and path.stat().st_size == 0:
        raise unfit(
            path,
            "is empty (0 bytes)",
            "为空文件（0 字节）",
            mend="copy or export it again",
            mend_zh="请重新复制或导出",
        )


def _inside(path: Path, folder: Path, encoding: str | None) -> list[Source]:
    """The layers of what a folder holds; the folder of a zip file is looked through to the bottom."""
    deep = folder != path
    files = sorted(folder.rglob("*") if deep else folder.iterdir())
    bases = [file for file in files if file.is_dir() and file.suffix.lower() == ".gdb"]
    within = [file for file in files if file.is_file() and not any(base in file.parents for base in bases)]
    chosen = bases + [file for file in within if file.suffix.lower() == ".shp"]
    if not chosen and deep:
        chosen = [file for file in within if file.suffix.lower() in _ALONE]
    if not chosen:
        what, what_zh = ("is a zip file", "是压缩包") if deep else ("is a folder, not a file, and one", "是文件夹")
        raise unfit(
            path,
            f"{what} without a shapefile or another file of geometries in it",
            f"{what_zh}，其中没有 shapefile 等矢量文件",
            mend="name the file itself",
            mend_zh="请直接指定文件",
        )
    found = [source for file in chosen for source in _sources(path, file, folder, encoding)]
    names = [source.name for source in found]
    return [
        replace(source, name=f"{source.path.parent.name}/{source.name}") if names.count(source.name) > 1 else source
        for source in found
    ]


def _sources(path: Path, file: Path, scratch: Path, encoding: str | None, only: str | None = None) -> list[Source]:
    suffix = file.suffix.lower()
    if suffix in PARQUET:
        return [Source(file.stem, "parquet", file, driver="GeoParquet")]
    if suffix in TABLES:
        return [Source(file.stem, "table", file, driver="CSV")]
    if suffix == ".xlsx":
        return [Source(name, "table", one, driver="XLSX") for name, one in sheets(path, file, scratch)]
    if suffix == ".kmz":  # unpacked: GDAL reads one with all but its fields
        return [one for inner in _drawings(path, file, scratch) for one in _sources(path, inner, scratch, encoding)]
    known = _shapefile(path, file, encoding) if suffix == ".shp" else None
    want_whole(path, file)
    if suffix == ".gml":  # GDAL would write a .gfs file beside it
        file = _linked(file, scratch)
    with opening(path):
        found = []
        layers = [(str(inner), kind) for inner, kind in pyogrio.list_layers(file)]
        for inner, kind in layers:
            source = Source(inner, "ogr", file, inner, kind, encoding=known)
            if only != inner and only in dict(layers):
                found.append(source)
                continue
            if suffix == ".shp":
                source = replace(source, name=file.stem, driver="ESRI Shapefile")
            info = pyogrio.read_info(file, layer=inner, **source.options)
            if info["driver"] not in DRIVERS:
                raise unreadable(path, f"it is a file of {info['driver']}", f"它是 {info['driver']} 文件")
            if info["driver"] in _WHOLE and file.stat().st_size > MOST_WHOLE_BYTES:
                raise unfit(
                    path,
                    f"is a {info['driver']} file of over {MOST_WHOLE_BYTES >> 20} MB, which can only be read whole",
                    f"是超过 {MOST_WHOLE_BYTES >> 20} MB 的 {info['driver']} 文件，只能整体读入内存",
                    mend="convert it to a GeoPackage first (QGIS: Export, Save Features As)",
                    mend_zh="请先转换为 GeoPackage（QGIS：导出，要素另存为）",
                )
            rows = int(info["features"])
            if info["driver"] == "GeoJSONSeq" and rows != records_of(file):
                raise unreadable(path, "some of its lines are no features", "部分行不是要素")
            if info["driver"] == "OSM":  # the only way to be told of a fault inside
                pyogrio.raw.read(file, layer=inner, columns=[], read_geometry=False, return_fids=True)
            found.append(replace(source, driver=str(info["driver"]), rows=rows if rows >= 0 else None))
    if not found:
        raise unreadable(path, "it has no layers", "没有任何图层")
    return found


def _drawings(path: Path, file: Path, scratch: Path) -> list[Path]:
    """The KML files in a KMZ file."""
    folder = scratch / "kmz"
    folder.mkdir()
    found = sorted(one for one in unpack(file, folder).rglob("*") if one.suffix.lower() == ".kml")
    if not found:
        raise unreadable(path, "there is no KML file in it", "其中没有 KML 文件")
    return found


def _shapefile(path: Path, file: Path, encoding: str | None) -> Encoding:
    """The encoding of a shapefile's texts; all of its parts must be there."""
    parts = {one.suffix.lower(): one for one in file.parent.iterdir() if one.stem == file.stem}
    lacking = ", ".join(part for part in (".shx", ".dbf") if part not in parts)
    if lacking:
        raise unfit(
            path,
            f"is a shapefile without its {lacking}",
            f"缺少同名的 {lacking} 文件",
            mend="copy all files of the shapefile (.shp, .shx, .dbf, .prj, .cpg) into one folder",
            mend_zh="请将 shapefile 的全部文件（.shp、.shx、.dbf、.prj、.cpg）复制到同一目录",
        )
    for part in (".shp", ".shx", ".dbf"):
        if parts[part].stat().st_size == 0:
            raise unfit(
                path,
                f"is a shapefile whose {part} is empty (0 bytes)",
                f"的 {part} 为空文件（0 字节）",
                mend="copy or export it again",
                mend_zh="请重新复制或导出",
            )
    with parts[".dbf"].open("rb") as records:
        table = records.read(_HEAD_BYTES)
    if encoding is None:
        return encoding_of(table, parts[".cpg"].read_bytes()[:100] if ".cpg" in parts else None)
    return Encoding(_codec(path, encoding), "as you say", "按您的指定")


def _codec(path: Path, word: str) -> str:
    """Python's name of the encoding that a person names."""
    name = text_codec(word)
    if name is None:
        raise unfit(
            path,
            f"cannot be read as {word}: no such encoding is known",
            f"无法按 {word} 读取：没有这种编码",
            mend="use gbk or utf-8",
            mend_zh="请使用 gbk 或 utf-8",
            field="encoding",
        )
    return "gb18030" if name in ("gbk", "gb2312") else name


def _linked(file: Path, scratch: Path) -> Path:
    """The file and its schema seen from a folder of ours."""
    folder = scratch / "gml"
    folder.mkdir(exist_ok=True)
    for part in (file, file.with_suffix(".xsd"), file.with_suffix(".gfs")):
        link = folder / part.name
        if part.exists() and not link.exists():
            link.symlink_to(part.resolve())
    return folder / file.name


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """Whatever GDAL says of a broken file as UnfitFile; its remarks on windings and the like are not repeated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except UnfitFile:
            raise
        except (
            pyogrio.errors.DataSourceError,
            pyogrio.errors.DataLayerError,
            ValueError,
            OSError,
            RuntimeError,
        ) as bad:
            raise unreadable(path, _plainly(path, bad)) from bad
        except UnboundLocalError as bad:  # what pyogrio 0.13 makes of a system that GDAL cannot write down
            raise unreadable(path, "its coordinate system is broken (.prj)", "坐标系信息（.prj）已损坏") from bad


def _plainly(path: Path, bad: Exception) -> str:
    """GDAL's words without its advice on drivers and our own folders."""
    words = str(bad).split("; It might help")[0]
    return re.sub(r"'?/[^' ]*/([^/' ]+)'?", r"\1", words) or type(bad).__name__


def text_encoding(path: Path, said: str | None) -> tuple[Encoding, int]:
    """The encoding of a file of text, and its rows (ends of lines outside of quotes). UnfitFile if it is neither
    UTF-8 nor GBK, or not what is said.
    """
    with path.open("rb") as file:
        head = file.read(4)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        candidates = [Encoding("utf-16", "it begins with the mark of UTF-16", "文件以 UTF-16 标记开头")]
    elif head[:3] == codecs.BOM_UTF8:
        candidates = [Encoding("utf-8-sig", "it begins with the mark of UTF-8", "文件以 UTF-8 BOM 开头")]
    else:
        candidates = [
            Encoding(name, "not stated; as the bytes are", "未声明；依据字节判断") for name in ("utf-8", "gb18030")
        ]
    if said is not None:
        candidates = [Encoding(_codec(path, said), "as you say", "按您的指定")]
    for candidate in candidates:
        decoder = codecs.getincrementaldecoder(candidate.name)()
        rows, quoted, content = 0, 0, False
        try:
            with path.open("rb") as file:
                while part := file.read(1 << 22):
                    decoder.decode(part)
                    marks = np.frombuffer(part, dtype=np.uint8)
                    quotes = quoted + np.cumsum(marks == 0x22)
                    at = np.flatnonzero((marks == 0x0A) & (quotes % 2 == 0))
                    rows += len(at)
                    quoted, content = int(quotes[-1] % 2), part[-1:] != b"\n"
                decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            continue
        return candidate, max(0, rows + content - 1)
    name = shown(said) if said else "UTF-8 or GBK"
    raise unreadable(path, f"its text is not {name}", f"文本不是 {name} 编码")
