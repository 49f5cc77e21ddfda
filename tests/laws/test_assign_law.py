"""The law of assignment: PostGIS and a plain reading of the rules agree on every place, class and component.

The reference below is written with shapely and dictionaries, from the order of responsibility in words:
the component's maintainer or owner; the most specific rule if a fixed unit or a body of the component leads it;
a zone; the rule's bodies of the place; the bodies of the cell, community, street, district; nobody.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest
from shapely import MultiPolygon, Point
from sqlalchemy import Connection, text

from cases.duty import load_rules
from gis.history import record_change
from grids.city import City
from layers.components import load_components
from layers.units import load_units
from tests.hamlet import SRID, at, hamlet, square

ASSIGN = text(
    "select a.ord, a.cell_code, a.placed, a.placed_m, a.border_m, a.border_code, u.code as unit, a.basis, "
    "a.resolved_by, r.code as rule, coalesce((select array_agg(x.code order by x.code) from layers.unit x "
    "where x.id = any (a.assisting_ids)), '{}') as assisting, a.cell_id is not null as has_cell "
    "from cases.assign(array(select st_setsrid(st_makepoint(x, y), 4545) "
    "from unnest(cast(:x as float8[]), cast(:y as float8[])) with ordinality as p (x, y, n) order by n), "
    "cast(:classes as text[]), cast(:conditions as integer[]), cast(:components as text[])) a "
    "left join layers.unit u on u.id = a.unit_id left join cases.rule r on r.id = a.rule_id order by a.ord"
)
CLASSES = ("C0101", "C0137", "E0101", "E0102", "E9999")
EXACT = 1e-9


@dataclass(frozen=True)
class Question:
    east_m: float
    north_m: float
    class_code: str
    condition_no: int | None
    component_code: str | None


@dataclass(frozen=True)
class Answer:
    cell_code: str | None
    placed: str
    placed_m: float
    border_m: float | None
    border_code: str | None
    unit: str | None
    basis: str
    resolved_by: str | None
    rule: str | None
    assisting: tuple[str, ...] = field(default=())


# ── the reference ────────────────────────────────────────


@dataclass
class World:
    """All that an assignment rests on, as plain Python."""

    cells: dict[str, Any]
    rules: list[dict[str, Any]]
    components: dict[str, tuple[str | None, str | None]]  #: code → maintainer, owner
    bodies: dict[str, str]  #: area code → unit
    tolerance_m: float
    border_tolerance_m: float

    def answer(self, asked: Question) -> Answer:
        point = Point(at(asked.east_m, asked.north_m))
        metres = {code: shape.distance(point) for code, shape in self.cells.items()}
        inside = sorted(code for code, shape in self.cells.items() if shape.covers(point))
        near = sorted((away, code) for code, away in metres.items() if away <= self.tolerance_m)
        if not inside and not near:
            return Answer(None, "outside", 0.0, None, None, None, "nobody", None, None)
        cell = inside[0] if inside else near[0][1]
        across = sorted(
            (away, code) for code, away in metres.items() if away <= self.border_tolerance_m and code[:12] != cell[:12]
        )
        border_m, border_code = across[0] if across else (None, None)
        led, rest = self.responsible(asked, point, cell)
        return Answer(
            cell,
            "inside" if inside else "nearest",
            0.0 if inside else near[0][0],
            border_m,
            border_code,
            *led,
            assisting=tuple(sorted({unit for unit in rest if unit != led[0]})),
        )

    def responsible(
        self, asked: Question, point: Point, cell: str
    ) -> tuple[tuple[str | None, str, str | None, str | None], list[str]]:
        """(unit, basis, resolved_by, rule) of the one that leads, and all units that its rule and zone name."""
        maintainer, owner = self.components.get(asked.component_code or "", (None, None))
        keys = {"maintainer": maintainer, "owner": owner}
        for level, digits in (("cell", 15), ("community", 12), ("street", 9), ("district", 6)):
            keys[level] = self.bodies.get(cell[:digits])
        rule = self.best(asked, cell, [rule for rule in self.rules if rule["zone"] is None])
        zone = self.best(
            asked, cell, [rule for rule in self.rules if rule["zone"] is not None and rule["zone"].covers(point)]
        )
        named = [self.resolved(rule, keys), self.resolved(zone, keys)]
        rest = [unit for several in named for unit, _ in several]
        for key in ("maintainer", "owner"):
            if keys[key]:
                return (keys[key], "component", key, None), rest
        by_rule, by_zone = named
        if by_rule and by_rule[0][1] in ("unit", "maintainer", "owner"):
            return (by_rule[0][0], "rule", by_rule[0][1], rule["code"]), rest
        if by_zone:
            return (by_zone[0][0], "zone", by_zone[0][1], zone["code"]), rest
        if by_rule:
            return (by_rule[0][0], "rule", by_rule[0][1], rule["code"]), rest
        for key in ("cell", "community", "street", "district"):
            if keys[key]:
                return (keys[key], "territory", key, None), rest
        return (None, "nobody", None, None), rest

    @staticmethod
    def best(asked: Question, cell: str, rules: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The most specific rule: longer class, then with a condition, then longer area, then lower code."""
        classes = {"", asked.class_code[:1], asked.class_code[:3], asked.class_code}
        areas = {"", cell[:4], cell[:6], cell[:9], cell[:12], cell}
        fitting = [
            rule
            for rule in rules
            if rule["class_prefix"] in classes
            and rule["area_prefix"] in areas
            and rule["condition_no"] in (None, asked.condition_no)
        ]

        def order(rule: dict[str, Any]) -> tuple[Any, ...]:
            plain = rule["condition_no"] is None
            return -len(rule["class_prefix"]), plain, -len(rule["area_prefix"]), rule["code"]

        return min(fitting, key=order, default=None)

    @staticmethod
    def resolved(rule: dict[str, Any] | None, keys: dict[str, str | None]) -> list[tuple[str, str]]:
        """(unit, key) of every role of a rule that means a unit here, in order."""
        found = []
        for role in rule["roles"].split("|") if rule else ():
            key, _, unit = role.partition(":")
            means = unit or keys[key]
            if means:
                found.append((means, key))
        return found


