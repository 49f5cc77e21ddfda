"""``wanmi census …``: look at a survey's file, import it, list and undo imports."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from api.door import ActorOption, CityOption, opened, show, speaker, user_name
from gis.settings import Settings

census = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
FileArgument = Annotated[Path, typer.Argument(help="The file of the survey.")]
Number = Annotated[int, typer.Argument(help="Number of the import.", min=1)]


@census.callback()
def frame() -> None:
    """The component census: look at files, import them, undo imports.

    部件普查:查看文件、导入、撤销导入。

    Example: wanmi census look manholes.zip
    """


@census.command("look")
def look_at(
    context: typer.Context,
    file: FileArgument,
    layer: Annotated[str | None, typer.Option(help="Only this layer.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of the texts, when the file says it wrong.")] = None,
    draft: Annotated[Path | None, typer.Option(help="TOML file for a draft of the mapping.")] = None,
    city: CityOption = None,
) -> None:
    """Say what is in a file: layers, encoding, system, extent on the city, fields with samples; draft its mapping.

    查看文件:图层、编码、坐标系、在本市的位置、字段与样例,并可生成映射文件草稿。

    Example: wanmi census look manholes.zip --draft manholes.toml
    """
    from api.censuslook import draft as drafted
    from api.censuslook import look_lines
    from gis.crs import Extent
    from gis.errors import Conflict
    from gis.look import look
    from grids.areas import AREAS

    settings: Settings = context.obj
    if draft is not None and draft.exists():
        raise Conflict(f"{draft} is there already", f"{draft} 已存在", mend="choose another name", mend_zh="请另选名称")
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
        areas = AREAS.read(conn, profile.srid)
    seen = look(file, Extent.of(areas, profile.srid), layer=layer, encoding=encoding)
    show(look_lines(seen, (profile.name_en, profile.name_zh)), settings)
    if draft is not None:
        draft.write_text(drafted(seen), encoding="utf-8")
        speaker(settings)(f"draft written to {draft}", f"草稿已写入 {draft}")


@census.command("import")
def import_file(
    context: typer.Context,
    file: FileArgument,
    mapping: Annotated[Path, typer.Option("--map", help="The mapping: which field is which (docs/census.md).")],
    html: Annotated[Path | None, typer.Option(help="Report with a map, one HTML file.")] = None,
    out: Annotated[Path | None, typer.Option(help="GeoPackage of findings and differences, for QGIS.")] = None,
    commit: Annotated[bool, typer.Option("--commit", help="Make it the inventory, else a dry run.")] = False,
    skip_errors: Annotated[bool, typer.Option("--skip-errors", help="Leave out the rows that have an error.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace reports that are there.")] = False,
    note: Annotated[str | None, typer.Option(help="Why, for the history.")] = None,
    actor: ActorOption = None,
    city: CityOption = None,
) -> None:
    """Read, check and compare a census file; with --commit it becomes the inventory. Exit code 1 if it has errors.

    读取、检查并比对普查文件;加 --commit 则入库;有错误时退出码为 1。

    Example: wanmi census import manholes.zip --map manholes.toml --html report.html --out findings.gpkg
    """
    from api.censusreport import report_lines, write_geopackage, write_html
    from gis.errors import Conflict
    from grids.areas import AREAS
    from grids.ground import GROUND
    from layers.census import import_census
    from layers.census_mapping import read_mapping

    settings: Settings = context.obj
    read = read_mapping(mapping)
    extent = read.extent if isinstance(read.extent, Path) else None
    for path, extension in ((html, ".html"), (out, ".gpkg")):
        _want_name(path, extension)
        _want_free(path, overwrite)
        if (
            path is not None
            and path.exists()
            and any(path.samefile(one) for one in (file, mapping, extent) if one is not None and one.exists())
        ):
            raise Conflict(
                f"{path} is what is read",
                f"{path} 是被读取的文件",
                mend="choose another name for the report",
                mend_zh="请为报告另选文件名",
            )
    with opened(context, city, loaded=True) as (engine, profile, stages, _):
        with engine.begin() as conn, stages.stage("census", f"importing {file.name}", f"导入 {file.name}"):
            report = import_census(
                conn,
                profile,
                file,
                read,
                actor=actor or user_name(),
                reason=note,
                commit=commit,
                skip_errors=skip_errors,
                progress=stages,
            )
        show(report_lines(report), settings)
        if html is not None:
            with engine.connect() as conn:
                areas, ground = AREAS.read(conn, profile.srid), GROUND.read(conn, profile.srid)
            write_html(report, html, areas=areas, ground=ground)
        if out is not None:
            write_geopackage(report, out)
        for path in (html, out):
            if path is not None:
                speaker(settings)(f"written to {path}", f"已写入 {path}")
    if report.errors and not commit:
        raise typer.Exit(1)


def _want_name(path: Path | None, extension: str) -> None:
    """Refuse, before the work begins, a file that could not be written."""
    from gis.errors import unfit

    if path is not None and (path.suffix.lower() != extension or not path.absolute().parent.is_dir()):
        raise unfit(
            path,
            f"cannot be written: its name must end in {extension} and its folder must be there",
            f"无法写入：文件名须以 {extension} 结尾，且目录须已存在",
            mend=f"give a name such as report{extension}",
            mend_zh=f"请使用如 report{extension} 的文件名",
        )


@census.command("progress")
def show_progress(
    context: typer.Context,
    since: Annotated[str | None, typer.Option(help="First day of the census; the profile's, or 1 January.")] = None,
    stale_months: Annotated[
        int | None, typer.Option(help="Months after which a visit is stale; the profile's, or 24.")
    ] = None,
    class_code: Annotated[
        list[str] | None, typer.Option("--class", help="Class, or the beginning of one; may be given again.")
    ] = None,
    area: Annotated[list[str] | None, typer.Option(help="Code of an area; may be given again.")] = None,
    csv: Annotated[Path | None, typer.Option(help="CSV file with a row for each community and class.")] = None,
    map_file: Annotated[
        Path | None, typer.Option("--map", help="The map: .html, .pdf or .png; or a layer: .gpkg and the like.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    city: CityOption = None,
) -> None:
    """How far a census is, by community and class: surveyed, changed, to confirm, stale.

    普查进度,按社区和类别:已普查、变更、待核实、过期。

    Example: wanmi census progress --since 2026-03-01 --map progress.html --csv progress.csv
    """
    from api.censusprogress import progress_lines
    from api.demo import chinese_font
    from api.progresspage import write_map, write_table
    from grids.areas import AREAS
    from layers.progress import census_progress

    settings: Settings = context.obj
    for path in (csv, map_file):
        _want_free(path, overwrite)
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
        found = census_progress(
            conn,
            profile,
            since_on=_day(since) if since else None,
            stale_months=stale_months,
            classes=class_code or [],
            areas=area or [],
        )
        areas = AREAS.read(conn, profile.srid)
    show(progress_lines(found, areas), settings)
    notice = None
    if csv is not None:
        write_table(csv, found, areas)
    if map_file is not None:
        notice = write_map(map_file, found, areas, profile, chinese_font(settings.cache), overwrite=overwrite)
    for path in (csv, map_file):
        if path is not None:
            speaker(settings)(f"written to {path}", f"已写入 {path}")
    if notice is not None:
        speaker(settings)(notice.en, notice.zh)


def _day(text: str) -> date:
    from gis.errors import Invalid

    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"{text!r} is no day",
            f"{text!r} 不是有效日期",
            mend="write it as 2026-03-01",
            mend_zh="请写作 2026-03-01",
            field="since",
        ) from None


def _want_free(path: Path | None, overwrite: bool) -> None:
    """Refuse, before the work begins, a file that is there or whose folder is not."""
    from gis.errors import Conflict, unfit

    if path is None:
        return
    if path.exists() and not overwrite:
        raise Conflict(
            f"{path} is there already",
            f"{path} 已存在",
            mend="choose another name, or say --overwrite",
            mend_zh="请另选名称，或加 --overwrite",
        )
    if not path.absolute().parent.is_dir():
        raise unfit(
            path,
            "cannot be written: there is no such folder",
            "无法写入：目录不存在",
            mend="make the folder first",
            mend_zh="请先建立目录",
        )


@census.command("list")
def list_imports(context: typer.Context, city: CityOption = None) -> None:
    """List the imports: number, file, when, who, what they changed, whether undone.

    列出各次导入:编号、文件、时间、操作人、变更及是否已撤销。

    Example: wanmi census list
    """
    from zoneinfo import ZoneInfo

    from layers.census_log import list_censuses
    from layers.census_report import FATES

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
        imports = list_censuses(conn)
    for row in imports:
        at = row.imported_at.astimezone(ZoneInfo(profile.timezone))
        counts = {fate: row.counts.get(fate, 0) for fate in FATES}
        said = ", ".join(f"{many:,} {FATES[fate][0]}" for fate, many in counts.items() if many)
        said_zh = "、".join(f"{FATES[fate][1]} {many:,}" for fate, many in counts.items() if many)
        undone = "" if row.undone_by is None else f"  undone by {row.undone_by}"
        undone_zh = "" if row.undone_by is None else f"  已由 {row.undone_by} 撤销"
        why = "" if row.reason == f"census {row.file_name}" else f"  {row.reason}"
        head = f"{row.id:>5}  {at:%Y-%m-%d %H:%M}  {row.imported_by}  {row.file_name}{why}  "
        show([(head + said + undone, head + said_zh + undone_zh)], settings)
    if not imports:
        show([("no imports yet", "尚无导入")], settings)


@census.command("undo")
def undo_import(
    context: typer.Context,
    number: Number,
    keep_edited: Annotated[
        bool, typer.Option("--keep-edited", help="Leave components that were edited since as they are.")
    ] = False,
    note: Annotated[str | None, typer.Option(help="Why, for the history.")] = None,
    actor: ActorOption = None,
    city: CityOption = None,
) -> None:
    """Undo an import as one change: the inventory is as it was before. Refused when its components were edited since.

    将一次导入整体撤销;若其部件此后被编辑则拒绝。

    Example: wanmi census undo 3 --note 坐标系有误
    """
    from layers.census_log import undo_census

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, _, _, _), engine.begin() as conn:
        many = undo_census(conn, number, actor=actor or user_name(), reason=note, keep_edited=keep_edited)
    show([(f"import {number} is undone: {many:,} components", f"导入 {number} 已撤销:{many:,} 个部件")], settings)
