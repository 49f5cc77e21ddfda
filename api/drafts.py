"""``wanmi grid draft …``, ``wanmi grid publish``, ``wanmi grid history``: editing the grid from the command line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from api.door import CityOption, opened, show, user_name

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from api.progress import Stages
    from grids.city import City
    from grids.findings import Finding

drafts = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Number = Annotated[int, typer.Argument(help="Number of the draft.", min=1)]
Code = Annotated[str, typer.Argument(help="Code of a cell of the draft.")]
LineOption = Annotated[str | None, typer.Option("--line", help="Points of the line: 'x y, x y, …'.")]
LineFile = Annotated[Path | None, typer.Option("--line-file", help="Vector file with the line, instead of --line.")]
CrsOption = Annotated[int | None, typer.Option(help="EPSG code of --line; default: the city's system, metres.")]
SHOWN = 12  #: findings printed one by one

Line = tuple[str, str]


@drafts.callback()
def frame() -> None:
    """Drafts of the grid: invisible to others until published, checked at every save.

    网格草稿:发布前他人不可见,每次保存均检查。

    Example: wanmi grid draft open 610902001003 --note 道路改造
    """


@drafts.command("open")
def open_draft(
    context: typer.Context,
    community: Annotated[list[str], typer.Argument(help="Codes of the communities, 12 digits each.")],
    note: Annotated[str | None, typer.Option(help="Why, in words: it becomes the reason of the change.")] = None,
    city: CityOption = None,
) -> None:
    """Open a draft with today's cells of some communities; no other draft may hold them meanwhile.

    为若干社区新建草稿,内容为当前网格。

    Example: wanmi grid draft open 610902001003 610902001004 --note 道路改造
    """
    from grids.edit import open_draft as opening
    from grids.edit import show_draft

    with _writing(context, city) as (conn, _, _):
        draft = show_draft(conn, opening(conn, community, actor=user_name(), note=note))
    show([(f"draft {draft.id}: {draft.cells} cells", f"草稿 {draft.id}:{draft.cells} 个网格")], context.obj)


@drafts.command("list")
def list_drafts(
    context: typer.Context,
    ended: Annotated[bool, typer.Option("--ended", help="Also those that were published or dropped.")] = False,
    city: CityOption = None,
) -> None:
    """List the open drafts.

    列出草稿。

    Example: wanmi grid draft list --ended
    """
    from grids.edit import list_drafts as listing

    with _writing(context, city) as (conn, profile, _):
        rows = listing(conn, ended=ended)
    show((line for draft in rows for line in _about(draft, profile)), context.obj)
    if not rows:
        show([("no draft is open", "没有打开的草稿")], context.obj)


@drafts.command("show")
def show_draft(context: typer.Context, draft: Number, city: CityOption = None) -> None:
    """Show a draft and its cells: code, area class, area in m².

    显示草稿及其网格。

    Example: wanmi grid draft show 3
    """
    from grids.edit import read_draft
    from grids.edit import show_draft as showing

    with _writing(context, city) as (conn, profile, _):
        about, cells = showing(conn, draft), read_draft(conn, draft)
    show(_about(about, profile), context.obj)
    for cell in cells.itertuples():
        print(f"  {cell.code}  {cell.area_class}  {cell.geometry.area:>10,.0f} m²")


@drafts.command("cut")
def cut_draft(
    context: typer.Context,
    draft: Number,
    target: Annotated[float, typer.Option(help="Area of a usual cell, m².", min=100, max=100_000_000)] = 10_000,
    tolerance: Annotated[float, typer.Option(help="Ends of streets this short are joined, m.", min=0, max=50)] = 1.0,
    area_class: Annotated[str | None, typer.Option("--class", help="A, B or C for all cells; C: any size.")] = None,
    city: CityOption = None,
) -> None:
    """Cut the draft's communities anew from the ground of the database; cells that stay much the same keep their codes.

    按数据库中的道路、水系等重新划分草稿所含社区。

    Example: wanmi grid draft cut 3 --target 10000
    """
    from api.redrawing import cut_again, read_to_cut
    from gis.errors import Invalid
    from grids.edit import put_cells

    if area_class is not None and area_class.upper() not in ("A", "B", "C"):
        raise Invalid(f"there is no area class {area_class!r}: A, B or C", f"没有区域类别 {area_class!r}:A、B 或 C")
    with opened(context, city, loaded=True) as (engine, _, stages, _):
        with engine.begin() as conn:
            given = read_to_cut(conn, draft)
        with stages.stage("cut", "cutting the unit grid", "划分单元网格"):
            cells = cut_again(
                given,
                target_m2=target,
                tolerance_m=tolerance,
                area_class=None if area_class is None else area_class.upper(),
                progress=lambda part: stages("", part),
            )
        with engine.begin() as conn:  # refused if somebody saved the draft meanwhile
            findings = put_cells(conn, draft, cells, actor=user_name(), revision=given.revision)
            _tell(context, conn, draft, findings)


@drafts.command("split")
def split_cell(
    context: typer.Context,
    draft: Number,
    code: Code,
    line: LineOption = None,
    line_file: LineFile = None,
    crs: CrsOption = None,
    city: CityOption = None,
) -> None:
    """Split a cell by a line, which may end up to 2 m short of its border; the pieces get new numbers.

    用一条线分割网格;新网格使用新编码。

    Example: wanmi grid draft split 3 610902001003004 --line "500010 3619000, 500130 3619020"
    """
    from grids.edit import split

    with _writing(context, city) as (conn, _, _):
        shape, srid = _line(line, line_file, crs)
        _tell(context, conn, draft, split(conn, draft, code, shape, srid=srid, actor=user_name()))


@drafts.command("merge")
def merge_cells(
    context: typer.Context,
    draft: Number,
    codes: Annotated[list[str], typer.Argument(help="Codes of two or more neighbours of one community.")],
    city: CityOption = None,
) -> None:
    """Merge neighbours of one community; the new cell gets a new number.

    合并同一社区的相邻网格;新网格使用新编码。

    Example: wanmi grid draft merge 3 610902001003004 610902001003005
    """
    from grids.edit import merge

    with _writing(context, city) as (conn, _, _):
        _tell(context, conn, draft, merge(conn, draft, codes, actor=user_name()))


@drafts.command("move-border")
def move_border(
    context: typer.Context,
    draft: Number,
    code: Code,
    other: Annotated[str, typer.Argument(help="Code of its neighbour.")],
    line: LineOption = None,
    line_file: LineFile = None,
    crs: CrsOption = None,
    city: CityOption = None,
) -> None:
    """Make a line the border between two neighbours of one community; both keep their codes.

    以一条线作为同一社区两个相邻网格的新边界,编码不变。

    Example: wanmi grid draft move-border 3 610902001003004 610902001003005 --line "500010 3619000, 500130 3619020"
    """
    from grids.edit import move_border as moving

    with _writing(context, city) as (conn, _, _):
        shape, srid = _line(line, line_file, crs)
        _tell(context, conn, draft, moving(conn, draft, code, other, shape, srid=srid, actor=user_name()))


@drafts.command("recode")
def recode_cell(
    context: typer.Context,
    draft: Number,
    code: Code,
    to: Annotated[str | None, typer.Option("--to", help="The new code, never used before; default: the next.")] = None,
    city: CityOption = None,
) -> None:
    """Give a cell another number; one that was ever used is refused.

    更换网格编码;使用过的编码不得再用。

    Example: wanmi grid draft recode 3 610902001003004
    """
    from grids.edit import recode

    with _writing(context, city) as (conn, _, _):
        _tell(context, conn, draft, recode(conn, draft, code, to, actor=user_name()))


@drafts.command("class")
def set_class(
    context: typer.Context,
    draft: Number,
    code: Code,
    area_class: Annotated[str, typer.Argument(help="A, B or C.")],
    city: CityOption = None,
) -> None:
    """Give a cell another management class.

    更改网格的管理等级。

    Example: wanmi grid draft class 3 610902001003004 B
    """
    from grids.edit import set_area_class

    with _writing(context, city) as (conn, _, _):
        _tell(context, conn, draft, set_area_class(conn, draft, code, area_class.upper(), actor=user_name()))


@drafts.command("export")
def export_draft(
    context: typer.Context,
    draft: Number,
    file: Annotated[Path, typer.Argument(help="The file to write, such as draft.gpkg.")],
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite a file that is there.")] = False,
    city: CityOption = None,
) -> None:
    """Write the cells of a draft to a file, to be edited in QGIS and brought back with `draft import`.

    将草稿导出为文件,供 QGIS 编辑。

    Example: wanmi grid draft export 3 draft.gpkg
    """
    from api.redrawing import write_draft

    with _writing(context, city) as (conn, _, _):
        cells = write_draft(conn, draft, file, replace=replace)
    show([(f"{file}: {cells} cells", f"{file}:{cells} 个网格")], context.obj)


@drafts.command("import")
def import_draft(
    context: typer.Context,
    draft: Number,
    file: Annotated[Path, typer.Argument(help="A file written by `draft export` and edited.")],
    layer: Annotated[str | None, typer.Option(help="Layer of a file of several.")] = None,
    crs: Annotated[int | None, typer.Option(help="EPSG code of a file that does not say its own.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also when somebody saved the draft since.")] = False,
    city: CityOption = None,
) -> None:
    """Replace the cells of a draft by those of a file; new cells have an empty code.

    用文件中的网格替换草稿内容;新网格编码留空。

    Example: wanmi grid draft import 3 draft.gpkg
    """
    from api.redrawing import bring_back

    with _writing(context, city) as (conn, _, _):
        findings = bring_back(conn, draft, file, layer=layer, srid=crs, force=force, actor=user_name())
        _tell(context, conn, draft, findings)


@drafts.command("check")
def check_draft(
    context: typer.Context,
    draft: Number,
    out: Annotated[Path | None, typer.Option(help="GeoPackage of the findings, to open in QGIS.")] = None,
    city: CityOption = None,
) -> None:
    """Check a draft; exit code 1 if it has errors and so cannot be published.

    检查草稿;有错误(不能发布)时退出码为 1。

    Example: wanmi grid draft check 3 --out findings.gpkg
    """
    from grids.edit import check_draft as checking
    from grids.findings import write_findings

    with _writing(context, city) as (conn, profile, _):
        findings = checking(conn, draft)
        _tell(context, conn, draft, findings)
        if out is not None:
            write_findings(out, findings, profile.srid)
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)


@drafts.command("drop")
def drop_draft(context: typer.Context, draft: Number, city: CityOption = None) -> None:
    """End a draft; nothing comes of it, and others may open its communities.

    放弃草稿。

    Example: wanmi grid draft drop 3
    """
    from grids.edit import drop_draft as dropping

    with _writing(context, city) as (conn, _, _):
        dropping(conn, draft, actor=user_name())
    show([(f"draft {draft} is dropped", f"草稿 {draft} 已放弃")], context.obj)


def publish_draft(
    context: typer.Context,
    draft: Number,
    commit: Annotated[bool, typer.Option("--commit", help="Do it; else only say what would change.")] = False,
    out: Annotated[Path | None, typer.Option(help="CSV of everything that moves.")] = None,
    city: CityOption = None,
) -> None:
    """Make a draft the grid: cells, components and open cases in one step; a dry run unless --commit is given.

    发布草稿:网格、部件与未结案件一并更新;不加 --commit 时仅试运行。

    Example: wanmi grid publish 3 --commit
    """
    from api.publishing import publish_grid, report_lines, report_rows
    from grids.editions import UnsoundGrid

    with _writing(context, city) as (conn, _, _):
        try:
            report = publish_grid(conn, draft, actor=user_name(), commit=commit)
        except UnsoundGrid as error:
            show(_finding_lines(error.findings), context.obj)
            raise
        if out is not None:
            with out.open("w", encoding="utf-8-sig", newline="") as table:
                rows = csv.DictWriter(table, ["what", "code", "from", "to", "unit_from", "unit_to"])
                rows.writeheader()
                rows.writerows(report_rows(report))
    show(report_lines(report), context.obj)


def cell_history(
    context: typer.Context,
    code: Annotated[str, typer.Argument(help="Code of a cell, also of one that is no more.")],
    city: CityOption = None,
) -> None:
    """Show all versions of a cell, what it came from and what became of it.

    显示网格的全部版本及其来源与去向。

    Example: wanmi grid history 610902001003004
    """
    from api.redrawing import history_lines
    from grids.editions import cell_history as history

    with _writing(context, city) as (conn, profile, _):
        versions, descent = history(conn, code)
    show(history_lines(versions, descent, profile), context.obj)


# ── what the commands share ────────────────────────────────────────


@contextmanager
def _writing(context: typer.Context, city: str | None) -> Iterator[tuple[Connection, City, Stages]]:
    """One transaction on the city's database."""
    with opened(context, city, loaded=True) as (engine, profile, stages, _), engine.begin() as conn:
        yield conn, profile, stages