# ── a world richer than the hamlet ────────────────────────────────────────


def enriched(conn: Connection, chance: random.Random) -> World:
    """The hamlet with bodies of a cell and a community, more rules, overlapping zones and components."""
    city, frames = hamlet()
    bodies = {"CELL": "610999001001002", "COMMUNITY": "610999002001", "PARK": None, "ROADS": None}
    units = pd.DataFrame({"code": list(bodies), "area_code": list(bodies.values())})
    units = units.assign(name_zh="示例", name_en="example", kind="professional_department", parent_code=None)
    load_units(conn, units)
    roles = ["unit:PARK", "unit:ROADS", "unit:WATER", "maintainer", "owner", "cell", "community", "street", "district"]
    zones = [square(0, 0, 60), square(30, 30, 100), square(100, 100, 200), square(390, 0, 50, 400)]
    extra = pd.DataFrame(
        {
            "code": f"X{n:02}",
            "class_prefix": chance.choice(["", "C", "E", "C01", "E01", *CLASSES]),
            "condition_no": chance.choice([None, None, 1, 2]),
            "area_prefix": chance.choice(["", "6109", "610999", "610999001", "610999002001", "610999001002003"]),
            "roles": "|".join(chance.sample(roles, chance.randint(1, 3))),
            "zone": chance.choice([None, None, *zones]),
        }
        for n in range(30)
    )
    extra = extra.assign(condition_no=extra["condition_no"].astype("Int64"), source_document="made up", source_on=None)
    version = record_change(conn, since=datetime(2026, 1, 1, tzinfo=UTC), actor="test", reason="a law")
    load_rules(conn, extra, SRID, version)
    more = frames["components"].iloc[[0, 0]].assign(code=["6109990101000008", "6109990101000009"])
    more = more.assign(owner_unit=[None, "PARK"], maintainer_unit=["ROADS", "ROADS"])
    load_components(conn, more, city.edition, version)
    return World(
        cells=dict(zip(frames["cells"]["code"], frames["cells"].geometry, strict=True)),
        rules=[
            {**row, "condition_no": None if pd.isna(row["condition_no"]) else int(row["condition_no"])}
            for row in pd.concat([frames["rules"].astype(object), extra.astype(object)]).to_dict("records")
        ],
        components={
            code: (known(maintainer), known(owner))
            for part in (frames["components"], more)
            for code, maintainer, owner in zip(part["code"], part["maintainer_unit"], part["owner_unit"], strict=True)
        },
        bodies={
            area: unit
            for unit, area in [
                *zip(frames["units"]["code"], frames["units"]["area_code"], strict=True),
                *bodies.items(),
            ]
            if isinstance(area, str)
        },
        tolerance_m=city.tolerance_m,
        border_tolerance_m=city.border_tolerance_m,
    )


def known(word: object) -> str | None:
    """A text, or None where a frame has none."""
    return word if isinstance(word, str) else None


def places(chance: random.Random) -> list[tuple[float, float]]:
    """Places of every awkward kind, in metres from the corner, on the lattice of 2⁻¹⁰ m."""
    lines, tick = (0, 100, 200, 300, 400), 2.0**-10
    corners = [(east, north) for east in lines for north in lines]
    found: list[tuple[float, float]] = list(corners)
    for east, north in corners:  # a tick beside a corner; and where a distance is exactly a tolerance
        found += [(east + chance.choice([-tick, tick]), north + chance.choice([-tick, 0, tick]))]
        found += [(east + chance.choice([-20, -10, 10, 20]), north), (east + 12, north - 16), (east - 6, north + 8)]
        found += [(east + chance.choice([-20 - tick, 20 + tick, 10 + tick]), north)]
    for _ in range(60):  # on borders, on the zones' borders
        found.append((chance.choice(lines), chance.uniform(-30, 430)))
        found.append((chance.uniform(-30, 430), chance.choice((*lines, 30, 60, 130))))
    found += [(chance.uniform(-40, 440), chance.uniform(-40, 440)) for _ in range(120)]
    found += [(5_000.0, 5_000.0), (-1_000.0, 200.0)]
    return [(round(east / tick) * tick, round(north / tick) * tick) for east, north in found]


