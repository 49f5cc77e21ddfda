"""``wanmi component …``: one component through time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from api.door import ActorOption, CityOption, opened, show, user_name
from gis.settings import Settings

if TYPE_CHECKING:
    from layers.edits import Version

component = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Code = Annotated[str, typer.Argument(help="Code of the component, 16 or 17 digits.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="FIELD=VALUE, attrs.NAME=VALUE; nothing behind = takes it away.")
]
CrsOption = Annotated[str, typer.Option(help="System of the numbers: an EPSG code, gcj02 or bd09.")]
BaseOption = Annotated[int | None, typer.Option(help="Version that the edit started from; today's if not said.")]
ReasonOption = Annotated[str, typer.Option(help="Why, for the history.")]
NEGATIVE = {"ignore_unknown_options": True}  # -77.03 is a longitude


@component.callback()
def frame() -> None:
    """One component: its history; adding, changing, moving, retiring it.

    单个部件:历史、新增、修改、移动、注销。

    Example: wanmi component history 6109020101000001
    """


@component.command("show")
def show_component(
    context: typer.Context,
    code: Code,
    at: Annotated[str | None, typer.Option(help="ISO day or instant; now if not said.")] = None,
    city: CityOption = None,
) -> None:
    """Show a component, today or as it was at an instant.

    显示部件现状,或某一时间的内容。

    Example: wanmi component show 6109020101000001
    """
    from api.gridfiles import instant
    from layers.edits import version_at

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
        version = version_at(conn, code, instant(at, profile) if at else None)
    fields = {name: value for name, value in version.fields.items() if name != "attrs"}
    attrs = {f"attrs.{name}": value for name, value in version.fields["attrs"].items()}
    facts = {"code": version.code, "version": version.id, "class": version.class_code, "cell": version.cell_code}
    for name, value in {**facts, **fields, **attrs}.items():
        show([(f"{name:<18}{_said(value)}", f"{name:<18}{_said(value)}")], settings)


@component.command("history")
def history(context: typer.Context, code: Code, city: CityOption = None) -> None:
    """Show all versions of a component: what changed, who did it, when and why.

    显示部件的全部版本:变更内容、操作人、时间与原因。

    Example: wanmi component history 6109020101000001
    """
    from layers.edits import changed_fields, versions

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
        past = versions(conn, code)
    zone = ZoneInfo(profile.timezone)
    for n, version in enumerate(past):
        since = f"{version.since.astimezone(zone):%Y-%m-%d %H:%M:%S}"
        line = f"{version.id:>9}  {since}  {version.actor}  {version.reason}"
        show([(line, line)], settings)
        changes = changed_fields(past[n - 1], version) if n else {}
        for name, (before, after) in changes.items():
            text = f"           {name}: {_said(before)} → {_said(after)}"
            show([(text, text)], settings)
        following = past[n + 1].since if n + 1 < len(past) else None
        if version.until is not None and version.until != following:
            until = f"{version.until.astimezone(zone):%Y-%m-%d %H:%M:%S}"
            en = f"           retired {until} by {version.ended_by}: {version.ended_why}"
            show([(en, f"           {until} 由 {version.ended_by} 注销:{version.ended_why}")], settings)


@component.command("add", context_settings=NEGATIVE)
def add(
    context: typer.Context,
    class_code: Annotated[str, typer.Argument(help="Class, such as C0137.")],
    x: Annotated[float, typer.Argument(help="East in metres, or longitude.")],
    y: Annotated[float, typer.Argument(help="North in metres, or latitude.")],
    reason: ReasonOption,
    fields: SetOption = None,
    crs: CrsOption = "4326",
    actor: ActorOption = None,
    city: CityOption = None,
) -> None:
    """Add a component drawn as a point; it gets the next code of its class in the district where it stands.

    新增点状部件,编码为所在区该类别的下一个序号。

    Example: wanmi component add C0137 109.0235 32.698 --set state=intact --reason 新装
    """
    from layers import edits

    settings: Settings = context.obj
    given = read_fields(fields or [])
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.begin() as conn:
        whole = {**given, "geometry": _point(x, y, crs, profile.srid)}
        made, _ = edits.add(
            conn, class_code.upper(), whole, srid=profile.srid, actor=actor or user_name(), reason=reason
        )
    _tell(made, settings)


@component.command("change", context_settings=NEGATIVE)
def change(
    context: typer.Context,
    code: Code,
    reason: ReasonOption,
    fields: SetOption = None,
    move: Annotated[tuple[float, float] | None, typer.Option(help="X Y: where it stands now.")] = None,
    crs: CrsOption = "4326",
    base: BaseOption = None,
    actor: ActorOption = None,
    city: CityOption = None,
) -> None:
    """Change fields of a component, or move it; refused when somebody gave the same field another value since --base.

    修改部件字段或移动位置;若他人在 --base 之后对同一字段另有修改则拒绝。

    Example: wanmi component change 6109020137000001 --set state=damaged --reason 巡查
    """
    from layers import edits

    settings: Settings = context.obj
    given = read_fields(fields or [])
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.begin() as conn:
        if move is not None:
            given["geometry"] = _point(*move, crs, profile.srid)
        now = edits.version_at(conn, code).id
        base_id, who = now if base is None else base, actor or user_name()
        made = edits.change(conn, code, given, base_id=base_id, srid=profile.srid, actor=who, reason=reason)
    if made.id == now:
        show([("nothing changed: it is so already", "没有变化：内容已是如此")], settings)
    _tell(made, settings)


@component.command("revive")
def revive(
    context: typer.Context,
    code: Code,
    reason: ReasonOption,
    base: BaseOption = None,
    actor: ActorOption = None,
    city: CityOption = None,
) -> None:
    """Bring back a component that was retired by mistake, as it was.

    恢复误注销的部件,内容与注销前相同。

    Example: wanmi component revive 6109020137000001 --reason 误注销
    """
    from layers import edits

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.begin() as conn:
        base_id = edits.versions(conn, code)[-1].id if base is None else base
        who = actor or user_name()
        made = edits.revive(conn, code, base_id=base_id, srid=profile.srid, actor=who, reason=reason)
    _tell(made, settings)


@component.command("diff")
def diff(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="FROM", help="ISO day or instant.")],
    last: Annotated[str | None, typer.Argument(metavar="[TO]", help="ISO day or instant; now if not said.")] = None,
    out: Annotated[Path | None, typer.Option(help="File for the differences as a layer, by its extension.")] = None,
    class_code: Annotated[
        list[str] | None, typer.Option("--class", help="Class, or the beginning of one; may be given again.")
    ] = None,
    area: Annotated[list[str] | None, typer.Option(help="Code of an area; may be given again.")] = None,
    bbox: Annotated[str | None, typer.Option(help="west,south,east,north in degrees.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    city: CityOption = None,
) -> None:
    """What differs between two instants: counts by class, and as a layer with the fields before and after.

    比较两个时间的部件差异:按类别统计,并可输出为图层。

    Example: wanmi component diff 2026-10-01 2026-11-01 --out october.gpkg
    """
    from api.deps import city_box, parse_bbox
    from api.differing import difference_file, difference_lines
    from api.gridfiles import instant
    from layers.difference import differences

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
        first_at = instant(first, profile)
        last_at = instant(last, profile) if last is not None else datetime.now(UTC)
        box = city_box(parse_bbox(bbox), profile.srid) if bbox else None
        narrowed = {"classes": class_code or [], "areas": area or [], "bbox": box}
        found = differences(conn, first_at, last_at, srid=profile.srid, **narrowed)  # type: ignore[arg-type]
    show(difference_lines(found), settings)
    if out is not None:
        difference_file(found, out, profile, overwrite=overwrite)
        show([(f"{out}: {len(found):,} rows", f"{out}:{len(found):,} 条记录")], settings)


@component.command("retire")
def retire(
    context: typer.Context,
    code: Code,
    reason: ReasonOption,
    base: BaseOption = None,
    actor: ActorOption = None,
    city: CityOption = None,
) -> None:
    """End a component that stands no more; its code is not used again.

    注销已不存在的部件,其编码不再使用。

    Example: wanmi component retire 6109020137000001 --reason 拆除
    """
    from layers import edits

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, _, _, _), engine.begin() as conn:
        base_id = edits.versions(conn, code)[-1].id if base is None else base
        edits.retire(conn, code, base_id=base_id, actor=actor or user_name(), reason=reason)
    show([(f"{code} is retired", f"{code} 已注销")], settings)


def read_fields(words: Sequence[str]) -> dict[str, Any]:
    """FIELD=VALUE words as fields; days as dates, attributes as JSON where they are JSON. Invalid for other words."""
    from gis.errors import Invalid
    from layers.census_rows import STATES

    fields: dict[str, Any] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise Invalid(
                f"{word!r} is not of the form FIELD=VALUE",
                f"{word!r} 应写作 字段=值",
                mend="for instance --set state=damaged",
                mend_zh="例如 --set state=damaged",
            )
        if name == "geometry":
            raise Invalid(
                "a component is moved with --move X Y",
                "移动部件请用 --move X Y",
                mend="lines and polygons are edited over HTTP, or by a census",
                mend_zh="线、面部件请通过 HTTP 或普查导入修改",
                field="geometry",
            )
        if name == "attrs":
            raise Invalid(
                "attributes are set one by one",
                "属性须逐项设置",
                mend="for instance --set attrs.lamps=2",
                mend_zh="例如 --set attrs.lamps=2",
                field="attrs",
            )
        if name.startswith("attrs."):
            fields.setdefault("attrs", {})[name[6:]] = _json(value)
        elif name.endswith("_on") and value:
            try:
                fields[name] = date.fromisoformat(value)
            except ValueError:
                fields[name] = value  # refused with its field
        else:
            fields[name] = STATES.get(value, value) if name == "state" and value else value or None
    return fields


def _json(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return text


def _point(x: float, y: float, crs: str, srid: int) -> Any:
    from shapely import Point

    from gis.place import Place
    from gis.reference import Reference

    reference = Reference.parse(crs)
    if reference.srid is not None:
        Place(x, y, reference.srid)  # refuses numbers that cannot be meant
    return reference.to_city([Point(x, y)], srid)[0]


def _tell(version: Version, settings: Settings) -> None:
    show(
        [
            (
                f"{version.code}  version {version.id}  cell {version.cell_code or '?'}",
                f"{version.code}  版本 {version.id}  网格 {version.cell_code or '?'}",
            )
        ],
        settings,
    )


def _said(value: Any) -> str:
    return "—" if value is None else str(value)