def _line(line: str | None, file: Path | None, crs: int | None) -> tuple[Any, int | None]:
    from api.redrawing import parse_line, read_line
    from gis.errors import Invalid

    if (line is None) == (file is None):
        raise Invalid(
            "the line is given by --line or by --line-file",
            "请用 --line 或 --line-file 之一给出线",
            mend='--line "x y, x y", in the city\'s system unless --crs says another',
            mend_zh='--line "x y, x y",默认为城市坐标系,其他坐标系用 --crs',
        )
    return (parse_line(line), crs) if line is not None else read_line(Path(str(file)), crs)


def _about(draft: Any, profile: City) -> Iterator[Line]:
    communities = ", ".join(draft.communities[:4]) + (" …" if len(draft.communities) > 4 else "")
    saved = draft.saved_at.astimezone(ZoneInfo(profile.timezone)).isoformat(sep=" ", timespec="minutes")
    words = {"draft": "草稿", "published": "已发布", "dropped": "已放弃"}[draft.state]
    note = f"  {draft.note}" if draft.note else ""
    yield (
        f"{draft.id:>5}  {draft.state:<9}  {draft.cells:>5} cells  {communities}  {saved} {draft.saved_by}{note}",
        f"{draft.id:>5}  {words}  {draft.cells:>5} 个网格  {communities}  {saved} {draft.saved_by}{note}",
    )


