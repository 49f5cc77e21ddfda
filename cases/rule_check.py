"""What is wrong with a set of rules of responsibility: faults by name, each with the rules and places concerned.

Which rule is the most specific is decided as ``cases.assign`` does: class prefix, then a condition before none, then
the area's code, then the lowest code of the rule.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import shapely
from sqlalchemy import Connection

from cases.duty import PLACES
from gis.db import query
from layers.catalogue import edition_in_force

OVERLAP_LEAST_M2 = 1.0  #: less is the width of a pen


@dataclass(frozen=True, kw_only=True)
class FaultKind:
    """A kind of fault."""

    severity: Literal["error", "warning"]
    en: str
    zh: str
    mend: str
    mend_zh: str


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault of a rule, or of the rules together."""

    rule: str  #: name of the kind, see FAULTS
    code: str | None = None  #: of the rule of responsibility
    other: str | None = None  #: the other rule, unit, class
    row: int | None = None  #: in the file, from 1
    field: str | None = None
    value: str | None = None
    count: int | None = None  #: classes times areas, or square metres of an overlap


@dataclass(frozen=True, kw_only=True)
class Duty:
    """A rule of responsibility as a table says it."""

    code: str
    class_prefix: str  #: empty: any class
    condition_no: int | None
    area_prefix: str  #: empty: anywhere
    roles: str  #: in order, with | between: unit:CODE or one of PLACES
    zone: Any  #: MultiPolygon in the city's system, or None
    source_document: str
    source_on: date | None
    row: int | None = None  #: in the file, from 1


def _read_kinds() -> dict[str, FaultKind]:
    with Path(__file__).with_name("rule_faults.csv").open(encoding="utf-8", newline="") as table:
        return {row.pop("rule"): FaultKind(**row) for row in csv.DictReader(table)}  # type: ignore[arg-type]


FAULTS: Mapping[str, FaultKind] = _read_kinds()


def errors_of(faults: Iterable[Fault]) -> list[Fault]:
    """Those that forbid taking the rules over."""
    return [fault for fault in faults if FAULTS[fault.rule].severity == "error"]


@dataclass(frozen=True)
class _World:
    """What rules speak of: classes with their conditions, areas, units with the area whose body they are."""

    conditions: dict[str, list[int]]  #: by class
    areas: frozenset[str]  #: codes of areas and cells of today
    communities: dict[str, Any]  #: code → ground
    units: dict[str, str]  #: code → "", or "dissolved"
    bodies: frozenset[str]  #: areas and cells that have a body
    people: frozenset[str]  #: units with an account


def _world(conn: Connection) -> _World:
    edition = {"edition": edition_in_force(conn)}
    conditions: dict[str, list[int]] = {}
    for row in conn.execute(query("cases", "classes_and_conditions"), edition):
        conditions.setdefault(row.code, [])
        if row.no is not None:
            conditions[row.code].append(row.no)
    areas = list(conn.execute(query("cases", "codes_of_areas")))
    units = list(conn.execute(query("cases", "units_and_people")))
    return _World(
        conditions=conditions,
        areas=frozenset(row.code for row in areas),
        communities={row.code: shapely.from_wkb(row.ground) for row in areas if row.ground is not None},
        units={row.code: "dissolved" if row.dissolved else "" for row in units},
        bodies=frozenset(row.area_code for row in units if row.area_code and not row.dissolved),
        people=frozenset(row.code for row in units if row.people),
    )


