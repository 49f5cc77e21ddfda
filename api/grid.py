"""``wanmi grid …``: check the unit grid, take a city's own over, give it out, print it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.door import ActorOption, CityOption, opened, show, speaker, user_name
from api.drafts import cell_history, drafts, publish_draft
from gis.settings import Settings

if TYPE_CHECKING:
    from api.lettering import Notice
    from grids.findings import Finding

grid = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
grid.add_typer(drafts, name="draft")
grid.command("publish")(publish_draft)
grid.command("history")(cell_history)

FileArgument = Annotated[Path, typer.Argument(help="The file.")]
MapOption = Annotated[
    list[str] | None, typer.Option("--map", help="NAME=FIELD: which field holds code, area_class, name or note.")
]
CrsOption = Annotated[int | None, typer.Option(help="EPSG code of a file without one; 910002 GCJ-02, 910009 BD-09.")]
LayerOption = Annotated[str | None, typer.Option(help="Layer of a file of several.")]
OutOption = Annotated[Path | None, typer.Option(help="GeoPackage of the findings, to open in QGIS.")]


@grid.callback()
def frame() -> None:
    """The unit grid: check, take over, edit, publish, give out, print.

    单元网格:检查、接收、编辑、发布、输出、打印。

    Example: wanmi grid check
    """


@grid.command("check")
def check_grid(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="A grid to check instead of the city's.")] = None,
    mapping: MapOption = None,
    crs: CrsOption = None,
    layer: LayerOption = None,
    out: OutOption = None,
    city: CityOption = None,
) -> None:
    """Check the city's grid, or one in a file: gaps, overlaps, codes, shapes. Exit code 1 if it has errors.

    检查本市网格或文件中的网格;有错误时退出码为 1。

    Example: wanmi grid check our-grid.shp --out findings.gpkg
    """
    from api.gridfiles import check_city, pairs, read_file, said_of_findings
    from grids.check import errors_of

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, stages, _), engine.connect() as conn:
        with stages.stage("check", "checking the grid", "检查网格"):
            if file is None:
                cells, findings = check_city(conn, profile, lambda share: stages("", share))
            else:
                read = read_file(
                    conn,
                    profile,
                    file,
                    mapping=pairs(mapping or []),
                    layer=layer,
                    srid=crs,
                    progress=lambda share: stages("", share),
                )
                cells, findings = read.cells, read.findings
        show(said_of_findings(cells, findings), settings)
        _write_findings(out, findings, profile.srid, settings)
    if errors_of(findings):
        raise typer.Exit(1)


@grid.command("import")
def import_grid(
    context: typer.Context,
    file: FileArgument,
    mapping: MapOption = None,
    crs: CrsOption = None,
    layer: LayerOption = None,
    heal: Annotated[float | None, typer.Option(help="Close gaps and overlaps narrower than so many metres.")] = None,
    out: OutOption = None,
    moves: Annotated[Path | None, typer.Option(help="CSV file of what healing moved.")] = None,
    commit: Annotated[bool, typer.Option("--commit", help="Make it the grid; else only say what would be.")] = False,
    note: Annotated[str | None, typer.Option(help="Why, for the history.")] = None,
    actor: ActorOption = None,
    city: CityOption = None,
) -> None:
    """Take over a grid from a file: read, check, compare; with --commit it becomes the grid of its communities.

    接收文件中的网格:读取、检查、比对;加 --commit 则成为相应社区的正式网格。

    Example: wanmi grid import our-grid.shp --map code=BGID --heal 0.1 --out findings.gpkg
    """
    from api.gridfiles import commit_file, pairs, read_file, said_of_findings, said_of_import
    from api.publishing import report_lines
    from grids.check import errors_of

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, stages, _), engine.begin() as conn:
        with stages.stage("read", "reading and checking the file", "读取并检查文件"):
            read = read_file(
                conn,
                profile,
                file,
                mapping=pairs(mapping or []),
                layer=layer,
                srid=crs,
                heal_m=heal,
                progress=lambda share: stages("", share),
            )
        show(said_of_findings(read.cells, read.findings), settings)
        show(said_of_import(read), settings)
        _write_findings(out, read.findings, profile.srid, settings)
        if moves is not None and read.moves is not None:
            with moves.open("w", encoding="utf-8", newline="") as table:
                read.moves.to_csv(table, index=False)
        lines = []
        if commit:
            done = commit_file(conn, read, actor=actor or user_name(), note=note or f"imported from {file.name}")
            lines = list(report_lines(done))
    if commit:
        show(lines, settings)
    elif errors_of(read.findings):
        raise typer.Exit(1)
    else:
        show(
            [("nothing was changed; --commit makes it the grid", "未作任何更改;加 --commit 使其成为正式网格")], settings
        )


@grid.command("export")
def export_grid(
    context: typer.Context,
    file: FileArgument,
    community: Annotated[list[str] | None, typer.Option(help="Only this community; may be given again.")] = None,
    at: Annotated[str | None, typer.Option(help="ISO instant: the grid as it was then.")] = None,
    names: Annotated[str | None, typer.Option(help="standard (BGCode …; default for .shp, .zip) or ours.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    city: CityOption = None,
) -> None:
    """Write the grid to a file: .gpkg, .parquet, .shp, .zip (a shapefile), .geojson or .fgb.

    将网格输出为文件:.gpkg、.parquet、.shp、.zip(shapefile)、.geojson 或 .fgb。

    Example: wanmi grid export grid.shp --community 610902001003
    """
    from api.gridfiles import export_file, instant, names_of

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
        cells = export_file(
            conn,
            profile,
            file,
            communities=community or [],
            at=instant(at, profile) if at else None,
            names=names_of(names),
            overwrite=overwrite,
        )
    show([(f"{file}: {cells:,} cells", f"{file}:{cells:,} 个网格")], settings)


@grid.command("map")
def map_community(
    context: typer.Context,
    community: Annotated[str, typer.Argument(help="Code of the community, 12 digits.")],
    file: Annotated[Path, typer.Argument(help="PDF or PNG to write.")],
    city: CityOption = None,
) -> None:
    """Draw the map of one community with its cell numbers, for the field: A4 or A3 at a round scale.

    绘制一个社区的单元网格图(A4 或 A3),供外业使用。

    Example: wanmi grid map 610902001003 community.pdf
    """
    from api.demo import chinese_font
    from api.gridfiles import print_community

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
        notice = print_community(conn, profile, community, file, chinese_font(settings.cache))
    _drawn(file, notice, settings)


@grid.command("report")
def report_quality(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="PDF or PNG to write.")],
    city: CityOption = None,
) -> None:
    """Draw the one-page report of the grid's quality: figures, areas, findings and where they are.

    绘制一页网格质量报告:指标、面积分布、检查结果及位置。

    Example: wanmi grid report quality.pdf
    """
    from api.demo import chinese_font
    from api.gridfiles import print_report

    settings: Settings = context.obj
    with (
        opened(context, city, loaded=True) as (engine, profile, stages, _),
        engine.connect() as conn,
        stages.stage("check", "checking the grid", "检查网格"),
    ):
        notice = print_report(conn, profile, file, chinese_font(settings.cache), lambda share: stages("", share))
    _drawn(file, notice, settings)


def _write_findings(out: Path | None, findings: Sequence[Finding], srid: int, settings: Settings) -> None:
    from grids.check import write_findings

    if out is not None:
        write_findings(out, findings, srid)
        speaker(settings)(f"findings written to {out}", f"检查结果已写入 {out}")


def _drawn(file: Path, notice: Notice | None, settings: Settings) -> None:
    print(file)
    if notice is not None:
        speaker(settings)(notice.en, notice.zh)
