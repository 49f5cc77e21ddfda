"""Components over HTTP: editing with a base, history, and every refusal of the one shape."""

from __future__ import annotations

from typing import Any

import pytest

from tests.doorstep import Door, degrees
from tests.test_http_errors import refused

LAMP = "6109990137000001"


def point(east_m: float, north_m: float) -> dict[str, Any]:
    here = degrees(east_m, north_m)
    return {"type": "Point", "coordinates": [here["lon"], here["lat"]]}


def send(door: Door, method: str, path: str, body: Any, who: str | None = "gis_editor", **headers: str) -> Any:
    with door.client(who, **headers) as client:
        return client.request(method, path, json=body)


def added(door: Door, east_m: float, **more: Any) -> dict[str, Any]:
    body = {"class": "C0137", "geometry": point(east_m, 20), "reason": "new", **more}
    answer = send(door, "POST", "/components", body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"/components/{answer.json()['code']}"
    made: dict[str, Any] = answer.json()
    return made


def test_a_component_is_added_changed_moved_and_retired_and_all_of_it_is_told(door: Door) -> None:
    made = added(door, 20, attrs={"lamps": 2}, owner_unit="POWER")
    path = f"/components/{made['code']}"
    assert door.get(path).json()["version"] == made["version"]
    edit = {"base": made["version"], "state": "damaged", "attrs": {"lamps": None}, "reason": "seen"}
    changed = send(door, "PATCH", path, edit).json()
    assert (changed["state"], changed["attrs"], changed["owner_unit"]) == ("damaged", {}, "POWER")
    moved = send(door, "PATCH", path, {"base": made["version"], "geometry": point(120, 20), "reason": "moved"}).json()
    assert (moved["cell_code"], moved["state"]) == ("610999001001004", "damaged")
    gone = send(door, "POST", f"{path}/retire", {"base": moved["version"], "reason": "removed"})
    assert gone.json()["until"] is not None
    refused(door.get(path), 404, "NotFound")
    past = door.get(f"{path}/versions").json()["versions"]
    assert [(one["actor"], one["reason"]) for one in past] == [("gis-editor", why) for why in ("new", "seen", "moved")]
    assert [one["changed"] for one in past] == [[], ["state", "attrs.lamps"], ["geometry"]]
    assert past[-1]["ended_why"] == "removed"


def test_the_same_field_twice_is_refused_with_both_values(door: Door) -> None:
    made = added(door, 30)
    path = f"/components/{made['code']}"
    send(door, "PATCH", path, {"base": made["version"], "state": "lost", "reason": "a"}, "administrator")
    problem = refused(
        send(door, "PATCH", path, {"base": made["version"], "state": "damaged", "reason": "b"}), 409, "Overlapping"
    )
    assert "state is lost by administrator, you wrote damaged" in problem["detail"]
    same = send(door, "PATCH", path, {"base": made["version"], "state": "lost", "reason": "again"})
    assert same.status_code == 200
    assert len(door.get(f"{path}/versions").json()["versions"]) == 2


def test_the_same_key_adds_once(door: Door) -> None:
    body = {"class": "C0137", "geometry": point(40, 20), "reason": "new"}
    first, again = (send(door, "POST", "/components", body, **{"Idempotency-Key": "once"}).json() for _ in range(2))
    assert first["code"] == again["code"]


BAD: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "no class": ("POST", {"class": "C0199", "geometry": point(5, 5), "reason": "x"}, 422, "Invalid"),
    "event": ("POST", {"class": "E0102", "geometry": point(5, 5), "reason": "x"}, 422, "Invalid"),
    "outside": ("POST", {"class": "C0137", "geometry": point(-50, 5), "reason": "x"}, 422, "Invalid"),
    "swapped": (
        "POST",
        {"class": "C0137", "geometry": {"type": "Point", "coordinates": [32.5, 109.0]}, "reason": "x"},
        422,
        "UnfitCoordinates",
    ),
    "no shape": ("POST", {"class": "C0137", "geometry": {"type": "Spot"}, "reason": "x"}, 422, "Invalid"),
    "empty": (
        "POST",
        {"class": "C0137", "geometry": {"type": "Point", "coordinates": []}, "reason": "x"},
        422,
        "Invalid",
    ),
    "line": (
        "POST",
        {
            "class": "C0137",
            "geometry": {"type": "LineString", "coordinates": [[111.0, 32.5], [111.1, 32.5]]},
            "reason": "x",
        },
        422,
        "Invalid",
    ),
    "no reason": ("POST", {"class": "C0137", "geometry": point(5, 5)}, 422, "Invalid"),
    "strange field": ("POST", {"class": "C0137", "geometry": point(5, 5), "reason": "x", "colour": 1}, 422, "Invalid"),
    "no such version": ("PATCH", {"base": 999999, "state": "lost", "reason": "x"}, 422, "Invalid"),
    "state": ("PATCH", {"base": 1, "state": "fine", "reason": "x"}, 422, "Invalid"),
    "unit": ("PATCH", {"base": 2, "owner_unit": "NOBODY", "reason": "x"}, 422, "Invalid"),
    "null state": ("PATCH", {"base": 2, "state": None, "reason": "x"}, 422, "Invalid"),
    "blank reason": ("PATCH", {"base": 2, "state": "lost", "reason": "  "}, 422, "Invalid"),
    "NUL in the reason": ("PATCH", {"base": 2, "state": "lost", "reason": "a\0"}, 422, "Invalid"),
    "future": ("PATCH", {"base": 2, "surveyed_on": "9999-12-31", "reason": "x"}, 422, "Invalid"),
    "no name": ("PATCH", {"base": 2, "attrs": {"": 1}, "reason": "x"}, 422, "Invalid"),
    "large": ("PATCH", {"base": 2, "attrs": {"a": 10**30}, "reason": "x"}, 422, "Invalid"),
    "deep": (
        "PATCH",
        {"base": 2, "attrs": {"a": [[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]}, "reason": "x"},
        422,
        "Invalid",
    ),
    "NUL": ("PATCH", {"base": 2, "attrs": {"a": "\0"}, "reason": "x"}, 422, "Invalid"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_refused_and_changes_nothing(door: Door, name: str) -> None:
    method, body, status, kind = BAD[name]
    before = door.get(f"/components/{LAMP}/versions").json()
    if body.get("base") in (1, 2):
        body = {**body, "base": before["versions"][-1]["version"]}
    path = "/components" if method == "POST" else f"/components/{LAMP}"
    refused(send(door, method, path, body), status, kind)
    assert door.get(f"/components/{LAMP}/versions").json() == before


@pytest.mark.parametrize("value", ["NaN", "1e999", '"\\ud800"', '{"\\ud800": 1}'])
def test_json_that_no_database_can_hold_is_refused(door: Door, value: str) -> None:
    base = door.get(f"/components/{LAMP}").json()["version"]
    raw = f'{{"base": {base}, "attrs": {{"a": {value}}}, "reason": "x"}}'
    with door.client("gis_editor", **{"Content-Type": "application/json"}) as client:
        refused(client.patch(f"/components/{LAMP}", content=raw.encode()), 422, "Invalid")


@pytest.mark.parametrize("who", [None, "collector", "planner", "unit", "channel-web"])
def test_others_may_not_edit(door: Door, who: str | None) -> None:
    body = {"class": "C0137", "geometry": point(5, 5), "reason": "x"}
    refused(send(door, "POST", "/components", body, who), 401 if who is None else 403)