def _tell(context: typer.Context, conn: Connection, draft: int, findings: Sequence[Finding]) -> None:
    """What a draft is after an act, and what its check found."""
    from grids.edit import new_codes
    from grids.edit import show_draft as showing

    now = showing(conn, draft)
    head = f"draft {draft}: {now.cells} cells, revision {now.revision}"
    show([(head, f"草稿 {draft}:{now.cells} 个网格,版次 {now.revision}")], context.obj)
    fresh = new_codes(conn, draft)
    if fresh:
        words = " ".join(fresh[:SHOWN]) + (" …" if len(fresh) > SHOWN else "")
        show([(f"  new codes so far: {words}", f"  目前的新编码:{words}")], context.obj)
    show(_finding_lines(findings), context.obj)


def _finding_lines(findings: Sequence[Finding]) -> Iterator[Line]:
    grave = [finding for finding in findings if finding.severity == "error"]
    yield (
        f"  {len(grave)} errors, {len(findings) - len(grave)} warnings and notes",
        f"  错误 {len(grave)} 处,提示 {len(findings) - len(grave)} 处",
    )
    for finding in [*grave, *(found for found in findings if found.severity == "warning")][:SHOWN]:
        zh = "错误" if finding.severity == "error" else "提示"
        yield f"    {finding.severity:<8}{finding.en}", f"    {zh}  {finding.zh}"
