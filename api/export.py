"""``wanmi export``: a layer as a file that GIS staff open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.door import CityOption, opened, show
from gis.settings import Settings


def export(
    context: typer.Context,
    layer: Annotated[str, typer.Argument(help="Layer, as 'wanmi layers' lists them.")],
    file: Annotated[Path, typer.Argument(help="The file to write; its extension says the format.")],
    class_code: Annotated[
        list[str] | None, typer.Option("--class", help="Class, or the beginning of one; may be given again.")
    ] = None,
    area: Annotated[list[str] | None, typer.Option(help="Code of an area; may be given again.")] = None,
    bbox: Annotated[str | None, typer.Option(help="west,south,east,north in degrees.")] = None,
    at: Annotated[str | None, typer.Option(help="ISO instant: the layer as it was then.")] = None,
    crs: Annotated[str | None, typer.Option(help="System to write: an EPSG code, gcj02 or bd09; the city's.")] = None,
    names: Annotated[str, typer.Option(help="Names of fields: ours, standard (2013) or standard-2026.")] = "ours",
    encoding: Annotated[str, typer.Option(help="Of a shapefile or CSV: utf-8 or gbk.")] = "utf-8",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    city: CityOption = None,
) -> None:
    """Write a layer to .gpkg, .parquet, .fgb, .shp, .zip (a shapefile), .geojson, .csv, .xlsx, .kml or .dxf.

    将图层输出为文件,格式由扩展名决定;部件图层另附读回用的映射文件。

    Example: wanmi export components lamps.zip --class C0108 --encoding gbk --names standard
    """
    from api.deps import parse_bbox
    from api.exported import Wanted, export_layer
    from api.gridfiles import instant
    from gis.errors import Invalid
    from gis.reference import Reference

    settings: Settings = context.obj
    if names not in ("ours", "standard", "standard-2026"):
        raise Invalid(
            f"{names!r} are no field names",
            f"{names!r} 不是可用的字段命名",
            mend="--names ours, standard (ObjID …) or standard-2026 (GLBJBSM …)",
            mend_zh="请用 --names ours、standard（ObjID 等）或 standard-2026（GLBJBSM 等）",
            field="names",
        )
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
        wanted = Wanted(
            layer=layer,
            classes=class_code or [],
            areas=area or [],
            bbox=parse_bbox(bbox) if bbox else None,
            at=instant(at, profile) if at else None,
            crs=Reference.parse(crs) if crs else None,
            names=names,  # type: ignore[arg-type]
            encoding=encoding,
            overwrite=overwrite,
        )
        done = export_layer(conn, profile, file, wanted)
    written = ", ".join(str(file.parent / name) for name in done.files)
    lines = [(f"{written}: {done.rows:,} rows", f"{written}:{done.rows:,} 条记录")]
    lines += [
        (f"{file.parent / name}: the mapping to read it back", f"{file.parent / name}:读回用的映射文件")
        for name in done.beside
    ]
    lines += [(f"note: {en}", f"注意:{zh}") for en, zh in done.losses]
    show(lines, settings)
