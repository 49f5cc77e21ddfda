"""Every way to fail over HTTP has the one shape, says what would mend it, and changes nothing."""

from __future__ import annotations

import json
import math
import re
import socket
import time
from typing import Any

import pytest
from sqlalchemy import text

import api.porch
from tests.doorstep import Door, degrees, report
from tests.test_errors import FIELDS

CHINESE = re.compile("[\u4e00-\u9fff]")
HERE = degrees(50, 150)
JSON = {"Content-Type": "application/json"}


def refused(answer: Any, status: int, kind: str | None = None) -> dict[str, Any]:
    """The problem of an answer, which must be of the one shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers.get("Content-Type") == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert tuple(problem) == FIELDS
    assert problem["status"] == status
    assert CHINESE.search(problem["detail_zh"])
    assert problem["mend"], problem
    assert CHINESE.search(problem["mend_zh"]), problem
    if kind is not None:
        assert problem["type"] == f"urn:wanmi:error:{kind}"
    return problem


@pytest.mark.parametrize(
    ("path", "query", "status", "kind", "word"),
    [
        ("/nothing", {}, 404, "NotFound", "nothing at"),
        ("/locate", {}, 422, "Invalid", "lon is missing"),
        ("/locate", {"lon": "east", "lat": 1}, 422, "Invalid", "lon"),
        ("/locate", {"lon": "NaN", "lat": 32.5}, 422, "UnfitCoordinates", "finite"),
        ("/locate", {"lon": "inf", "lat": 32.5}, 422, "UnfitCoordinates", "finite"),
        ("/locate", {"lon": HERE["lat"], "lat": HERE["lon"]}, 422, "UnfitCoordinates", "cannot be a place"),
        ("/locate", {"lon": 109.5, "lat": 33.5}, 422, "UnfitCoordinates", "outside the grid"),
        ("/locate", {**HERE, "crs": 1}, 422, "UnfitCoordinates", "not a coordinate system"),
        ("/locate", {**HERE, "crs": "x"}, 422, "Invalid", "crs"),
        ("/locate", {**HERE, "crs": 2218}, 422, "UnfitCoordinates", "EPSG:2218"),
        ("/locate", {**HERE, "class": "E0109"}, 422, "Invalid", "no class"),
        ("/locate", {**HERE, "class": "E0102", "condition": 7}, 422, "Invalid", "no filing condition"),
        ("/locate", {**HERE, "condition": 1}, 422, "Invalid", "belongs to a class"),
        ("/locate", {**HERE, "component": "1"}, 422, "Invalid", "no component"),
        ("/locate", {**HERE, "klass": "E0102"}, 422, "Invalid", "no parameter 'klass'"),
        ("/cases/1", {}, 422, "Invalid", "no"),
        ("/cases/20990101000001", {}, 404, "NotFound", "no case"),
        ("/cases/99999999999999999999999", {}, 422, "Invalid", "no"),
        ("/cases", {"limit": 0}, 422, "Invalid", "limit"),
        ("/cases", {"limit": 1001}, 422, "Invalid", "limit"),
        ("/cases", {"class": "X01"}, 422, "Invalid", "class"),
        ("/cases", {"from": "yesterday"}, 422, "Invalid", "from"),
        ("/cases", {"from": "2026-03-02", "to": "2026-03-01"}, 422, "Invalid", "ends"),
        ("/cases", {"from": "0001-01-01"}, 422, "Invalid", "from"),
        ("/cases", {"to": "9999-12-31"}, 422, "Invalid", "to"),
        ("/cases", {"bbox": "1,2,3"}, 422, "Invalid", "bbox"),
        ("/cases", {"bbox": "nan,2,3,4"}, 422, "Invalid", "bbox"),
        ("/cases", {"bbox": "5,2,3,4"}, 422, "Invalid", "bbox"),
        ("/cases", {"area": "12"}, 422, "Invalid", "area"),
        ("/components/12", {}, 422, "Invalid", "code"),
        ("/components/9999990101000001", {}, 404, "NotFound", "no component"),
        ("/search", {"q": "12"}, 422, "Invalid", "four digits"),
        ("/search", {"q": "a\x00b"}, 422, "Invalid", "NUL"),
        ("/tiles/roads", {}, 404, "NotFound", "no layer"),
        ("/tiles/cells/40/1/1.mvt", {}, 422, "Invalid", "no tile"),
        ("/tiles/cells/3/8/1.mvt", {}, 422, "Invalid", "no tile"),
        ("/tiles/cells/3/-1/1.mvt", {}, 422, "Invalid", "no tile"),
        ("/tiles/cells/z/1/1.mvt", {}, 422, "Invalid", "z"),
        ("/maps/heat", {"bandwidth_m": 1}, 422, "Invalid", "bandwidth_m"),
        ("/maps/heat", {"bandwidth_m": "nan"}, 422, "Invalid", "bandwidth_m"),
        ("/maps/heat", {"width": 100_000}, 422, "Invalid", "width"),
        ("/maps/heat", {"format": "gif"}, 422, "Invalid", "format"),
        ("/maps/heat", {"format": "tif", "bbox": "1,1,2,2"}, 422, "Invalid", "bbox"),
        ("/maps/heat", {"bbox": "109,-80,109.001,80"}, 422, "Invalid", "tall"),
        ("/maps/heat/99/0/0.png", {}, 422, "Invalid", "no tile"),
        ("/fonts/Comic/0-255.pbf", {}, 404, "NotFound", "no glyphs"),
        ("/fonts/DejaVu Sans/1-256.pbf", {}, 404, "NotFound", "no glyphs"),
        ("/console/secret.txt", {}, 404, "NotFound", "no file"),
        ("/console/..%2F..%2Fpyproject.toml", {}, 404, "NotFound", None),
    ],
)
def test_a_question_that_cannot_be_answered(
    door: Door, path: str, query: dict[str, Any], status: int, kind: str, word: str | None
) -> None:
    problem = refused(door.get(path, **query), status, kind)
    assert word is None or word in problem["detail"] or word in problem["where"].values(), problem


def test_swapped_axes_are_proposed_not_applied(door: Door) -> None:
    problem = refused(door.get("/locate", lon=HERE["lat"], lat=HERE["lon"]), 422)
    assert "swapped" in problem["mend"]
    assert "写反" in problem["mend_zh"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "missing"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[]", "body"),
        (b"null", "body"),
        (b'"x"', "body"),
        (b"[" * 20_000, "no JSON"),
        (b'{"class": "E0102", "lon": NaN, "lat": 32.5}', "finite"),
        (b'{"class": "E0102", "lon": 1e999, "lat": 32.5}', "finite"),
        (json.dumps({**report(), "colour": "red"}).encode(), "no field 'colour'"),
        (json.dumps({**report(), "class": "E0199"}).encode(), "no class"),
        (json.dumps({**report(), "class": " "}).encode(), "class"),
        (json.dumps({**report(), "condition": 99}).encode(), "no filing condition"),
        (json.dumps({**report(), "component": "6109990101000001", "class": "C0137"}).encode(), "it is of class C0101"),
        (json.dumps({**report(), "description": "x" * 5000}).encode(), "description"),
        (json.dumps({**report(), "description": "\ud800"}).encode(), "description"),
        (json.dumps({**report(), "description": "a\x00b"}).encode(), "NUL"),
        (json.dumps({**report(), "accuracy_m": -1}).encode(), "accuracy_m"),
        (json.dumps({**report(), "lon": HERE["lat"], "lat": HERE["lon"]}).encode(), "cannot be a place"),
        (json.dumps(report(50, -500)).encode(), "outside the grid"),
        (json.dumps({**report(), "lon": None}).encode(), "lon"),
        (json.dumps({**report(), "crs": 2**40}).encode(), "crs"),
    ],
)
def test_a_report_that_cannot_be_taken_leaves_nothing(door: Door, body: bytes, word: str) -> None:
    before = rows(door)
    with door.client("collector", **JSON) as client:
        problem = refused(client.post("/cases", content=body), 422)
    assert word in problem["detail"] or word in problem["where"].values(), problem
    assert rows(door) == before


def rows(door: Door) -> tuple[int, ...]:
    with door.engine.connect() as conn:
        tables = ("cases.case", "cases.event", "cases.report")
        return tuple(int(conn.execute(text(f"select count(*) from {table}")).scalar_one()) for table in tables)


def test_methods_that_an_address_does_not_take(door: Door) -> None:
    with door.client("administrator") as client:
        for method, path in [
            ("PUT", "/cases"),
            ("DELETE", "/cases/20260302000001"),
            ("PUT", "/locate"),
            ("PATCH", "/city"),
        ]:
            refused(client.request(method, path), 405, "NotAllowed")


def test_a_body_that_is_too_large_is_refused_before_it_is_read(door: Door) -> None:
    with door.client("collector", **JSON) as client:
        refused(client.post("/cases", content=b"x" * 100_000), 413, "TooLarge")

        def endless() -> Any:
            for _ in range(200):
                yield b"x" * 4096

        refused(client.post("/cases", content=endless()), 413, "TooLarge")
    with socket.create_connection(door.address.removeprefix("http://").split(":")) as raw:  # type: ignore[arg-type]
        raw.sendall(b"POST /cases HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
        assert b"413" in raw.recv(4096).split(b"\r\n")[0], "answered at the head, though 100 MB were announced"


def test_a_head_of_any_size_is_not_listened_to(door: Door) -> None:
    host, _, port = door.address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        raw.sendall(b"GET /city HTTP/1.1\r\nHost: x\r\nX-Long: ")
        sent = 0
        try:
            while sent < 20_000_000:
                raw.sendall(b"a" * 65_536)
                sent += 65_536
        except OSError:
            pass
        assert sent < 20_000_000, "hung up on"
    assert door.get("/cases", limit=1).status_code == 200


def test_a_write_is_never_answered_as_not_modified(door: Door) -> None:
    answer = door.post("/cases", report(), "collector", **{"If-None-Match": "*"})
    assert answer.status_code == 201


def test_a_body_that_does_not_come_is_not_waited_for_for_ever(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.porch, "BODY_S", 0.3)
    with socket.create_connection(door.address.removeprefix("http://").split(":")) as raw:  # type: ignore[arg-type]
        raw.settimeout(10)
        raw.sendall(
            b"POST /cases HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        answer = raw.recv(4096)
    assert b"408" in answer.split(b"\r\n")[0]
    assert b"urn:wanmi:error:TooSlow" in answer


def test_a_commit_that_fails_is_never_answered_as_done(door: Door) -> None:
    with door.engine.begin() as conn:
        conn.execute(text("create or replace function public.fail() returns trigger language plpgsql as "
                          "$$ begin raise exception 'disk full' using errcode = '53100'; end $$"))  # fmt: skip
        conn.execute(text("create constraint trigger late after insert on cases.report deferrable initially deferred "
                          "for each row execute function public.fail()"))  # fmt: skip
    before = rows(door)
    try:
        problem = refused(door.post("/cases", report(), "collector"), 503, "Unavailable")
        assert "out of room" in problem["detail"]
    finally:
        with door.engine.begin() as conn:
            conn.execute(text("drop trigger late on cases.report"))
    assert rows(door) == before
    assert door.post("/cases", report(), "collector").status_code == 201


def test_a_question_that_takes_too_long_is_ended(door: Door) -> None:
    with door.engine.begin() as conn:
        conn.execute(text("alter view served.cell rename to cell_kept"))
        columns = "code, community_code, area_m2, area_class || pg_sleep(30)::text as area_class, simulated, geom, "
        columns += "perimeter_m, compactness"
        conn.execute(text(f"create view served.cell as select {columns} from served.cell_kept"))
    try:
        z = 15
        x, y = tile_of(**degrees(200, 200), z=z)
        started = time.monotonic()
        problem = refused(door.get(f"/tiles/cells/{z}/{x}/{y}.mvt"), 503, "Unavailable")
        assert "longer than is allowed" in problem["detail"]
        assert time.monotonic() - started < 20
    finally:
        with door.engine.begin() as conn:
            conn.execute(text("drop view served.cell"))
            conn.execute(text("alter view served.cell_kept rename to cell"))


def tile_of(lon: float, lat: float, z: int) -> tuple[int, int]:
    """x and y of the tile in which a place lies."""
    n = 2**z
    return int((lon + 180) / 360 * n), int((1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * n)


def test_an_unknown_address_of_a_known_kind_says_so_in_both_languages(door: Door) -> None:
    problem = refused(door.get("/tiles/cells/1"), 404)
    assert problem["detail"].startswith("there is nothing at /tiles/cells/1")
