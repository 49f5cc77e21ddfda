"""``wanmi assign``: cell, areas, unit and rule for every row of a file, however many they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from api.door import CityOption, opened, show
from gis.settings import Settings

ColumnOption = Annotated[str | None, typer.Option(help="Column of the file; found by its usual names if not said.")]


def assign(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Reports: .parquet (a file, or a folder of them), .csv, .gpkg …")
    ],
    out: Annotated[
        Path, typer.Argument(help="What to write: .parquet, .csv, .gpkg, or a folder of .parquet files (no extension).")
    ],
    x: ColumnOption = None,
    y: ColumnOption = None,
    class_code: Annotated[str | None, typer.Option("--class", help="Column of the class.")] = None,
    condition: Annotated[str | None, typer.Option(help="Column of the filing condition's number.")] = None,
    component: Annotated[str | None, typer.Option(help="Column of the component's code.")] = None,
    crs: Annotated[int | None, typer.Option(help="EPSG code of the numbers; 910002 GCJ-02, 910009 BD-09.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of a CSV: utf-8, gbk; seen by itself if not said.")] = None,
    keep: Annotated[str | None, typer.Option(help="Columns of the file to carry over, with commas; all.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Answers to write, with commas; all but border_m, border_code.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Put before the names of the answers.")] = "",
    at: Annotated[str | None, typer.Option(help="ISO instant: by the grid and rules of then.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=256, help="As many as there are cores.")] = None,
    engine: Annotated[str, typer.Option(help="local, or dask: on a cluster.")] = "local",
    scheduler: Annotated[
        str | None, typer.Option(help="Address of the cluster, tcp://HOST:8786; one of its own.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    city: CityOption = None,
) -> None:
    """Assign every row of a file as a dispatcher would see it; refused rows go to OUT's .rejected.csv with the reason.

    批量定位:为文件的每一行确定单元网格、区划、责任单位与规则;中断后重新运行即可续做。

    Example: wanmi assign requests.parquet assigned.parquet --crs 4326
    """
    from api.gridfiles import instant
    from cases.bulk import Plan, alone, assign_file, prepare, refuse_out
    from cases.bulk_read import Columns, columns_of, open_source
    from cases.bulk_write import finish
    from cases.standing import BORDER, COLUMNS, read_standing
    from gis.errors import Invalid

    settings: Settings = context.obj
    if engine not in ("local", "dask"):
        raise Invalid(f"--engine {engine}: local or dask", f"--engine {engine}:应为 local 或 dask", field="engine")
    with opened(context, city, loaded=True) as (connected, profile, stages, _):
        file = open_source(source, encoding=encoding)
        said = Columns(x=x, y=y, class_code=class_code, condition_no=condition, component_code=component, srid=crs)
        meant = columns_of(file, said, profile.srid)
        kept = _listed(keep, [*file.names, *([file.geometry] if file.geometry else [])], "keep")
        answers = COLUMNS if columns is None else _listed(columns, (*COLUMNS, *BORDER), "columns")
        plan = Plan(columns=meant, keep=kept, answers=answers, prefix=prefix, folder="")
        _refuse_taken(plan, file.path)
        refuse_out(file, out, kept, overwrite=overwrite)
        with stages.stage("standing", "grid, rules and components", "网格、规则与部件"), connected.connect() as conn:
            standing = read_standing(conn, profile, instant(at, profile) if at else None)
        plan = prepare(file, out, plan, standing.mark, overwrite=overwrite)
        with alone(plan), stages.stage("assign", "assigning", "批量定位"):
            progress = _progress(stages)
            if engine == "dask":
                from cases.cluster import assign_on_cluster

                report = assign_on_cluster(file, plan, standing, scheduler=scheduler, progress=progress)
            else:
                report = assign_file(file, plan, standing, progress=progress, threads=threads)
            finish(plan, out, report, overwrite=overwrite)
    rate = (report.rows + report.refused) / max(report.seconds, 1e-9)
    lines = [
        (
            f"{report.rows:,} rows assigned, {report.refused:,} refused ({rate:,.0f} a second)",
            f"已定位 {report.rows:,} 行,拒绝 {report.refused:,} 行(每秒 {rate:,.0f} 行)",
        )
    ]
    if report.there:
        lines.append(
            (f"{report.there:,} parts were there from an interrupted run", f"其中 {report.there:,} 块为上次中断前完成")
        )
    lines += [(f"  {path}", f"  {path}") for path in report.outputs]
    show(lines, settings)


def _listed(said: str | None, known: Any, field: str) -> tuple[str, ...]:
    from gis.errors import Invalid

    if said is None:
        return tuple(known)
    names = [name.strip() for name in said.split(",") if name.strip()]
    strange = [name for name in names if name not in known]
    if strange:
        raise Invalid(
            f"--{field}: there is no {strange[0]!r}",
            f"--{field}:没有 {strange[0]!r}",
            mend=f"choose among: {', '.join(known)}",
            mend_zh=f"可选:{'、'.join(known)}",
            field=field,
        )
    return tuple(dict.fromkeys(names))


def _refuse_taken(plan: Any, path: Path) -> None:
    from gis.errors import Invalid

    taken = [name for name in plan.answers if plan.prefix + name in plan.keep]
    if taken:
        raise Invalid(
            f"{path.name} has a column {plan.prefix + taken[0]!r} already",
            f"{path.name} 已有 {plan.prefix + taken[0]!r} 列",
            mend="--prefix gives the answers other names; --keep leaves the column out",
            mend_zh="可用 --prefix 为结果列加前缀,或用 --keep 不保留该列",
            field=plan.prefix + taken[0],
        )


def _progress(stages: Any) -> Any:
    def tell(done: int, total: int | None, seconds: float) -> None:
        rate = done / max(seconds, 1e-9)
        text, text_zh = f"{done:,} rows, {rate:,.0f} a second", f"{done:,} 行,每秒 {rate:,.0f} 行"
        if total:
            left = (total - done) / max(rate, 1e-9)
            text, text_zh = f"{text}, {left:,.0f} s left", f"{text_zh},剩余 {left:,.0f} 秒"
        stages(f"{text} | {text_zh}", done / total if total else 0.0)

    return tell
