"""``wanmi places …``: names of places: find one, take over a file, take anew what areas and ground name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.door import ActorOption, CityOption, opened, show, user_name
from gis.settings import Settings
from layers.place_import import PlaceReport

places = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

HOW_ZH = {
    "name": "名称相同",
    "sound": "读音相同",
    "initials": "首字母",
    "part": "名称的一部分",
    "alike": "相近",
    "door": "门牌",
    "between": "按相邻门牌推算",
    "road": "仅到道路",
    "crossing": "路口",
    "coordinate": "坐标",
    "code": "编码",
}


@places.callback()
def frame() -> None:
    """Names of places (地名): find one, take over a file, derive them from areas and ground.

    地名地址:查找、接收、生成。

    Example: wanmi places find 兴安路57号
    """


@places.command("find")
def find(
    context: typer.Context,
    said: Annotated[str, typer.Argument(help="An address, road, crossing, place, pinyin, first letters, coordinates.")],
    city: CityOption = None,
) -> None:
    """Find where a place is, however it is said; the surest answers first.

    按地址、道路、路口、地名、拼音、首字母或坐标查找位置。

    Example: wanmi places find 兴安路57号
    """
    from api.geocode import said_places

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
        found = said_places(conn, profile, said, 8)
    lines = [
        (
            f"{100 * one['sure']:3.0f} %  {one['name_en'] or one['name_zh']} ({one['kind_en']}, {one['how']})  "
            f"{one['lon']:.6f} {one['lat']:.6f}" + (f"  formerly {one['former']}" if one["former"] else ""),
            f"{100 * one['sure']:3.0f} %  {one['name_zh']}（{one['kind_zh']}，{HOW_ZH[one['how']]}）  "
            f"{one['lon']:.6f} {one['lat']:.6f}" + (f"  原名 {one['former']}" if one["former"] else ""),
        )
        for one in found["items"]
    ]
    show(lines or [(f"nothing is called {said}", f"没有名为 {said} 的地方")], settings)
    hint = found["hint"]
    if hint is not None:
        far = f"{hint['distance_m']} m " if hint["distance_m"] else ""
        en = f"hint: {far}{hint['direction'] or 'near it'}; no position is moved by it"
        show([(en, f"提示：{far}{hint['direction'] or '附近'}；不据此移动位置")], settings)


@places.command("import")
def import_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A GIS file, or a table with coordinates.")],
    commit: Annotated[
        bool, typer.Option("--commit", help="Take it over; otherwise only say what it would do.")
    ] = False,
    complete: Annotated[bool, typer.Option("--complete", help="Imported places it does not name end.")] = False,
    crs: Annotated[int | None, typer.Option(help="EPSG code where the file does not say it.")] = None,
    note: Annotated[str | None, typer.Option(help="Why, for the history.")] = None,
    actor: ActorOption = None,
    city: CityOption = None,
) -> None:
    """Take over a city's names of places; a renamed place is still found by its former name.

    接收本市地名数据:先检查比对,加 --commit 入库;更名后仍可按原名查找。有错误时退出码为 1。

    Example: wanmi places import names.gpkg --commit
    """
    from layers.place_import import import_places

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.begin() as conn:
        report = import_places(
            conn,
            profile,
            file,
            complete=complete,
            commit=commit,
            actor=actor or user_name(),
            reason=note or f"places {file.name}",
            srid=crs,
        )
    show([count_line(report)], settings)
    show([(f"  {fate:<8} {code}  {what}",) * 2 for fate, code, what in report.examples], settings)
    for row, name, said_en, said_zh in report.faults[:20]:
        show([(f"error: row {row}, {name}: {said_en}", f"错误:第 {row} 行,{name}:{said_zh}")], settings)
    if report.faults:
        more = f" ({len(report.faults)} errors)"
        show(
            [(f"nothing was taken over: mend the rows{more}", f"未接收,请更正以上记录({len(report.faults)} 处错误)")],
            settings,
        )
        raise typer.Exit(1)
    if not report.committed and sum(report.counts.values()) > report.counts["same"]:
        show([("nothing was written; --commit takes them over", "未写入;加 --commit 接收")], settings)


@places.command("derive")
def derive(context: typer.Context, actor: ActorOption = None, city: CityOption = None) -> None:
    """Take anew what areas and ground of today name: areas, roads, their crossings, water, parks.

    按现行区划与地物重新生成区域、道路、路口等地名。

    Example: wanmi places derive
    """
    from layers.place_import import derive_again

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.begin() as conn:
        report = derive_again(conn, profile, actor=actor or user_name())
    show([count_line(report)], settings)


def count_line(report: PlaceReport) -> tuple[str, str]:
    """How many places are new, renamed, the same …"""
    words = {"new": "新增", "renamed": "更名", "changed": "变更", "moved": "移动", "same": "相同", "ended": "停用"}
    en = ", ".join(f"{many:,} {fate}" for fate, many in report.counts.items())
    zh = ",".join(f"{words[fate]} {many:,}" for fate, many in report.counts.items())
    return f"{report.rows:,} places: {en}", f"{report.rows:,} 个地名:{zh}"
