"""``wanmi collectors …``: responsibility grids (责任网格) and who walks them: check, table, map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from api.door import ActorOption, CityOption, opened, show, user_name
from gis.settings import Settings
from layers.responsibility import FAULTS, Fault, errors_of

collectors = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
SHOWN = 8


@collectors.callback()
def frame() -> None:
    """Responsibility grids (责任网格) and their collectors: check, export, import.

    责任网格与监督员:检查、输出、接收。

    Example: wanmi collectors check
    """


@collectors.command("check")
def check_grids(context: typer.Context, city: CityOption = None) -> None:
    """Check the responsibility grids of today: cells left out or given twice, grids in pieces or without a collector.

    检查现行责任网格:遗漏、重复、不连续、无监督员等。有错误时退出码为 1。

    Example: wanmi collectors check
    """
    from layers.responsibility import check, responsibility_table

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
        table = responsibility_table(conn)
        faults = check(conn, profile.srid, table)
    grids, cells = table["code"].nunique(), len(table)
    show([(f"{grids:,} grids of {cells:,} cells", f"{grids:,} 个责任网格,{cells:,} 个单元网格")], settings)
    show(list(fault_lines(faults)), settings)
    if errors_of(faults):
        raise typer.Exit(1)


@collectors.command("export")
def export_grids(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A table (.csv, .xlsx), or polygons (.gpkg, .shp, .geojson …).")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    city: CityOption = None,
) -> None:
    """Write the responsibility grids as a table of cells, or as a map of polygons with their collectors.

    将责任网格输出为单元网格表,或输出为带监督员的面图层。

    Example: wanmi collectors export beats.xlsx
    """
    from gis.errors import Invalid
    from gis.written import write_vector
    from layers.responsibility import responsibility_polygons, write_table
    from layers.sheet_file import WRITTEN

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
        if file.suffix.lower() not in WRITTEN:
            shapes = responsibility_polygons(conn, profile.srid)
            shapes["simulated"] = profile.simulated
            write_vector(shapes, file, overwrite=overwrite)
            show([(f"{file}: {len(shapes):,} polygons", f"{file}:{len(shapes):,} 个面")], settings)
            return
        if file.exists() and not overwrite:
            raise Invalid(f"{file} is there already", f"{file} 已存在", mend="give --overwrite", field="file")
        rows = write_table(conn, file)
    show([(f"{file}: {rows:,} cells", f"{file}:{rows:,} 个单元网格")], settings)


@collectors.command("import")
def import_grids(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A table (.csv, .xlsx) with one row a cell, or polygons.")],
    commit: Annotated[
        bool, typer.Option("--commit", help="Take it over; otherwise only say what it would do.")
    ] = False,
    note: Annotated[str | None, typer.Option(help="Why, for the history.")] = None,
    actor: ActorOption = None,
    city: CityOption = None,
) -> None:
    """Take over a table of responsibility grids, or a layer of polygons, as a whole; those it does not name end.

    接收责任网格表或面图层(整表替换):先检查,加 --commit 生效。有错误时退出码为 1。

    Example: wanmi collectors import beats.xlsx --commit
    """
    from layers.responsibility import import_table

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.begin() as conn:
        found = import_table(
            conn,
            profile.srid,
            file,
            commit=commit,
            actor=actor or user_name(),
            reason=note or f"responsibility grids {file.name}",
        )
    show(
        [
            (
                f"{found.grids:,} grids of {found.cells:,} cells: {found.changed} new or changed, {found.ended} ended",
                f"{found.grids:,} 个责任网格,{found.cells:,} 个单元网格:新增或变更 {found.changed},停用 {found.ended}",
            ),
            *fault_lines(found.faults),
        ],
        settings,
    )
    if errors_of(found.faults):
        show([("nothing was taken over: mend the errors", "未接收:请先更正错误")], settings)
        raise typer.Exit(1)
    if not found.committed and (found.changed or found.ended):
        show([("nothing was written; --commit takes it over", "未写入;加 --commit 接收")], settings)


def fault_lines(faults: Sequence[Fault]) -> Iterator[tuple[str, str]]:
    """The faults, errors first, a few of each kind."""
    many = Counter(fault.rule for fault in faults)
    for rule, (severity, en, zh, mend, mend_zh) in FAULTS.items():
        if not many[rule]:
            continue
        word = {"error": "错误", "warning": "警告"}[severity]
        yield f"{severity}: {en} ({many[rule]})", f"{word}:{zh}({many[rule]})"
        for fault in [fault for fault in faults if fault.rule == rule][:SHOWN]:
            row, row_zh = (f", row {fault.row}", f",第 {fault.row} 行") if fault.row else ("", "")
            detail = f" ({fault.detail})" if fault.detail else ""
            yield f"  {fault.code}{detail}{row}", f"  {fault.code}{detail}{row_zh}"
        yield f"  → {mend}", f"  → {mend_zh}"
