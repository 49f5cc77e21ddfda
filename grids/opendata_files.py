"""Files of a city's open data: its profile, layers and tables read with every fault named; findings.

Whatever is missing, empty, broken or of a wrong kind is UnfitFile with the file, the layer and the column, in both
languages: the person at the command line can mend it without reading code.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio

from gis.errors import UnfitFile

Finding = dict[str, Any]
Profile = dict[str, Any]

#: entries of city.toml without which nothing can be read, by table; a city without ``requests`` has no such table
NEEDED = {
    "areas": ("file", "level", "smallest_m2", "data_source"),
    "requests": (
        *("file", "key", "type", "type_name", "agency", "district", "address", "status", "part", "stages"),
        *("channel", "other_class", "clock", "reported_at", "due_at", "closed_at", "data_source"),
    ),
}


def finding(what_en: str, what_zh: str, rows: int, done_en: str, done_zh: str) -> Finding:
    """One defect met in the source: what, how many rows, what was done; both languages."""
    return {"what_en": what_en, "what_zh": what_zh, "rows": int(rows), "done_en": done_en, "done_zh": done_zh}


def read_profile(folder: Path) -> Profile:
    """The ``city.toml`` of a city's folder. UnfitFile if it is missing, is not TOML or lacks a main table."""
    path = folder / "city.toml"
    try:
        profile = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as gone:
        raise UnfitFile(
            f"there is no city.toml in {folder}",
            f"{folder} 中没有 city.toml",
            mend="every city is a folder under data/ with a city.toml; data/washington is an example",
            mend_zh="每个城市是 data/ 下的一个文件夹，内有 city.toml；可参照 data/washington",
            file=path,
        ) from gone
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as bad:
        raise UnfitFile(
            f"{path.name} is not valid TOML: {bad}",
            f"{path.name} 不是有效的 TOML 文件：{bad}",
            mend="correct the line that is named, or take the file from the repository again",
            mend_zh="改正所指的行，或从代码库重新取得该文件",
            file=path,
        ) from bad
    needed = [(key, profile) for key in ("id", "code", "name_zh", "name_en", "srid", "timezone", "areas")]
    needed += [(key, profile[table]) for table, keys in NEEDED.items() if table in profile for key in keys]
    for key, table in needed:
        if key not in table:
            raise UnfitFile(
                f"{path.name} has no entry {key!r}",
                f"{path.name} 缺少条目 {key!r}",
                mend=f"add {key!r} as in data/washington/city.toml",
                mend_zh=f"仿照 data/washington/city.toml 补上 {key!r}",
                file=path,
                field=key,
            )
    return profile


def _missing(path: Path) -> UnfitFile:
    return UnfitFile(
        f"there is no file {path.name} in {path.parent}",
        f"{path.parent} 中没有文件 {path.name}",
        mend="give the folder of the download with --from; the README beside city.toml says where it is had",
        mend_zh="用 --from 指明下载文件所在的文件夹；city.toml 旁的 README 说明从何处取得",
        file=path,
    )


def _unreadable(path: Path, layer: str | None, kind: str, why: object) -> UnfitFile:
    return UnfitFile(
        f"{path.name} cannot be read as {kind}: {why}",
        f"{path.name} 无法按 {kind} 格式读取：{why}",
        mend="download it again; a broken download or another format under this name are the usual causes",
        mend_zh="请重新下载；常见原因是下载中断，或文件名与实际格式不符",
        file=path,
        **({"layer": layer} if layer else {}),
    )


def unfit(path: Path, layer: str | None, en: str, zh: str, **where: object) -> UnfitFile:
    """UnfitFile about a file or a layer of it; ``en``/``zh`` continue "layer x of y …"."""
    of = f"layer {layer} of {path.name}" if layer else path.name
    of_zh = f"{path.name} 的图层 {layer}" if layer else path.name
    return UnfitFile(
        f"{of} {en}",
        f"{of_zh} {zh}",
        mend="use the edition that the README beside city.toml names, or change city.toml to fit this file",
        mend_zh="请使用 city.toml 旁 README 所述的版本，或修改 city.toml 使之与该文件相符",
        file=path,
        **({"layer": layer} if layer else {}),
        **where,
    )


def read_layer(
    source: Path, file: str, layer: str | None, columns: list[str], geometry: frozenset[str] | None = None
) -> gpd.GeoDataFrame:
    """A layer of a GeoPackage, or a GeoParquet file (``.parquet``), with the named columns, in its own CRS.

    geometry: the kinds allowed ("Point", ...; a Multi kind counts as its part), None = any.
    Raises UnfitFile naming the file, the layer and the column for whatever is missing, empty or of a wrong
    kind. Rows without geometry are kept: the caller says what they mean.
    """
    path = source / file
    if not source.is_dir():
        raise UnfitFile(
            f"{source} is not a folder",
            f"{source} 不是文件夹",
            mend="give the folder of the download with --from",
            mend_zh="用 --from 指明下载文件所在的文件夹",
            file=source,
        )
    if not path.is_file():
        raise _missing(path)
    if path.stat().st_size == 0:
        raise unfit(path, layer, "cannot be read: the file is empty (0 bytes)", "无法读取：文件为空（0 字节）")
    wanted = list(dict.fromkeys(columns))
    frame = _read_parquet(path, wanted) if path.suffix == ".parquet" else _read_ogr(path, layer, wanted)
    if frame.empty:
        raise unfit(path, layer, "holds no rows", "没有任何记录")
    if "geometry" not in frame:
        raise unfit(path, layer, "has no geometry", "没有几何数据", field="geometry")
    if frame.crs is None:
        raise unfit(path, layer, "does not say its coordinate system", "没有坐标系信息", field="crs")
    if geometry is not None:
        kinds = {str(kind).removeprefix("Multi") for kind in frame.geom_type.dropna().unique()}
        if not kinds or not kinds <= geometry:
            have, want = ", ".join(sorted(kinds)) or "none", ", ".join(sorted(geometry))
            raise unfit(path, layer, f"holds {have}, not {want}", f"的几何类型为 {have}，应为 {want}", field="geometry")
    return frame


def _read_ogr(path: Path, layer: str | None, wanted: list[str]) -> gpd.GeoDataFrame:
    try:
        names = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
        if layer is not None and layer not in names:
            raise unfit(path, layer, "is not there", "不存在", layers=", ".join(names))
        have = list(pyogrio.read_info(path, layer=layer)["fields"])
        _want_columns(path, layer, wanted, have)
        return gpd.GeoDataFrame(pyogrio.read_dataframe(path, layer=layer, columns=wanted))
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as bad:
        raise _unreadable(path, layer, "GeoPackage", bad) from bad


def _read_parquet(path: Path, wanted: list[str]) -> gpd.GeoDataFrame:
    try:
        _want_columns(path, None, [*wanted, "geometry"], pq.read_schema(path).names)
        return gpd.read_parquet(path, columns=[*wanted, "geometry"])
    except (pa.ArrowException, ValueError, OSError) as bad:
        raise _unreadable(path, None, "GeoParquet", bad) from bad


def _want_columns(path: Path, layer: str | None, wanted: list[str], have: list[str]) -> None:
    lacking = [column for column in wanted if column not in have]
    if lacking:
        names = ", ".join(lacking)
        raise unfit(path, layer, f"has no column {names}", f"缺少列 {names}", field=names)
