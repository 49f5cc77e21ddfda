"""The assignment of frames: row by row what cases.assign says, on borders and corners, for any rules and zones."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Connection, text

from cases.standing import Standing, assign_frame, read_standing
from gis.locate import OUTSIDE
from grids.city import City
from tests.hamlet import at
from tests.laws.test_assign_law import assigned, enriched, questions

NAMES = ("cell_code", "placed", "unit", "basis", "resolved_by", "rule")


def reports_of(asked: Any) -> pd.DataFrame:
    x, y = zip(*[at(one.east_m, one.north_m) for one in asked], strict=True)
    return pd.DataFrame(
        {
            "x": x,
            "y": y,
            "class_code": [one.class_code for one in asked],
            "condition_no": pd.array([one.condition_no for one in asked], dtype="Int64"),
            "component_code": [one.component_code for one in asked],
        }
    )


@pytest.mark.parametrize("seed", range(10))
def test_a_frame_is_answered_row_by_row_as_postgis_answers(conn: Connection, template: City, seed: int) -> None:
    chance = random.Random(seed)
    asked = questions(chance, enriched(conn, chance))
    found = assign_frame(reports_of(asked), read_standing(conn, template), border=True).frame().astype(object)
    for row, (question, answer) in enumerate(zip(asked, assigned(conn, asked), strict=True)):
        said = found.iloc[row]
        mine = tuple(None if pd.isna(said[name]) else said[name] for name in NAMES)
        assert mine == tuple(getattr(answer, name) for name in NAMES), question
        assert tuple(filter(None, said["assisting"].split(";"))) == answer.assisting, question


def test_the_order_the_chunks_and_the_types_of_columns_do_not_matter(conn: Connection, template: City) -> None:
    chance = random.Random(3)
    reports = reports_of(questions(chance, enriched(conn, chance)))
    standing = read_standing(conn, template)
    whole = assign_frame(reports, standing).frame()
    again = assign_frame(reports, read_standing(conn, template), threads=1).frame()
    pd.testing.assert_frame_equal(whole.astype(object), again.astype(object))
    typed = reports.astype({"class_code": "category", "component_code": "string", "condition_no": "float64"})
    parts = [assign_frame(typed.iloc[n : n + 7], standing).frame().astype(object) for n in range(0, len(typed), 7)]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole.astype(object))
    shuffled = reports.sample(frac=1.0, random_state=1)
    other = assign_frame(shuffled, standing).frame().astype(object).set_axis(shuffled.index).sort_index()
    pd.testing.assert_frame_equal(other, whole.astype(object))


def test_what_is_no_place_or_not_said_is_answered_too(conn: Connection, template: City) -> None:
    standing = read_standing(conn, template)
    x, y = at(50, 50)
    only = assign_frame(pd.DataFrame({"x": [x, np.nan, np.inf, x + 1e7], "y": [y, y, y, y]}), standing)
    assert only.cell.tolist()[1:] == [OUTSIDE] * 3
    frame = only.frame().astype(object)
    assert frame["basis"].tolist() == ["territory", "nobody", "nobody", "nobody"]
    assert frame["community_code"].tolist()[0] == "610999001001"
    assert pd.isna(frame["community_code"][1])
    assert len(assign_frame(pd.DataFrame({"x": [], "y": []}), standing).frame()) == 0


def test_a_unit_that_was_dissolved_is_passed_over(conn: Connection, template: City) -> None:
    chance = random.Random(1)
    asked = questions(chance, enriched(conn, chance))
    for code in ("WATER", "WEST", "PARK"):
        conn.execute(
            text("update layers.unit set dissolved_at = now() - interval '1 hour' where code = :code"), {"code": code}
        )
    found = assign_frame(reports_of(asked), read_standing(conn, template)).frame().astype(object)
    expected = assigned(conn, asked)
    assert [None if pd.isna(unit) else unit for unit in found["unit"]] == [one.unit for one in expected]
    assert not {"WATER", "WEST", "PARK"} & {*found["unit"], *(one for row in expected for one in row.assisting)}


def test_many_classes_and_contexts_are_looked_up_without_a_table(
    conn: Connection, template: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(2)
    reports = reports_of(questions(chance, enriched(conn, chance)))
    standing: Standing = read_standing(conn, template)
    dense = assign_frame(reports, standing).frame()
    monkeypatch.setattr("cases.standing.DENSE", 10)
    pd.testing.assert_frame_equal(assign_frame(reports, standing).frame(), dense)
