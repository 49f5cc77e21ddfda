"""Editing components: add, change (move is a change), retire, revive. Nobody's edit is lost, none goes in twice.

An edit says from which version it started. Others who edited meanwhile: what they did to other fields is kept, a field
that both changed otherwise is refused with both values and whose the other is. An edit that went in already is
recognised and changes nothing. All edits of one call are one change at one instant; several of one component make one
version. QGIS and OGC editing stand on these functions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import shapely
from sqlalchemy import Connection

from gis.db import query
from gis.errors import Conflict, Invalid, NotFound
from grids.city import City
from grids.codes import ComponentCode
from layers.components import ComponentVersion, component_pasts
from layers.fields import component_class, located, refuse_unknown_fields, taken
from layers.merge import FIELDS, Clash, alike, differing, flat, merge

SOURCE = "人工录入 | entered by hand"
SOURCE_SIMULATED = "人工录入（模拟城市） | entered by hand (simulated city)"
BLANK: Mapping[str, Any] = {**dict.fromkeys(FIELDS), "state": "intact", "attrs": {}}
MOST_SHOWN = 200  #: characters of a value in a refusal


@dataclass(frozen=True, kw_only=True)
class Add:
    """A new component: it gets the next code of its class and of the district it stands in."""

    fields: Mapping[str, Any]  #: class_code and geometry at least
    srid: int | None = None  #: in which system the numbers of the geometry are; None: the city's
    key: str | None = None  #: the sender's own: the same again is the same component


@dataclass(frozen=True, kw_only=True)
class Alter:
    """Some fields get other values; an attribute that is None is taken away."""

    code: str
    base: int  #: number of the version that it started from
    fields: Mapping[str, Any]
    srid: int | None = None


@dataclass(frozen=True, kw_only=True)
class Retire:
    """It is no more; its code is never used again."""

    code: str
    base: int


@dataclass(frozen=True, kw_only=True)
class Revive:
    """A retired one was found again, or was retired by mistake: it holds again under its code."""

    code: str
    base: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    srid: int | None = None


Edit = Add | Alter | Retire | Revive


@dataclass(frozen=True, kw_only=True)
class Edited:
    """What became of an edit."""

    version: ComponentVersion  #: as it is now; of a retired one the last
    made: bool  #: False: it went in already, or nothing differs
    merged: tuple[str, ...] = ()  #: fields that others have changed since its base, which stay as they made them


def add(conn: Connection, city: City, fields: Mapping[str, Any], *, actor: str, reason: str, srid: int | None = None,
        key: str | None = None) -> Edited:  # fmt: skip
    """Add a component, see :class:`Add` and :func:`edit`."""
    return edit(conn, city, [Add(fields=fields, srid=srid, key=key)], actor=actor, reason=reason)[0]


def change(conn: Connection, city: City, code: str, base: int, fields: Mapping[str, Any], *, actor: str, reason: str,
           srid: int | None = None) -> Edited:  # fmt: skip
    """Change or move a component, see :class:`Alter` and :func:`edit`."""
    return edit(conn, city, [Alter(code=code, base=base, fields=fields, srid=srid)], actor=actor, reason=reason)[0]


def retire(conn: Connection, city: City, code: str, base: int, *, actor: str, reason: str) -> Edited:
    """Retire a component, see :class:`Retire` and :func:`edit`."""
    return edit(conn, city, [Retire(code=code, base=base)], actor=actor, reason=reason)[0]


def revive(conn: Connection, city: City, code: str, base: int, fields: Mapping[str, Any] | None = None, *, actor: str,
           reason: str, srid: int | None = None) -> Edited:  # fmt: skip
    """Let a retired component hold again, see :class:`Revive` and :func:`edit`."""
    edits = [Revive(code=code, base=base, fields=fields or {}, srid=srid)]
    return edit(conn, city, edits, actor=actor, reason=reason)[0]


def edit(conn: Connection, city: City, edits: Sequence[Edit], *, actor: str, reason: str, source: str | None = None
         ) -> list[Edited]:  # fmt: skip
    """Make edits as one change, all or none; what became of each.

    fields : names of layers.merge.FIELDS; texts, days as dates or ISO text, units by code, attrs as a dict of those that
    change, geometry as a shapely shape in EPSG ``srid`` (the city's if not said)
    The caller's transaction holds the components until it ends. Raises NotFound for a code that never was; Conflict for
    a field that others changed otherwise, a component that others retired, a key that brought something else; Invalid
    (UnfitCoordinates) for a value that cannot be.
    """
    codes = sorted({one.code for one in edits if not isinstance(one, Add)})
    keys = [one.key for one in edits if isinstance(one, Add) and one.key is not None]
    conn.execute(query("layers", "hold_components"), {"codes": codes, "keys": keys, "actor": actor})
    desk = _Desk(conn, city, actor, reason, codes)
    before = {}
    if keys:
        found = conn.execute(query("layers", "codes_of_keys"), {"actor": actor, "keys": keys}).all()
        before = {row.key: row.code for row in found}
        desk.pasts |= component_pasts(conn, list(before.values()))
    done = [desk.take(one, before) for one in edits]
    desk.write(source)
    return desk.answers(done)


@dataclass(kw_only=True)
class _Line:
    """One component on the desk."""

    last: ComponentVersion | None  #: its last version in the database; None: a new one
    held: bool  #: whether that holds
    fields: dict[str, Any] | None  #: as they shall be; None: retired
    edition: str
    cell_code: str | None
    prefix: str | None = None  #: of a new one: district and class
    key: str | None = None
    touched: bool = False
    code: str | None = None


@dataclass(frozen=True)
class _Done:
    line: _Line
    made: bool
    merged: tuple[str, ...] = ()


class _Desk:
    """The components that one change is about, as they are and as they shall be."""

    def __init__(self, conn: Connection, city: City, actor: str, reason: str, codes: Sequence[str]) -> None:
        self.conn, self.city, self.actor, self.reason = conn, city, actor, reason
        self.pasts = component_pasts(conn, codes) if codes else {}
        self.lines: dict[str, _Line] = {}
        self.new: list[_Line] = []

    def take(self, one: Edit, before: Mapping[str, str]) -> _Done:
        """One edit after the other."""
        if isinstance(one, Add):
            return self._add(one, before.get(one.key or ""))
        line, base = self._line(one.code), self._base(one.code, one.base)
        if isinstance(one, Alter):
            return self._alter(one, line, base)
        return self._retire(line, base) if isinstance(one, Retire) else self._revive(one, line, base)

    def _line(self, code: str) -> _Line:
        past = self.pasts.get(code)
        if past is None:
            raise NotFound(
                f"there is no component {code}",
                f"没有部件 {code}",
                mend="check its code",
                mend_zh="请核对部件编码",
                code=code,
            )
        if code not in self.lines:
            last = past[-1]
            held = last.until is None
            self.lines[code] = _Line(
                last=last,
                held=held,
                fields=dict(last.fields) if held else None,
                edition=last.edition,
                cell_code=last.cell_code,
                code=code,
            )
        return self.lines[code]

    def _base(self, code: str, number: int) -> ComponentVersion:
        for version in self.pasts[code]:
            if version.id == number:
                return version
        raise Invalid(
            f"component {code} has no version {number}",
            f"部件 {code} 没有版本 {number}",
            mend=f"read it again; today's version is {self.pasts[code][-1].id}",
            mend_zh=f"请重新读取；最新版本为 {self.pasts[code][-1].id}",
            field="base",
        )

    # ── the acts ────────────────────────────────────────

    def _add(self, new: Add, code: str | None) -> _Done:
        refuse_unknown_fields(new.fields)
        kind = component_class(self.conn, new.fields.get("class_code"))
        source = SOURCE_SIMULATED if self.city.simulated else SOURCE
        plain = {name: value for name, value in new.fields.items() if name not in ("class_code", "geometry")}
        given = taken(self.conn, self.city, {"data_source": source, **plain}, kind, BLANK)
        if "attrs" not in plain:  # what the class must have is missing
            given |= taken(self.conn, self.city, {"attrs": {}}, kind, BLANK)
        place = located(self.conn, self.city, new.fields.get("geometry"), new.srid or self.city.srid, kind)
        fields = {**BLANK, **given, "class_code": kind.code, "geometry": place.geometry}
        if code is not None:
            return self._there(code, fields, new)
        if new.key is not None and any(line.key == new.key for line in self.new):
            raise Invalid(f"the key {new.key!r} occurs twice", f"键 {new.key!r} 重复", mend="a key of its own for each")
        prefix = ComponentCode.of(place.district, kind.code, 1)[:-6]
        line = _Line(
            last=None,
            held=False,
            fields=fields,
            edition=kind.edition,
            cell_code=place.cell_code,
            prefix=prefix,
            key=new.key,
            touched=True,
        )
        self.new.append(line)
        return _Done(line, True)

    def _there(self, code: str, fields: Mapping[str, Any], new: Add) -> _Done:
        """The component that the key brought in before: harmless, unless it was another."""
        first = self.pasts[code][0].fields
        others = [name for name in new.fields if not alike(first[name], fields[name])]
        if others:
            raise Conflict(
                f"with this key another component was added before: {code} ({', '.join(others)} differ)",
                f"此键已用于添加另一部件 {code}（{'、'.join(others)} 不同）",
                mend="send a new key with a new component",
                mend_zh="新增部件请使用新的键",
                code=code,
            )
        return _Done(self._line(code), False)

    def _alter(self, one: Alter, line: _Line, base: ComponentVersion) -> _Done:
        mine, names, place = self._mine(one, base.fields if not line.touched else line.fields or base.fields, base)
        if line.fields is None:
            if self._went_in(base, mine, names):
                return _Done(line, False)
            raise self._retired(line)
        if line.touched:  # by an edit of this very change, which this one follows
            merged, kept = mine, ()
        else:
            if base.id != self.pasts[base.code][-1].id and self._went_in(base, mine, names):
                return _Done(line, False)
            both = merge(base.fields, mine, line.fields)
            if both.clashes:
                raise self._clash(base, both.clashes)
            merged = both.fields
            kept = tuple(name for name in differing(base.fields, line.fields) if name in differing(mine, merged))
        if not differing(line.fields, merged):
            return _Done(line, False, kept)
        if place is not None and not alike(line.fields["geometry"], merged["geometry"]):
            line.cell_code = place
        line.fields, line.touched = dict(merged), True
        return _Done(line, True, kept)

    def _mine(self, one: Alter | Revive, old: Mapping[str, Any], base: ComponentVersion) -> Any:
        """All fields as the edit wants them, the names of those it speaks of, and the cell if it speaks of a place."""
        refuse_unknown_fields(one.fields)
        kind = component_class(self.conn, base.fields["class_code"], base.edition)
        plain = {name: value for name, value in one.fields.items() if name not in ("class_code", "geometry")}
        mine = {**old, **taken(self.conn, self.city, plain, kind, old)}
        if one.fields.get("class_code", kind.code) != kind.code:
            raise Invalid(
                f"the code {base.code} is of class {kind.code}: a component does not change its class",
                f"编码 {base.code} 属于类别 {kind.code}：部件不能更改类别",
                mend="retire it and add another of the right class, which gets a code of its own",
                mend_zh="请注销该部件，并以正确类别另行添加（将获得新编码）",
                field="class_code",
            )
        place = None
        if "geometry" in one.fields:
            there = located(self.conn, self.city, one.fields["geometry"], one.srid or self.city.srid, kind)
            if there.district != base.code[:6]:
                raise Invalid(
                    f"the code {base.code} is of district {base.code[:6]}, the place lies in {there.district}",
                    f"编码 {base.code} 属于 {base.code[:6]}，所在位置属于 {there.district}",
                    mend="retire it and add another there, which gets a code of its own",
                    mend_zh="请注销该部件，并在新位置另行添加（将获得新编码）",
                    field="geometry",
                )
            mine["geometry"] = there.geometry
            place = there.cell_code
        names = [name for name in one.fields if name != "attrs"]
        names += [f"attrs.{name}" for name in one.fields.get("attrs") or {}]
        return mine, names, place

    def _retire(self, line: _Line, base: ComponentVersion) -> _Done:
        past = self.pasts[base.code]
        if line.fields is None:
            return _Done(line, False)
        if base.id != past[-1].id:
            if _ended_for_good(past, base) and self._mine_is(base.ended):
                return _Done(line, False)  # went in; somebody has revived it since
            raise self._changed_since(base)
        line.fields, line.touched = None, True
        return _Done(line, True)

    def _revive(self, one: Revive, line: _Line, base: ComponentVersion) -> _Done:
        past = self.pasts[base.code]
        mine, names, place = self._mine(one, base.fields, base)
        if base.id != past[-1].id and _ended_for_good(past, base):
            follower = past[past.index(base) + 1]
            if self._mine_is(follower.change):
                return _Done(line, False)
        if line.fields is not None:
            raise Conflict(
                f"component {base.code} is not retired",
                f"部件 {base.code} 未注销",
                mend="change it, if it should be otherwise",
                mend_zh="如需修改，请直接变更",
                code=base.code,
                version=past[-1].id,
            )
        if base.id != past[-1].id:
            raise self._changed_since(base)
        if "geometry" not in names:  # the grid may have been redrawn meanwhile
            kind = component_class(self.conn, base.fields["class_code"], base.edition)
            place = located(self.conn, self.city, base.fields["geometry"], self.city.srid, kind).cell_code
        line.fields, line.cell_code, line.touched = mine, place, True
        return _Done(line, True)

    # ── what others did ────────────────────────────────────────

    def _mine_is(self, done: Any) -> bool:
        return done is not None and (done.actor, done.reason) == (self.actor, self.reason)

    def _went_in(self, base: ComponentVersion, mine: Mapping[str, Any], names: Sequence[str]) -> bool:
        """Whether a version after the base is this very edit: by the same person, for the same reason, to the same."""
        past = self.pasts[base.code]
        wanted = flat(mine)
        for before, after in zip(past[past.index(base) :], past[past.index(base) + 1 :], strict=False):
            had, has = flat(before.fields), flat(after.fields)
            same = all(alike(wanted.get(name), has.get(name)) for name in names)
            if self._mine_is(after.change) and same and any(not alike(had.get(n), has.get(n)) for n in names):
                return True
        return False

    def _when(self, version_at: Any) -> str:
        if version_at is None:
            return "—"
        return str(version_at.astimezone(ZoneInfo(self.city.timezone)).isoformat(timespec="seconds"))

    def _clash(self, base: ComponentVersion, clashes: Sequence[Clash]) -> Conflict:
        past = self.pasts[base.code]
        said, said_zh = [], []
        where: dict[str, object] = {"code": base.code, "version": past[-1].id}
        for clash in clashes:
            writer = next(
                after
                for before, after in reversed(list(zip(past, past[1:], strict=False)))
                if clash.field in differing(before.fields, after.fields)
            )
            who, at = writer.change.actor, self._when(writer.since)
            was, mine, theirs = (_shown(value) for value in (clash.base, clash.mine, clash.theirs))
            said.append(f"{clash.field}: you want {mine}, {who} made it {theirs} at {at}; it was {was}")
            said_zh.append(f"{clash.field}：您要改为 {mine}，{who} 已于 {at} 改为 {theirs}；原为 {was}")
            facts = {"base": was, "yours": mine, "theirs": theirs, "by": who, "at": at}
            where |= {f"{clash.field}.{name}": value for name, value in facts.items()}
        where["fields"] = ",".join(clash.field for clash in clashes)
        return Conflict(
            f"component {base.code} was changed by others in the same fields: {'; '.join(said)}",
            f"部件 {base.code} 的同一字段已被他人修改：{'；'.join(said_zh)}",
            mend=f"read it again, decide, and send the edit with base {past[-1].id}",
            mend_zh=f"请重新读取并决定，再以版本 {past[-1].id} 为基础提交",
            **where,
        )

    def _changed_since(self, base: ComponentVersion) -> Conflict:
        past = self.pasts[base.code]
        later = past[past.index(base) + 1]
        last = past[-1]
        who, at = (last.change.actor, self._when(last.since)) if last.until is None else (last.ended, last.until)
        fields = ", ".join(differing(base.fields, last.fields)) or "—"
        return Conflict(
            f"component {base.code} was changed since version {base.id}, last by {last.change.actor} at {at}: {fields}",
            f"部件 {base.code} 在版本 {base.id} 之后已被修改，最近由 {last.change.actor} 于 {at}：{fields}",
            mend=f"read it again, decide, and send it with base {last.id}",
            mend_zh=f"请重新读取并决定，再以版本 {last.id} 为基础提交",
            code=base.code,
            version=last.id,
            fields=fields,
            by=who,
            at=at,
            first_by=later.change.actor,
        )

    def _retired(self, line: _Line) -> Conflict:
        last = line.last
        assert last is not None
        who, why = (last.ended.actor, last.ended.reason) if last.ended else (self.actor, self.reason)
        at = self._when(last.until)
        return Conflict(
            f"component {last.code} was retired by {who} at {at}: {why}",
            f"部件 {last.code} 已由 {who} 于 {at} 注销：{why}",
            mend="revive it if it is there after all",
            mend_zh="如部件仍在，请先恢复",
            code=last.code,
            version=last.id,
            by=who,
            at=at,
        )

    # ── writing ────────────────────────────────────────

    def write(self, source: str | None) -> None:
        """All that differs from the database, as one change."""
        ended, begun, lines = [], [], [*self.lines.values(), *self.new]
        for n, line in enumerate(lines):
            before = line.last.fields if line.last is not None and line.held else None
            same = before is not None and line.fields is not None and not differing(before, line.fields)
            if not line.touched or same or (before is None and line.fields is None):
                continue
            if before is not None and line.last is not None:
                ended.append(line.last.id)
            if line.fields is not None:
                begun.append(_row(n, line))
        if ended or begun:
            row = {
                "actor": self.actor,
                "reason": self.reason,
                "source": source,
                "ended": ended,
                "begun": json.dumps(begun, ensure_ascii=False),
            }
            for found in conn_rows(self.conn, row):
                lines[found.n].code = found.code

    def answers(self, done: Sequence[_Done]) -> list[Edited]:
        """What became of each edit, as it is in the database now."""
        pasts = component_pasts(self.conn, sorted({str(one.line.code) for one in done}))
        return [
            Edited(version=pasts[str(one.line.code)][-1], made=one.made, merged=one.merged) for one in done
        ]


def conn_rows(conn: Connection, row: Mapping[str, Any]) -> Any:
    """Number and code of the versions that began."""
    return conn.execute(query("layers", "edit_components"), row)


def _row(n: int, line: _Line) -> dict[str, Any]:
    fields = dict(line.fields or {})
    shape = fields.pop("geometry")
    days = {name: None if fields[name] is None else str(fields[name]) for name in ("surveyed_on", "changed_on")}
    return {
        **fields,
        **days,
        "n": n,
        "code": line.code,
        "prefix": line.prefix,
        "edition": line.edition,
        "cell_code": line.cell_code,
        "key": line.key,
        "continues": None if line.last is None else line.last.id,
        "geom": shapely.to_wkb(shape, hex=True),
    }


def _ended_for_good(past: Sequence[ComponentVersion], version: ComponentVersion) -> bool:
    """Whether it was retired, not changed: nothing began where it ended."""
    at = past.index(version)
    return version.until is not None and (at + 1 == len(past) or past[at + 1].since != version.until)


def _shown(value: Any) -> str:
    if isinstance(value, shapely.Geometry):
        value = shapely.to_wkt(value, rounding_precision=3)
    elif isinstance(value, Mapping | list | bool):
        value = json.dumps(value, ensure_ascii=False)
    text = "—" if value is None else str(value)
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 1] + "…"
