"""``wanmi catalogue …``: editions of the catalogue, a city's own sheet, what corresponds to what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from api.door import ActorOption, CityOption, opened, show, user_name
from gis.errors import Invalid, NotFound
from gis.settings import Settings

catalogue = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
EditionOption = Annotated[str | None, typer.Option(help="Code of the edition; the one in force if not said.")]
CommitOption = Annotated[bool, typer.Option("--commit", help="Do it; else only say what would change.")]
NoteOption = Annotated[str | None, typer.Option(help="Why, for the history.")]
OutOption = Annotated[Path | None, typer.Option(help="CSV file of all findings and differences.")]
LETTERS = {"component": "C", "部件": "C", "event": "E", "事件": "E"}


@catalogue.callback()
def frame() -> None:
    """The catalogue: editions side by side, a city's own sheet (立结案标准), what corresponds to what.

    分类目录:各版本并存,接收本市立结案标准,查询对应关系。

    Example: wanmi catalogue list
    """


@catalogue.command("list")
def list_editions(context: typer.Context, city: CityOption = None) -> None:
    """List the editions and which of them was in force when.

    列出各版本及其生效时间。

    Example: wanmi catalogue list
    """
    from layers.catalogue import editions, editions_in_force

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
        for row in editions(conn):
            sign = "*" if row["in_force"] else " "
            en = f"{sign} {row['code']:<26} {row['components']:>4} component and {row['events']:>4} event classes, "
            zh = f"{sign} {row['code']:<26} 部件小类 {row['components']:>4},事件小类 {row['events']:>4},"
            show([(f"{en}{row['conditions']:>5} conditions", f"{zh}立案条件 {row['conditions']:>5}")], settings)
        for row in editions_in_force(conn):
            at = row["since"].astimezone(ZoneInfo(profile.timezone))
            words = f"  {at:%Y-%m-%d %H:%M:%S}  {row['edition']}  {row['actor']}: {row['reason']}"
            show([(words, words)], settings)


@catalogue.command("show")
def show_class(
    context: typer.Context,
    code: Annotated[str, typer.Argument(help="Code of a class, such as C0101.")],
    edition: EditionOption = None,
    city: CityOption = None,
) -> None:
    """Show a class: shape, accuracy, attributes, filing conditions with limits, what it is in other editions.

    查询一个小类:图形、精度、属性、立案条件与时限,以及在其他版本中的对应类别。

    Example: wanmi catalogue show C0101
    """
    from layers.catalogue import edition_in_force, read_class

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, _, _, _), engine.connect() as conn:
        found = read_class(conn, edition or edition_in_force(conn), code.strip().upper())
    show(_class_lines(found), settings)


def _class_lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [
        (
            f"{found['code']} {found['name_en']} ({found['edition']})",
            f"{found['code']} {found['name_zh']}({found['edition']})",
        )
    ]
    if found["geometry_type"]:
        never = ", ".join(found["never_on"]) or "-"
        lines.append(
            (
                f"  {found['geometry_type']}, accuracy {found['accuracy_class']}, never on: {never}",
                f"  {found['geometry_type']},精度 {found['accuracy_class']} 级,不应位于:{never}",
            )
        )
    for name, domain in found["attribute_schema"].get("properties", {}).items():
        span = f"{domain['minimum']:g} … {domain['maximum']:g}" if "minimum" in domain else ""
        text = f"  {name}: {domain.get('type')} {' | '.join(domain.get('enum', [])) or span}"
        lines.append((text, text))
    for one in found["conditions"]:
        limits = {f"{area} ": limit for area, limit in one["limits"].items()}
        if len(set(limits.values())) == 1:
            limits = {"": next(iter(limits.values()))}
        en = ", ".join(f"{area}{limit.en}" for area, limit in limits.items()) or "no limit"
        zh = "、".join(f"{area}{limit.zh}" for area, limit in limits.items()) or "无时限"
        lines.append(
            (
                f"  {one['no']:>2}  {en}: {one['condition_en']}",
                f"  {one['no']:>2}  {zh}:{one['condition_zh']} → {one['closing_result_zh'] or '-'}",
            )
        )
    for other in found["mapping"]:
        sure = ("", "") if other["reviewed"] else (", not reviewed", ",未核对")
        to = other["code"] or "-"
        lines.append(
            (
                f"  {other['edition']}: {to} ({other['relation']}{sure[0]})",
                f"  {other['edition']}:{to}({other['relation']}{sure[1]})",
            )
        )
    return lines


@catalogue.command("import")
def import_sheet(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The sheet: .xlsx or .csv.")],
    commit: CommitOption = False,
    code: Annotated[str | None, typer.Option(help="Code of the new edition; city and day if not said.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="component or event: what a file is of that does not say it itself.")
    ] = None,
    out: OutOption = None,
    note: NoteOption = None,
    actor: ActorOption = None,
    city: CityOption = None,
) -> None:
    """Take over a city's own sheet: read, check, compare; with --commit it is a new edition, in force from now on.

    接收本市立结案标准:读取、检查、比对;加 --commit 则成为新版本并即时生效。有错误时退出码为 1。

    Example: wanmi catalogue import our-sheet.xlsx --out findings.csv
    """
    from api.revising import review_lines, take_over, write_review

    settings: Settings = context.obj
    if kind is not None and kind not in LETTERS:
        raise Invalid(
            f"{kind!r} is no kind of class",
            f"{kind!r} 不是有效的类别种类",
            mend="--kind component or --kind event",
            mend_zh="请使用 --kind component 或 --kind event",
        )
    with opened(context, city, loaded=True) as (engine, profile, _, _):
        with engine.connect() as conn:  # first what it says; the faults of a refused sheet are shown too
            review = take_over(conn, profile, file, kind=LETTERS.get(kind or ""), code=code, actor="")
        if out is not None:
            write_review(review, out)
        if commit and not review.revision.errors:
            with engine.begin() as conn:
                review = take_over(
                    conn,
                    profile,
                    file,
                    kind=LETTERS.get(kind or ""),
                    code=code,
                    actor=actor or user_name(),
                    reason=note,
                    commit=True,
                )
    show(review_lines(review), settings)
    if review.revision.errors:
        raise typer.Exit(1)


@catalogue.command("export")
def export_sheet(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The sheet to write: .xlsx or .csv.")],
    edition: EditionOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Also over a file that is there.")] = False,
    city: CityOption = None,
) -> None:
    """Write an edition as a city's sheet: components and events, nine columns.

    将一个版本输出为立结案标准表:部件、事件各一表,九列。

    Example: wanmi catalogue export sheet.xlsx
    """
    from api.revising import write_sheet
    from layers.catalogue import edition_in_force

    settings: Settings = context.obj
    if file.suffix.lower() not in (".xlsx", ".csv"):
        raise Invalid(
            f"{file.name}: a sheet is written as .xlsx or .csv",
            f"{file.name}:只能输出 .xlsx 或 .csv",
            mend="change the ending of the name",
            mend_zh="请更改文件扩展名",
        )
    if file.exists() and not overwrite:
        raise Invalid(f"{file} is there already", f"{file} 已存在", mend="add --overwrite", mend_zh="请加 --overwrite")
    with opened(context, city, loaded=True) as (engine, _, _, _), engine.connect() as conn:
        rows = write_sheet(conn, edition or edition_in_force(conn), file)
    show([(f"{file}: {rows} rows", f"{file}:{rows} 行")], settings)


@catalogue.command("use")
def use_edition(
    context: typer.Context,
    edition: Annotated[str, typer.Argument(help="Code of the edition.")],
    commit: CommitOption = False,
    out: OutOption = None,
    note: NoteOption = None,
    actor: ActorOption = None,
    city: CityOption = None,
) -> None:
    """Put an edition that is there in force, for instance the earlier one again; says what would change first.

    使已有版本生效(例如恢复前一版本);默认仅说明将发生的变化。

    Example: wanmi catalogue use ankang-2020-provisional --commit
    """
    from api.revising import put_back, review_lines, write_review

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.begin() as conn:
        review = put_back(conn, profile, edition, actor=actor or user_name(), reason=note, commit=commit)
    if out is not None:
        write_review(review, out)
    show(review_lines(review), settings)


@catalogue.command("map")
def map_editions(
    context: typer.Context,
    from_edition: Annotated[str, typer.Argument(help="Code of an edition.")],
    to_edition: Annotated[str, typer.Argument(help="Code of another.")],
    city: CityOption = None,
) -> None:
    """List as CSV which class of one edition is which of another; reviewed 0: found by likeness, to be looked at.

    以 CSV 列出两个版本的类别对应关系;reviewed 为 0 者系按名称推定,应予核对。

    Example: wanmi catalogue map GBT30428.2-2013 GBT47678.5-2026
    """
    import sys

    from layers.catalogue import mapped, refuse_unknown_edition

    with opened(context, city, loaded=True) as (engine, _, _, _), engine.connect() as conn:
        for edition in (from_edition, to_edition):
            refuse_unknown_edition(conn, edition)
        table = mapped(conn, from_edition, to_edition)
    if table.empty:
        raise NotFound(
            f"there is no mapping between {from_edition} and {to_edition}",
            f"{from_edition} 与 {to_edition} 之间没有对应关系",
            mend="wanmi catalogue list names the editions",
            mend_zh="wanmi catalogue list 可列出各版本",
        )
    table.assign(reviewed=table["reviewed"].astype(int)).to_csv(sys.stdout, index=False)