def check_rules(conn: Connection, rules: Sequence[Duty], *, only: Collection[str] | None = None) -> list[Fault]:
    """All faults of a set of rules.

    ``only`` : rules whose own faults are told; None: of all. What rules do to each other is told if one is among them.
    """
    world = _world(conn)
    wanted = {row.code for row in rules} if only is None else set(only)
    faults = [fault for row in rules if row.code in wanted for fault in _of_row(world, row)]
    ground = shapely.from_wkb(conn.execute(query("grids", "ground_of_city")).scalar_one())
    zones = [row for row in rules if row.zone is not None]
    faults += [
        Fault(rule="zone_unfit", code=row.code, row=row.row, field="zone")
        for row in zones
        if row.code in wanted and ground is not None and not row.zone.intersects(ground)
    ]
    if errors_of(faults):
        return faults
    plain = [row for row in rules if row.zone is None]
    faults += _same_key(plain, wanted)
    faults += _overlaps(zones, wanted)
    faults += _reach(world, plain, zones, wanted)
    faults += _people(world, rules, wanted)
    return faults


def _of_row(world: _World, row: Duty) -> Iterable[Fault]:
    where: dict[str, Any] = {"code": row.code, "row": row.row}
    classes = [code for code in world.conditions if code.startswith(row.class_prefix)]
    if not classes:
        yield Fault(rule="class_unknown", field="class_prefix", value=row.class_prefix, **where)
    condition = row.condition_no
    if condition is not None and classes and not any(condition in world.conditions[code] for code in classes):
        yield Fault(rule="condition_unknown", field="condition_no", value=str(condition), **where)
    if row.area_prefix and row.area_prefix not in world.areas:
        yield Fault(rule="area_unknown", field="area_prefix", value=row.area_prefix, **where)
    seen = set()
    for role in row.roles.split("|"):
        kind, _, unit = role.partition(":")
        if kind not in (*PLACES, "unit") or (kind == "unit") != bool(unit):
            yield Fault(rule="role_unknown", field="roles", value=role, **where)
        elif kind == "unit" and unit not in world.units:
            yield Fault(rule="unit_unknown", field="roles", value=unit, **where)
        elif kind == "unit" and world.units[unit]:
            yield Fault(rule="unit_dissolved", field="roles", value=unit, **where)
        elif role in seen:
            yield Fault(rule="role_repeated", field="roles", value=role, **where)
        seen.add(role)


def _key(row: Duty) -> tuple[str, int | None, str]:
    return row.class_prefix, row.condition_no, row.area_prefix


def _same_key(rules: list[Duty], wanted: set[str]) -> Iterable[Fault]:
    """Rules that say something about the very same: the lowest code would win without anybody having said so."""
    by_key: dict[tuple[str, int | None, str], list[Duty]] = defaultdict(list)
    for row in sorted(rules, key=lambda row: row.code):
        by_key[_key(row)].append(row)
    for rows in by_key.values():
        for first, second in pairwise(rows):
            if {first.code, second.code} & wanted:
                kind = "same_twice" if first.roles == second.roles else "contradiction"
                yield Fault(rule=kind, code=second.code, other=first.code, row=second.row)


def _overlaps(zones: list[Duty], wanted: set[str]) -> Iterable[Fault]:
    if len(zones) < 2:
        return
    tree = shapely.STRtree([row.zone for row in zones])
    for one, other in zip(*tree.query([row.zone for row in zones], predicate="intersects"), strict=True):
        first, second = zones[one], zones[other]
        if one >= other or not {first.code, second.code} & wanted or first.roles == second.roles:
            continue
        rank = [(len(row.class_prefix), row.condition_no is None, len(row.area_prefix)) for row in (first, second)]
        alike = first.class_prefix.startswith(second.class_prefix) or second.class_prefix.startswith(first.class_prefix)
        numbers = {_key(row)[1] for row in (first, second)} - {None}
        if rank[0] != rank[1] or not alike or len(numbers) > 1:
            continue
        m2 = shapely.area(shapely.intersection(first.zone, second.zone))
        if m2 >= OVERLAP_LEAST_M2:
            yield Fault(rule="zones_overlap", code=second.code, other=first.code, row=second.row, count=round(m2))


