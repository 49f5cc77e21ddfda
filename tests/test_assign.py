"""Assignment in PostGIS: the order of the steps, borders, and agreement with a reference written in Python."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, text

from tests.hamlet import at

ASSIGN = text(
    "select a.*, u.code as unit, r.code as rule from cases.assign(array[st_setsrid(st_makepoint(:x, :y), 4545)], "
    "array[cast(:class as text)], array[cast(:condition as integer)], array[cast(:component as text)]) a "
    "left join layers.unit u on u.id = a.unit_id left join cases.rule r on r.id = a.rule_id"
)


def ask(conn: Connection, east_m: float, north_m: float, class_code: str, condition=None, component=None):
    x, y = at(east_m, north_m)
    return conn.execute(
        ASSIGN, {"x": x, "y": y, "class": class_code, "condition": condition, "component": component}
    ).one()


@pytest.mark.parametrize(
    ("place", "class_code", "condition", "component", "unit", "basis", "resolved_by", "rule"),
    [
        ((150, 50), "C0137", None, "6109990137000001", "LAMPS", "component", "maintainer", None),
        ((250, 50), "C0137", None, "6109990137000002", "POWER", "component", "owner", None),
        ((50, 50), "C0101", 1, "6109990101000001", "WATER", "rule", "unit", "W1"),
        ((50, 50), "E0101", None, None, "WEST", "rule", "street", "G1"),
        ((350, 50), "E0101", None, None, "EAST", "rule", "street", "G1"),
        ((50, 250), "E0102", None, None, "DISTRICT", "rule", "district", "G3"),
        ((50, 250), "E0102", 2, None, "WATER", "rule", "unit", "G2"),
        ((350, 350), "E0101", None, None, "STATION", "zone", "unit", "Z1"),
        ((350, 350), "E0102", 2, None, "WATER", "rule", "unit", "G2"),
        ((350, 350), "C0101", None, None, "WATER", "rule", "unit", "W1"),
    ],
)
def test_the_steps_come_in_their_order(
    conn: Connection, place, class_code, condition, component, unit, basis, resolved_by, rule
) -> None:
    found = ask(conn, *place, class_code, condition, component)
    assert (found.unit, found.basis, found.resolved_by, found.rule) == (unit, basis, resolved_by, rule)


def test_without_rules_the_territory_is_responsible_and_without_bodies_nobody(conn: Connection) -> None:
    conn.execute(text("truncate cases.rule, cases.report, cases.event, cases.case cascade"))
    found = ask(conn, 50, 50, "E0102")
    assert (found.unit, found.basis, found.resolved_by) == ("WEST", "territory", "street")
    conn.execute(text("update layers.unit set dissolved_at = now()"))
    found = ask(conn, 50, 50, "E0102")
    assert (found.unit_id, found.basis, found.cell_code) == (None, "nobody", "610999001001003")
