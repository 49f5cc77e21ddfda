"""One component through time: add, change, move, retire; nobody's edit is lost.

An edit carries the version it started from. What it changes is merged with what others have changed since: different
fields go together, the same field with another value is refused with both values and who wrote the other. An edit that
is there already makes no version. Every function writes one change (who, when, why) and never commits.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, NoReturn

import shapely
from sqlalchemy import Connection

from gis.crs import snap
from gis.db import query
from gis.errors import Conflict, Invalid, NotFound
from gis.history import record_change
from grids.codes import ComponentCode
from layers.attributes import faults
from layers.catalogue import class_table, edition_in_force
from layers.census_places import SINGLE
from layers.census_rows import LONGEST, OLDEST

UNITS = ("supervising_unit", "owner_unit", "maintainer_unit")
STATES = ("intact", "damaged", "lost", "abandoned", "removed")
#: what an edit may set; attrs merge key by key, None takes an attribute away; geometry is in the city's system
FIELDS = ("name_zh", "state", *UNITS, "surveyed_on", "changed_on", "data_source", "source_key", "attrs", "geometry")
DEEPEST = 20  #: lists and objects within each other in an attribute
Fields = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Version:
    """A component from one instant to another."""

    id: int
    code: str
    edition: str
    class_code: str
    cell_code: str | None
    since: datetime
    until: datetime | None  #: None: it holds
    fields: Fields  #: by FIELDS; geometry as shapely geometry in the city's system
    actor: str  #: who made it
    reason: str
    ended_by: str | None
    ended_why: str | None


class Overlapping(Conflict):
    """Somebody else has changed the same field since."""

    title_zh = "同一字段已被他人修改"


def merge(base: Fields, mine: Fields, theirs: Fields) -> tuple[dict[str, Any], list[str]]:
    """Three-way: what of ``mine`` is to be written over ``theirs``, and the fields in which both differ from ``base``.

    mine : the fields that the edit sets;  base, theirs : all fields of the version it started from, and of today's.
    Attributes are compared one by one, as "attrs.NAME".
    """
    base, mine, theirs = _flat(base), _flat(mine), _flat(theirs)
    wanted: dict[str, Any] = {}
    clash: list[str] = []
    for name, value in mine.items():
        if _same(value, theirs.get(name)):
            continue
        if _same(value, base.get(name)):  # not changed by this edit: what others made of it stays
            continue
        if _same(theirs.get(name), base.get(name)):
            wanted[name] = value
        else:
            clash.append(name)
    return wanted, clash


def _flat(fields: Fields) -> dict[str, Any]:
    attrs = fields.get("attrs") or {}
    if not isinstance(attrs, Mapping):
        _wrong("attrs", "must be an object of named values", "应为对象")
    plain = {name: value for name, value in fields.items() if name != "attrs"}
    return {**plain, **{f"attrs.{name}": value for name, value in attrs.items()}}


def _same(one: Any, other: Any) -> bool:
    """Whether two values are one: as JSON has it, true is not 1."""
    if isinstance(one, shapely.Geometry) and isinstance(other, shapely.Geometry):
        return bool(shapely.equals_identical(one, other))
    if isinstance(one, bool | type(None)) or isinstance(other, bool | type(None)):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    return bool(one == other)


# ── reading ────────────────────────────────────────


def versions(conn: Connection, code: str) -> list[Version]:
    """All versions of a component, the oldest first. NotFound for a code that was never given."""
    found = [_version(row) for row in conn.execute(query("layers", "versions_of_component"), {"code": code})]
    if not found:
        raise NotFound(
            f"there is no component {code}",
            f"没有部件 {code}",
            mend="check its code",
            mend_zh="请核对部件编码",
            code=code,
        )
    return found


def version_at(conn: Connection, code: str, at: datetime | None = None) -> Version:
    """The version that holds, or held at an instant. NotFound when there was none then."""
    for version in reversed(versions(conn, code)):
        if at is None and version.until is None:
            return version
        if at is not None and version.since <= at and (version.until is None or at < version.until):
            return version
    when, when_zh = ("is retired", "已注销") if at is None else ("did not stand then", "当时不存在")
    raise NotFound(
        f"component {code} {when}",
        f"部件 {code} {when_zh}",
        mend="its history says from when to when it stood",
        mend_zh="可查看其历史",
        code=code,
    )


def _version(row: Any) -> Version:
    fields = {name: getattr(row, name) for name in FIELDS if name != "geometry"}
    fields["geometry"] = shapely.set_srid(shapely.from_wkb(row.geom), 0)
    return Version(
        id=row.id,
        code=row.code,
        edition=row.edition,
        class_code=row.class_code,
        cell_code=row.cell_code,
        since=row.since,
        until=row.until,
        fields=fields,
        actor=row.actor,
        reason=row.reason,
        ended_by=row.ended_by,
        ended_why=row.ended_why,
    )


def changed_fields(old: Version, new: Version) -> dict[str, tuple[Any, Any]]:
    """By field (attributes as attrs.NAME): the value before and after."""
    before, after = _flat(old.fields), _flat(new.fields)
    names = dict.fromkeys([*before, *after])
    pairs = {name: (before.get(name), after.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if not _same(*pair)}


# ── writing ────────────────────────────────────────


def add(
    conn: Connection, class_code: str, fields: Fields, *, srid: int, actor: str, reason: str, key: str | None = None
) -> tuple[Version, bool]:
    """A new component, with the next code of its class in the district where it stands; whether it was made now.

    fields : geometry and whatever else of FIELDS is known;  srid : of the city, in which the geometry is
    key    : the sender's own; the same request of the same actor again answers the component that it made
    Raises Invalid for a value that cannot be; Conflict for a key that came with another request.
    """
    conn.execute(query("layers", "hold_grid"))
    if key is not None:
        conn.execute(query("layers", "hold_edit_key"), {"name": f"wanmi:edit:{actor}:{key}"})
        made = conn.execute(query("layers", "edit_key_code"), {"actor": actor, "key": key}).one_or_none()
        if made is not None:
            if made.request_sha256 not in (None, _hash(class_code, fields, reason)):
                raise Conflict(
                    f"this key came before with another request: it made component {made.code}",
                    f"该键此前已用于另一请求，所建部件为 {made.code}",
                    mend="send a new key with a new component",
                    mend_zh="新增其他部件请使用新的键",
                    code=made.code,
                )
            return versions(conn, made.code)[-1], False
    edition = edition_in_force(conn)
    blank = {"state": "intact", "data_source": actor, "attrs": {}}
    fields = _normal(fields)
    whole = {**dict.fromkeys(FIELDS), **blank, **{name: value for name, value in fields.items() if value is not None}}
    if isinstance(whole["attrs"], Mapping):
        whole["attrs"] = {name: value for name, value in whole["attrs"].items() if value is not None}
    fit, district = _fit(conn, whole, class_code, edition, srid, given=[*FIELDS, *_flat(whole)])
    if fit["geometry"] is None or district is None:
        _wrong("geometry", "a component needs a place inside the city", "部件须有位于市域内的位置")
    prefix = f"{district}{class_code[1:]}"
    last = conn.execute(query("layers", "last_serial"), {"prefix": prefix}).scalar_one()
    code = str(ComponentCode.of(str(district), class_code, last + 1))
    at = conn.execute(query("layers", "edit_instant"), {"code": code}).scalar_one()
    change = record_change(conn, since=at, actor=actor, reason=reason).change_id
    _write(conn, code, edition, class_code, fit, at, change, srid)
    if key is not None:
        kept = {"actor": actor, "key": key, "code": code, "request_sha256": _hash(class_code, fields, reason)}
        conn.execute(query("layers", "keep_edit_key"), kept)
    return version_at(conn, code), True


def _normal(fields: Fields) -> Fields:
    """Attributes as an import writes them: no blanks around texts, empty texts as nothing."""
    if not isinstance(fields.get("attrs"), Mapping):
        return fields

    def plain(value: Any, depth: int = 0) -> Any:
        if depth > DEEPEST:
            return value  # refused for its depth
        if isinstance(value, str):
            return value.strip() or None
        if isinstance(value, list):
            return [plain(one, depth + 1) for one in value]
        if isinstance(value, Mapping):
            return {name: plain(one, depth + 1) for name, one in value.items()}
        return value

    return {**fields, "attrs": {name: plain(value) for name, value in fields["attrs"].items()}}


def _hash(class_code: str, fields: Fields, reason: str) -> str:
    shown = {
        name: shapely.to_wkb(value, hex=True) if isinstance(value, shapely.Geometry) else value
        for name, value in fields.items()
    }
    text = json.dumps([class_code, shown, reason], ensure_ascii=False, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def change(conn: Connection, code: str, fields: Fields, *, base_id: int, srid: int, actor: str, reason: str) -> Version:
    """Change fields of a component (moving it is changing its geometry).

    base_id : the version that the edit started from (Version.id). Returns the version that holds afterwards: today's,
    unchanged, when all of it is there already.
    Raises Overlapping, Invalid, NotFound; Conflict when it is retired.
    """
    strange = sorted(set(fields) - set(FIELDS))
    if strange:
        _wrong(strange[0], f"is none of {', '.join(FIELDS)}", "不是可编辑的字段")
    conn.execute(query("layers", "hold_grid"))
    conn.execute(query("layers", "lock_component"), {"code": code})
    past = versions(conn, code)
    now, base = past[-1], _base(past, base_id)
    if now.until is not None:
        _refuse_retired(now)
    fields = _normal(fields)
    if isinstance(fields.get("geometry"), shapely.Geometry):
        fields = {**fields, "geometry": snap(fields["geometry"])}
    wanted, clash = merge(base.fields, fields, now.fields)
    if clash:
        _refuse_clash(past, base, now, fields, clash)
    if not wanted:
        return now
    attrs = {**now.fields["attrs"], **{name[6:]: value for name, value in wanted.items() if name.startswith("attrs.")}}
    plain = {name: value for name, value in wanted.items() if not name.startswith("attrs.")}
    whole = {**now.fields, **plain, "attrs": {name: value for name, value in attrs.items() if value is not None}}
    fit, district = _fit(conn, whole, now.class_code, now.edition, srid, given=wanted, code=code)
    if "geometry" in wanted and district != code[:6]:
        _wrong(
            "geometry",
            f"it would stand in {district or 'no district'}, its code is of {code[:6]}: retire it and add a new one",
            f"新位置属于 {district or '市域之外'}，而其编码属于 {code[:6]}：请注销后新增",
        )
    at = conn.execute(query("layers", "edit_instant"), {"code": code}).scalar_one()
    number = record_change(conn, since=at, actor=actor, reason=reason).change_id
    _end(conn, now, at, number)
    _write(conn, code, now.edition, now.class_code, fit, at, number, srid)
    return version_at(conn, code)


def retire(conn: Connection, code: str, *, base_id: int, actor: str, reason: str) -> Version:
    """End a component: it stands no more. Its code is not used again. Returns its last version.

    Retiring again is harmless. Raises Overlapping when somebody has changed it since ``base_id``.
    """
    conn.execute(query("layers", "lock_component"), {"code": code})
    past = versions(conn, code)
    now, base = past[-1], _base(past, base_id)
    if now.until is not None:
        return now
    if now.id != base.id:
        _refuse_clash(past, base, now, {}, list(changed_fields(base, now)))
    at = conn.execute(query("layers", "edit_instant"), {"code": code}).scalar_one()
    number = record_change(conn, since=at, actor=actor, reason=reason).change_id
    _end(conn, now, at, number)
    return versions(conn, code)[-1]


def revive(conn: Connection, code: str, *, base_id: int, srid: int, actor: str, reason: str) -> Version:
    """Bring back a component that was retired by mistake: as it was, under its code, from now on.

    base_id : its last version. Reviving one that stands is harmless. Raises Overlapping when ``base_id`` is not the
    last; Invalid when what it was cannot be any more (its class, a unit or its place is gone).
    """
    conn.execute(query("layers", "hold_grid"))
    conn.execute(query("layers", "lock_component"), {"code": code})
    past = versions(conn, code)
    last, base = past[-1], _base(past, base_id)
    if last.until is None:
        return last
    if last.id != base.id:
        _refuse_clash(past, base, last, {}, list(changed_fields(base, last)))
    fit, district = _fit(conn, last.fields, last.class_code, last.edition, srid, given=["source_key"], code=code)
    if district != code[:6]:
        _wrong(
            "geometry", f"it stood in {district or 'no district'} of today", f"其位置现属于 {district or '市域之外'}"
        )
    at = conn.execute(query("layers", "revive_instant"), {"code": code}).scalar_one()
    number = record_change(conn, since=at, actor=actor, reason=reason).change_id
    _write(conn, code, last.edition, last.class_code, fit, at, number, srid)
    return version_at(conn, code)


def _end(conn: Connection, now: Version, at: datetime, change_id: int) -> None:
    if conn.execute(query("layers", "end_component"), {"id": now.id, "at": at, "change_id": change_id}).rowcount != 1:
        raise Conflict(
            f"component {now.code} was changed by an import at this very moment",
            f"部件 {now.code} 刚被一次导入更新",
            mend="read it again and repeat the edit",
            mend_zh="请重新读取后再编辑",
            code=now.code,
        )


def _write(
    conn: Connection, code: str, edition: str, class_code: str, fit: Fields, at: datetime, change_id: int, srid: int
) -> None:
    row = {name: value for name, value in fit.items() if name not in ("attrs", "geometry")}
    shape = shapely.to_wkb(shapely.set_srid(fit["geometry"], srid), include_srid=True)
    row |= {"attrs": json.dumps(fit["attrs"], ensure_ascii=False), "geom": shape}
    row |= {"code": code, "edition": edition, "class_code": class_code, "at": at, "change_id": change_id}
    conn.execute(query("layers", "begin_component"), row)


def _base(past: list[Version], base_id: int) -> Version:
    for version in past:
        if version.id == base_id:
            return version
    raise Invalid(
        f"{base_id} is no version of component {past[0].code}",
        f"{base_id} 不是部件 {past[0].code} 的版本",
        mend="read the component and send the number of the version that was edited",
        mend_zh="请读取该部件，并给出所编辑版本的编号",
        field="base",
    )


def _refuse_retired(now: Version) -> NoReturn:
    raise Conflict(
        f"component {now.code} was retired by {now.ended_by} ({now.ended_why})",
        f"部件 {now.code} 已由 {now.ended_by} 注销（{now.ended_why}）",
        mend="if that was a mistake, revive it; add a new one if another stands there: codes are not used twice",
        mend_zh="如属误注销，请恢复该部件；如系新装，请新增部件，编码不得重复使用",
        code=now.code,
    )


def _refuse_clash(past: list[Version], base: Version, now: Version, mine: Fields, clash: list[str]) -> NoReturn:
    """Say both values of each field, and who wrote the other."""
    flat, theirs = _flat(mine), _flat(now.fields)
    said, said_zh = [], []
    for name in clash:
        author = now
        for old, new in pairwise(past):
            if old.since >= base.since and name in changed_fields(old, new):
                author = new
        here, there = _shown(flat.get(name)), _shown(theirs.get(name))
        yours, yours_zh = (f", you wrote {here}", f"，您写的是 {here}") if name in flat else ("", "")
        said.append(f"{name} is {there} by {author.actor}{yours}")
        said_zh.append(f"{name} 已由 {author.actor} 改为 {there}{yours_zh}")
    raise Overlapping(
        f"component {now.code} was changed since version {base.id}: {'; '.join(said)}",
        f"部件 {now.code} 在版本 {base.id} 之后已被修改：{'；'.join(said_zh)}",
        mend=f"read it again (version {now.id}) and decide",
        mend_zh=f"请重新读取（版本 {now.id}）后再决定",
        code=now.code,
        version=now.id,
        fields=", ".join(clash),
    )


def _shown(value: Any) -> str:
    return "—" if value is None else str(value)[:120]


# ── checking ────────────────────────────────────────


def _fit(
    conn: Connection,
    fields: Fields,
    class_code: str,
    edition: str,
    srid: int,
    *,
    given: Collection[str],
    code: str = "",
) -> tuple[dict[str, Any], str | None]:
    """The fields as the table wants them (units by id), and the district where it stands. Invalid names the field.

    given : the fields that are checked (attributes as attrs.NAME): what stands there already may be older than the rule
    code  : of the component, if it has one
    """
    fit = dict(fields)
    kinds = class_table(conn, edition)
    own = kinds[(kinds["code"] == class_code) & (kinds["kind"] == "component")]
    if own.empty:
        _wrong("class", f"{class_code} is no component class of {edition}", f"{class_code} 不是 {edition} 的部件类别")
    kind: Any = next(own.itertuples(index=False))
    for name in LONGEST.keys() & given:
        text, longest = fit[name], LONGEST[name]
        if text is not None and (not isinstance(text, str) or not text.strip() or len(text) > longest or "\0" in text):
            _wrong(name, f"must be a text of 1 to {longest} characters", f"应为 1 至 {longest} 个字符的文本")
    if fit["state"] not in STATES:
        _wrong("state", f"{fit['state']!r} is none of {', '.join(STATES)}", f"{fit['state']!r} 不是部件状态")
    if fit["data_source"] is None:
        _wrong("data_source", "must be said", "须说明数据来源")
    for name in {"surveyed_on", "changed_on"} & {*given}:
        day = fit[name]
        if day is not None and (isinstance(day, datetime) or not isinstance(day, date)):
            _wrong(name, "must be a day such as 2026-05-01", "应为日期，如 2026-05-01")
        if day is not None and not OLDEST <= day <= datetime.now(UTC).date() + timedelta(days=1):
            _wrong(name, f"{day} is before 1900 or in the future", f"{day} 早于 1900 年或晚于今天")
    for name in UNITS:
        code = fit.pop(name)
        fit[f"{name}_id"] = None
        if code is not None:
            found = conn.execute(query("layers", "unit_exists"), {"code": code}).scalar_one_or_none()
            if found is None:
                _wrong(name, f"{code!r} is no unit", f"{code!r} 不是本市的单位")
            fit[f"{name}_id"] = found
    attrs = fit["attrs"]
    if not isinstance(attrs, Mapping) or not all(
        _is_plain({name: attrs[name]}) for name in attrs if f"attrs.{name}" in given
    ):
        _wrong(
            "attrs",
            "must be an object of named texts and finite numbers, without NUL characters, not nested deeply",
            "应为对象：名称非空，文本不含 NUL 字符，数值有限，嵌套不过深",
        )
    if "source_key" in given and fit["source_key"] is not None:
        taken = {"class_code": class_code, "source_key": fit["source_key"], "code": code or None}
        other = conn.execute(query("layers", "key_is_taken"), taken).scalar_one_or_none()
        if other is not None:
            _wrong("source_key", f"component {other} has this key already", f"部件 {other} 已使用该主键")
    for name, value, en, zh in faults(kind.attribute_schema or {}, fit["attrs"]):
        if f"attrs.{name}" not in given and not (value is None and not code):
            continue
        _wrong(f"attrs.{name}", f"{_shown(value)} {en}", f"{_shown(value)} {zh}")
    shape = fit["geometry"]
    if shape is None:
        return fit, None
    if not isinstance(shape, shapely.Geometry):
        _wrong("geometry", "is no geometry", "不是图形")
    shape = fit["geometry"] = snap(shapely.force_2d(shape))
    unfit = shape.is_empty or shapely.get_type_id(shape) != SINGLE[kind.geometry_type]
    if "geometry" in given and unfit:
        _wrong("geometry", f"the class is drawn as {kind.geometry_type}", f"该类别应绘制为 {kind.geometry_type}")
    if "geometry" in given and not shape.is_valid:
        _wrong("geometry", shapely.is_valid_reason(shape), "图形自相交")
    where = {"geom": shapely.to_wkb(shapely.set_srid(shape, srid), include_srid=True)}
    return fit, conn.execute(query("layers", "district_of_shape"), where).scalar_one_or_none()


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Whether jsonb, and every file that is exported to, can hold it."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) < 2**63
    if isinstance(value, list):
        return depth < DEEPEST and all(_is_plain(one, depth + 1) for one in value)
    if isinstance(value, Mapping):
        return depth < DEEPEST and all(
            name and _is_plain(name) and _is_plain(one, depth + 1) for name, one in value.items()
        )
    return value is None


def _wrong(field: str, en: str, zh: str) -> NoReturn:
    raise Invalid(f"{field}: {en}", f"{field}：{zh}", mend="correct the value", mend_zh="请更正该值", field=field)