def _reach(world: _World, rules: list[Duty], zones: list[Duty], wanted: set[str]) -> Iterable[Fault]:
    """Rules that are never the best one, red lines that rules with fixed units keep from ever leading, and classes with
    places where nobody is responsible.
    """
    codes, grounds = list(world.communities), np.array(list(world.communities.values()), dtype=object)
    shared = [shapely.area(shapely.intersection(grounds, zone.zone)) >= OVERLAP_LEAST_M2 for zone in zones]
    within = {
        zone.code: {
            code for code, meets in zip(codes, held, strict=True) if meets and code.startswith(zone.area_prefix[:12])
        }
        for zone, held in zip(zones, shared, strict=True)
    }
    leading: set[str] = set()
    leaves = sorted(world.communities) + sorted({row.area_prefix for row in rules if len(row.area_prefix) > 12})
    by_class: dict[str, list[Duty]] = defaultdict(list)
    for row in rules:
        by_class[row.class_prefix].append(row)
    used: set[str] = set()
    lonely: dict[str, int] = defaultdict(int)
    for code, numbers in world.conditions.items():
        prefixes = [code[:digits] for digits in dict.fromkeys((0, 1, 3, len(code)))]
        meant = [row for prefix in prefixes for row in by_class.get(prefix, ())]
        for number in (None, *numbers):
            ranked: dict[str, Duty] = {}  # by area the best rule for exactly that area
            for row in meant:
                _, condition, area = _key(row)
                if condition is None or condition == number:
                    best = ranked.get(area)
                    if best is None or _rank(row) < _rank(best):
                        ranked[area] = row
            narrow = [area for area in ranked if area]
            places = leaves if narrow or number is None else leaves[:1]
            for leaf in places:
                held = [ranked[area] for area in ("", *(leaf[:n] for n in (4, 6, 9, 12, len(leaf)))) if area in ranked]
                best = min(held, key=_rank, default=None)
                if best is not None:
                    used.add(best.code)
                if best is None or not _fixed(best):
                    leading |= {
                        zone.code
                        for zone in zones
                        if code.startswith(zone.class_prefix)
                        and zone.condition_no in (None, number)
                        and (len(places) == 1 or leaf[:12] in within[zone.code])
                    }
                if number is None and not _somebody(world, best, leaf):
                    lonely[code] += 1
    for row in rules:
        if row.code in wanted and row.code not in used:
            yield Fault(rule="unreachable", code=row.code, row=row.row)
    for row in zones:
        if row.code in wanted and row.code not in leading:
            yield Fault(rule="zone_never_leads", code=row.code, row=row.row)
    for code, many in sorted(lonely.items()):
        yield Fault(rule="without_unit", other=code, count=many)


def _fixed(row: Duty) -> bool:
    """Whether the rule names a unit whatever the place: then it goes before any zone."""
    roles = [role for role in row.roles.split("|") if role not in ("maintainer", "owner")]
    return bool(roles) and roles[0].startswith("unit:")


def _rank(row: Duty) -> tuple[Any, ...]:
    """The order of cases.assign, the best first."""
    prefix, condition, area = _key(row)
    return -len(prefix), condition is None, -len(area), row.code


def _somebody(world: _World, rule: Duty | None, leaf: str) -> bool:
    """Whether a place has a unit whatever component is concerned."""
    if any(leaf[:digits] in world.bodies for digits in {6, 9, 12, len(leaf)}):
        return True
    return rule is not None and any(role.startswith("unit:") for role in rule.roles.split("|"))


def _people(world: _World, rules: Sequence[Duty], wanted: set[str]) -> Iterable[Fault]:
    """Units that lead by a rule and that nobody can log in for."""
    leads: dict[str, str] = {}
    for row in rules:
        kind, _, unit = row.roles.split("|")[0].partition(":")
        if kind == "unit" and row.code in wanted and unit not in world.people:
            leads.setdefault(unit, row.code)
    for unit, code in sorted(leads.items()):
        yield Fault(rule="without_people", code=code, other=unit)