def questions(chance: random.Random, world: World) -> list[Question]:
    named = [None, None, None, "nobody knows it", *world.components]
    return [
        Question(*place, chance.choice(CLASSES), chance.choice([None, None, 1, 2, 9]), chance.choice(named))
        for place in places(chance)
    ]


def assigned(conn: Connection, asked: list[Question]) -> list[Answer]:
    """What cases.assign says, in one call."""
    spots = [at(question.east_m, question.north_m) for question in asked]
    rows = conn.execute(
        ASSIGN,
        {
            "x": [x for x, _ in spots],
            "y": [y for _, y in spots],
            "classes": [question.class_code for question in asked],
            "conditions": [question.condition_no for question in asked],
            "components": [question.component_code for question in asked],
        },
    ).all()
    assert [row.ord for row in rows] == list(range(1, len(asked) + 1)), "one answer a place, in order"
    assert all(row.has_cell == (row.cell_code is not None) for row in rows)
    return [
        Answer(
            row.cell_code,
            row.placed,
            row.placed_m,
            row.border_m,
            row.border_code,
            row.unit,
            row.basis,
            row.resolved_by,
            row.rule,
            tuple(row.assisting),
        )
        for row in rows
    ]


# ── the laws ────────────────────────────────────────


@pytest.mark.parametrize("seed", range(12))
def test_postgis_and_the_plain_reading_agree_on_every_place(conn: Connection, template: City, seed: int) -> None:
    chance = random.Random(seed)
    world = enriched(conn, chance)
    asked = questions(chance, world)
    found = assigned(conn, asked)
    kinds = {(answer.placed, answer.basis) for answer in found}
    assert {"inside", "nearest", "outside"} == {placed for placed, _ in kinds}
    assert len(kinds) >= 6, "the places try all the steps"
    for question, answer in zip(asked, found, strict=True):
        expected = world.answer(question)
        assert answer.placed_m == pytest.approx(expected.placed_m, abs=EXACT), question
        assert (answer.border_m is None) == (expected.border_m is None), question
        assert answer.border_m is None or answer.border_m == pytest.approx(expected.border_m, abs=EXACT)
        same = {"placed_m": 0.0, "border_m": None}
        assert {**vars(answer), **same} == {**vars(expected), **same}, question


def test_one_call_over_many_is_many_calls_of_one(conn: Connection) -> None:
    chance = random.Random(7)
    world = enriched(conn, chance)
    asked = chance.sample(questions(chance, world), 100)
    together = assigned(conn, asked)
    assert together == [assigned(conn, [question])[0] for question in asked]
    assert assigned(conn, asked[::-1]) == together[::-1], "the order of the rows does not matter"


def test_no_places_have_no_answers(conn: Connection) -> None:
    assert assigned(conn, []) == []


def test_versions_that_have_ended_have_no_say(conn: Connection) -> None:
    here = [Question(50, 50, "E0102", None, None), Question(150, 50, "C0137", None, "6109990137000001")]
    before = assigned(conn, here)
    for table in ("grids.cell", "cases.rule", "layers.component"):
        by = ", ended_change_id = change_id" if table == "layers.component" else ""
        conn.execute(text(f"update {table} set valid = tstzrange(lower(valid), now()){by}"))
    gone = assigned(conn, here)
    assert [answer.placed for answer in gone] == ["outside", "outside"]
    assert [answer.unit for answer in before] == ["WEST", "LAMPS"]


def test_a_zone_of_two_parts_holds_in_both(conn: Connection) -> None:
    parts = MultiPolygon([square(0, 0, 10), square(350, 0, 10)])
    rule = {"code": "A0", "class_prefix": "E0101", "condition_no": None, "area_prefix": "", "roles": "unit:STATION"}
    frame = pd.DataFrame([{**rule, "zone": parts, "source_document": "made up", "source_on": None}])
    frame["condition_no"] = frame["condition_no"].astype("Int64")
    load_rules(conn, frame, SRID, record_change(conn, since=datetime(2026, 1, 1, tzinfo=UTC), actor="a", reason="b"))
    found = assigned(conn, [Question(east, 5, "E0101", None, None) for east in (5, 100, 355)])
    assert [answer.unit for answer in found] == ["STATION", "WEST", "STATION"]
