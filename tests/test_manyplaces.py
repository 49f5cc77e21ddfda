"""POST /locate: many points, the answers of GET /locate; whatever is sent is answered or refused with its number."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from api.manyplaces import MOST_POINTS
from tests.doorstep import Door, degrees

POINTS = [
    {**degrees(50, 50), "class": "E0102"},
    {**degrees(150, 350), "class": "C0137", "component": "6109990137000001"},
    {**degrees(350, 350), "class": "E0102", "condition": 1},
    degrees(250, 50),
]


def ask(door: Door, content: Any, kind: str = "application/json", **query: Any) -> httpx.Response:
    body = (
        content if isinstance(content, bytes) else (json.dumps(content) if kind.endswith("/json") else content).encode()
    )
    with door.client(**{"Content-Type": kind}) as client:
        return client.post("/locate", content=body, params=query or None)


def test_each_point_has_the_answer_that_it_gets_alone(door: Door) -> None:
    found = ask(door, POINTS).json()["items"]
    for point, said in zip(POINTS, found, strict=True):
        alone = door.get("/locate", nearby="false", **point).json()
        unit = alone["unit"] and alone["unit"]["code"]
        assert (said["cell"], said["unit"], said["rule"]) == (alone["cell"]["code"], unit, alone["reason"]["rule"])
        assert (said["basis"], said["resolved_by"]) == (alone["reason"]["basis"], alone["reason"]["resolved_by"])
        assert said["assisting"] == sorted(one["code"] for one in alone["assisting"])
        assert said["community"] == alone["areas"][0]["code"]
        assert said["refused"] is None


@pytest.mark.parametrize("kind", ["application/x-ndjson", "text/csv", "text/csv; charset=utf-8"])
def test_lines_and_tables_are_answered_like_json(door: Door, kind: str) -> None:
    if kind == "application/x-ndjson":
        content = "\n".join(json.dumps(point) for point in POINTS) + "\n\n"
    else:
        rows = [
            [str(point.get(name, "")) for name in ("lon", "lat", "class", "condition", "component")] for point in POINTS
        ]
        content = "\ufeff" + "\r\n".join(
            ",".join(row) for row in [["lon", "lat", "class", "condition", "component"], *rows]
        )
    assert ask(door, content, kind).json() == ask(door, POINTS).json()


def test_a_point_that_cannot_be_answered_says_why_and_the_others_are_answered(door: Door) -> None:
    odd = [
        {"lon": None, "lat": 32.0},
        {"lon": 107.5, "lat": 30.0, "class": "E0102"},
        {**degrees(50, 50), "class": "E7777"},
        {**degrees(50, 50), "class": "E0102", "condition": 99},
        POINTS[0],
        {"lon": 500.0, "lat": 95.0},
        {**degrees(50, 50), "component": "\0\ud800"},
        {**degrees(50, 50), "class": "E\0"},
    ]
    found = ask(door, odd).json()["items"]
    refused = ["no_place", "outside", "unknown_class", "unknown_condition", None, "no_place", None, "unknown_class"]
    assert [one["refused"] for one in found] == refused


def test_a_rule_or_a_unit_that_changes_is_heard_of_at_once(door: Door) -> None:
    before = ask(door, POINTS[:1]).json()["items"][0]
    with door.engine.begin() as conn:
        conn.execute(text("update layers.unit set dissolved_at = now() where code = :code"), {"code": before["unit"]})
    after = ask(door, POINTS[:1]).json()["items"][0]
    assert after["unit"] != before["unit"]


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"{", "application/json", "no JSON"),
        (b"\xff\xfe", "application/json", "not UTF-8"),
        ({"lon": 1}, "application/json", "no array"),
        ([1], "application/json", "point 1: it is no object"),
        ([POINTS[0], {"lon": "x", "lat": 1}], "application/json", "point 2: lon is no number"),
        ([{**POINTS[0], "where": 1}], "application/json", "there is no field 'where'"),
        ([{**POINTS[0], "class": 5}], "application/json", "class is no text"),
        ([{**POINTS[0], "condition": 1.5}], "application/json", "condition is no number"),
        ([{**POINTS[0], "condition": True}], "application/json", "condition is no number"),
        (b'[{"lon": 1%s, "lat": 1}]' % (b"0" * 400), "application/json", "lon is no number"),
        (b'[{"lon": 1, "lat": 1, "condition": Infinity}]', "application/json", "condition is no number"),
        (b'[{"lon": %s, "lat": 1}]' % (b"9" * 5000), "application/json", "it is no JSON"),
        ("lon,lat,class\n1,2," + "x" * 200_000, "text/csv", "the CSV cannot be read"),
        ("lon,lat\n1,2,3\n", "text/csv", "point 1: it has more fields"),
        ("x,y\n1,2\n", "text/csv", "no columns lon and lat"),
        ("{}\nnothing", "application/x-ndjson", "point 2: it is no JSON"),
        ("<a/>", "text/xml", "is not taken"),
        ([{}] * (MOST_POINTS + 1), "application/json", "more than 10,000"),
    ],
)
def test_what_is_no_list_of_points_is_refused_with_the_number(door: Door, content: Any, kind: str, words: str) -> None:
    answer = ask(door, content, kind)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_ten_thousand_points_are_taken_and_no_endless_body(door: Door) -> None:
    many = ask(door, POINTS * (MOST_POINTS // 4))
    assert many.status_code == 200
    assert len(many.json()["items"]) == MOST_POINTS
    assert ask(door, []).json()["items"] == []
    assert ask(door, b" " * 5_000_000).status_code == 413
    assert ask(door, POINTS, crs=999_998).status_code == 422
