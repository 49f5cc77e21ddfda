"""The doors end to end: real HTTP, a real database, everything that is asked is answered as docs/http.md says."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from gis.crs import BD09, GCJ02, transform
from tests.doorstep import Door, degrees, report
from tests.hamlet import SRID, at

CHINESE = re.compile("[\u4e00-\u9fff]")


# ── one place ────────────────────────────────────────


def test_a_place_is_answered_with_cell_areas_unit_and_reason(door: Door) -> None:
    found = door.get("/locate", **degrees(50, 250), **{"class": "E0102"}).json()
    assert found["cell"]["code"] == "610999001002003"
    assert [area["level"] for area in found["areas"]] == ["community", "street", "district", "city"]
    assert found["unit"]["code"] == "DISTRICT"
    assert [unit["code"] for unit in found["assisting"]] == ["WEST"]
    assert found["reason"]["rule"] == "G3"
    assert CHINESE.search(found["reason"]["zh"])
    assert found["simulated"] is True
    assert found["class"] == {"code": "E0102", "name_zh": "暴露垃圾", "name_en": "exposed refuse"}


@pytest.mark.parametrize("srid", [SRID, 4490, 4524, 3857, GCJ02, BD09])
def test_the_same_place_in_any_system_has_the_same_answer(door: Door, srid: int) -> None:
    x, y = (float(axis) for axis in transform(*at(350, 350), SRID, srid))
    found = door.get("/locate", lon=x, lat=y, crs=srid, **{"class": "E0102"}).json()
    assert found["cell"]["code"] == "610999002002002"
    assert found["unit"]["code"] == "STATION"
    assert abs(found["place"]["x"] - at(350, 350)[0]) < 0.01


def test_without_a_class_the_territorial_body_answers(door: Door) -> None:
    found = door.get("/locate", **degrees(250, 50)).json()
    assert (found["unit"]["code"], found["reason"]["basis"], found["class"]) == ("EAST", "territory", None)


@pytest.mark.parametrize(
    ("east_m", "north_m", "level", "across", "on_border"),
    [(205, 50, "street", "WEST", True), (50, 195, "community", "WEST", True), (132, 130, "street", "EAST", False)],
)
def test_the_border_says_how_far_which_and_who_is_across(
    door: Door, east_m: float, north_m: float, level: str, across: str, on_border: bool
) -> None:
    found = door.get("/locate", **degrees(east_m, north_m), **{"class": "E0101"}).json()
    border = found["border"]
    assert border["level"] == level
    assert border["unit"]["code"] == across
    assert border["within_reach"] is on_border
    assert found["on_border"] is on_border
    assert len(found["candidates"]) == (2 if on_border else 0)
    distance = min(abs(axis % 200 if axis % 200 < 100 else 200 - axis % 200) for axis in (east_m, north_m))
    assert border["distance_m"] == pytest.approx(distance, abs=0.01)
    assert border["areas"][0]["level"] == "community"


def test_the_nearest_components_are_those_of_the_class_nearest_first(door: Door) -> None:
    near = door.get("/locate", **degrees(160, 50), **{"class": "C0137"}).json()["nearest_components"]
    assert [row["code"] for row in near] == ["6109990137000001", "6109990137000002"]
    assert [row["distance_m"] for row in near] == [pytest.approx(10, abs=0.01), pytest.approx(90, abs=0.01)]
    everything = door.get("/locate", **degrees(160, 50), **{"class": "E0102"}).json()["nearest_components"]
    assert [row["code"] for row in everything] == ["6109990137000001"]


def test_a_named_component_decides_and_its_distance_is_told(door: Door) -> None:
    asked = {**degrees(150, 60), "class": "C0137", "component": "6109990137000001"}
    found = door.get("/locate", **asked).json()
    assert found["unit"]["code"] == "LAMPS"
    component = {"code": "6109990137000001", "distance_m": pytest.approx(10, abs=0.01), "reading": None}
    assert found["component"] == component


# ── cases ────────────────────────────────────────


def test_a_report_becomes_a_case_that_everybody_finds_again(door: Door) -> None:
    body = report(350, 350, description="垃圾一堆 a heap", address="园路 1 号", accuracy_m=8)
    answer = door.post("/cases", body, "collector")
    assert answer.status_code == 201
    case = answer.json()
    assert answer.headers["Location"] == f"/cases/{case['no']}"
    assert case["cell"]["code"] == "610999002002002"
    assert case["unit"]["code"] == "STATION"
    assert case["reason"]["rule"] == "Z1"
    assert case["stage"]["code"] == "reported"
    assert [(event["act"], event["actor"]) for event in case["events"]] == [("report", "collector")]
    read = door.get(f"/cases/{case['no']}").json()
    assert read == {key: value for key, value in case.items() if key not in ("similar", "versions")}
    assert (read["description"], read["address"], read["accuracy_m"]) == ("垃圾一堆 a heap", "园路 1 号", 8.0)
    assert read["lon"] == pytest.approx(body["lon"], abs=2e-7)
    listed = door.get("/cases", cell="610999002002002", limit=1).json()["items"]
    assert listed[0]["no"] == case["no"]
    assert door.get("/search", q=str(case["no"])).json()["items"][0]["kind"] == "case"


def test_what_the_place_is_asked_and_what_the_case_gets_agree(door: Door) -> None:
    for east_m, north_m, class_code in [
        (50, 150, "E0102"),
        (205, 50, "E0101"),
        (50, -15, "E0102"),
        (200, 200, "E0101"),
    ]:
        found = door.get("/locate", **degrees(east_m, north_m), **{"class": class_code}).json()
        case = door.post("/cases", report(east_m, north_m, **{"class": class_code}), "collector").json()
        for name in ("unit", "reason", "areas", "assisting"):
            assert case[name] == found[name], name
        assert case["cell"]["code"] == found["cell"]["code"]
        assert (case["border"] is not None) == found["border"]["within_reach"]
        for name in ("on_border", "reach_m", "candidates", "one_unit", "dispute"):
            assert case["dispute"][name] == found[name], name


def test_the_same_key_again_is_the_same_report(door: Door) -> None:
    first = door.post("/cases", report(), "collector", **{"Idempotency-Key": "k1"})
    again = door.post("/cases", report(), "collector", **{"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["no"] == again.json()["no"]
    other = door.post("/cases", report(60), "collector", **{"Idempotency-Key": "k1"})
    assert other.status_code == 409
    assert str(first.json()["no"]) in other.json()["detail"]
    somebody = door.post("/cases", report(), "leader", **{"Idempotency-Key": "k1"})
    assert somebody.status_code == 201
    assert somebody.json()["no"] != first.json()["no"], "keys of two senders are two keys"


def test_twenty_senders_of_one_key_at_once_open_one_case(door: Door) -> None:
    before = count(door)
    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda _: door.post("/cases", report(), "collector", **{"Idempotency-Key": "race"}), range(20))
        )
    assert {answer.status_code for answer in answers} == {200, 201}
    assert len({answer.json()["no"] for answer in answers}) == 1
    assert sum(answer.status_code == 201 for answer in answers) == 1
    assert count(door) == before + 1


def test_reports_at_once_get_numbers_of_their_own_and_all_are_there(door: Door) -> None:
    before = count(door)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: door.post("/cases", report(10 + n, 20 + n), "collector"), range(48)))
    assert all(answer.status_code == 201 for answer in answers)
    assert len({answer.json()["no"] for answer in answers}) == 48
    assert count(door) == before + 48


def count(door: Door) -> int:
    with door.engine.connect() as conn:
        return int(conn.execute(text("select count(*) from cases.case")).scalar_one())


def test_an_open_case_of_the_class_nearby_is_named_and_nothing_is_merged(door: Door) -> None:
    first = door.post("/cases", report(320, 20), "collector").json()
    near = door.post("/cases", report(325, 20), "collector").json()
    assert first["no"] in [row["no"] for row in near["similar"]]
    assert next(row for row in near["similar"] if row["no"] == first["no"])["distance_m"] == pytest.approx(5, abs=0.1)
    far = door.post("/cases", report(320, 120), "collector").json()
    assert first["no"] not in [row["no"] for row in far["similar"]]
    other = door.post("/cases", report(320, 20, **{"class": "E0101"}), "collector").json()
    assert first["no"] not in [row["no"] for row in other["similar"]]


def test_pages_together_are_the_whole_list_newest_first(door: Door) -> None:
    whole = door.get("/cases", limit=1000).json()
    assert whole["next"] is None
    numbers = [row["no"] for row in whole["items"]]
    assert numbers == sorted(numbers, reverse=True)
    paged: list[int] = []
    after: dict[str, int] = {}
    while True:
        page = door.get("/cases", limit=3, **after).json()
        paged += [row["no"] for row in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert paged == numbers


def test_filters_split_the_list_into_parts_that_add_up(door: Door) -> None:
    whole = {row["no"]: row for row in door.get("/cases", limit=1000).json()["items"]}
    for name, column, values in [
        ("class", "class_code", ["C", "E01"]),
        ("stage", "stage", ["open", "ended"]),
        ("source", "channel", ["collector", "public,video,leader,web,other"]),
        ("area", "cell_code", ["610999001", "610999002"]),
    ]:
        parts = [door.get("/cases", limit=1000, **{name: value}).json()["items"] for value in values]
        assert sum(map(len, parts)) == len(whole), (name, column)
        assert {row["no"] for part in parts for row in part} == set(whole)


def test_days_are_the_citys_and_both_ends_are_included(door: Door) -> None:
    of_march = [row["no"] for row in door.get("/cases", **{"from": "2026-03-02", "to": "2026-03-02"}).json()["items"]]
    assert len(of_march) == 4, "the hamlet's four reports of noon in Shanghai"
    assert not door.get("/cases", **{"from": "2026-03-03", "to": "2026-03-03"}).json()["items"]
    with door.engine.begin() as conn:  # one minute past midnight there is still the day before in UTC
        conn.execute(
            text("update cases.case set reported_at = '2026-03-01T16:01:00Z' where no = :no"), {"no": of_march[0]}
        )
    assert len(door.get("/cases", **{"from": "2026-03-02", "to": "2026-03-02"}).json()["items"]) == 4


def test_a_box_holds_the_cases_that_lie_in_it(door: Door) -> None:
    west, south = degrees(-20, -20).values()
    east, north = degrees(199, 420).values()
    rows = door.get("/cases", bbox=f"{west},{south},{east},{north}", limit=1000).json()["items"]
    assert rows
    assert all(row["cell_code"].startswith("610999001") for row in rows)


# ── components, search, the city ────────────────────────────────────────


def test_a_component_with_its_units_place_and_attributes(door: Door) -> None:
    found = door.get("/components/6109990101000001").json()
    assert found["class"]["name_zh"] == "供水井盖"
    assert found["supervising"]["code"] == "WATER"
    assert found["maintainer"] is None
    assert found["attrs"] == {"材质": "铸铁"}
    assert found["geometry"]["type"] == "Point"
    assert found["geometry"]["coordinates"] == [pytest.approx(found["lon"]), pytest.approx(found["lat"])]
    assert found["areas"][0]["code"] == found["cell_code"][:12]


@pytest.mark.parametrize(
    ("text", "kind", "first"),
    [
        ("610999001002003", "cell", "610999001002003"),
        ("6109990101000001", "component", "6109990101000001"),
        ("610999001002", "area", "610999001002"),
        ("区域610999002001", "area", "610999002001"),
        ("area 610999002001", "area", "610999002001"),
        ("61099901", "component", "6109990101000001"),
    ],
)
def test_codes_and_names_are_found(door: Door, text: str, kind: str, first: str) -> None:
    items = door.get("/search", q=text).json()["items"]
    assert (items[0]["kind"], items[0]["code"]) == (kind, first)
    west, south, east, north = items[0]["bounds"]
    assert west <= items[0]["lon"] <= east
    assert south <= items[0]["lat"] <= north


@pytest.mark.parametrize("text", ["%", "_", "'; drop table x; --", "\\", "没有这个", "9" * 40])
def test_what_is_not_there_is_not_found_and_breaks_nothing(door: Door, text: str) -> None:
    answer = door.get("/search", q=text)
    assert (answer.status_code, answer.json()["items"]) == (200, [])


def test_the_page_learns_the_city_at_once(door: Door) -> None:
    facts = door.get("/city").json()
    assert facts["simulated"] is True
    assert {row["code"] for row in facts["classes"]} == {"C0101", "C0137", "E0101", "E0102"}
    assert [row["no"] for row in next(row for row in facts["classes"] if row["code"] == "E0102")["conditions"]] == [
        1,
        2,
    ]
    west, south, east, north = facts["bounds"]
    assert west < degrees(200, 200)["lon"] < east
    assert south < degrees(200, 200)["lat"] < north
    assert {row["code"] for row in facts["sources"]} == {"collector", "public", "video", "leader", "web", "other"}


def test_health_names_database_migrations_and_calendar(door: Door) -> None:
    answer = door.get("/health")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["status"] == "ok"
    assert found["database"]["postgis"].startswith("3.")
    assert found["migrations"]["pending"] == []
    assert found["calendar"]["days_left"] > 0


def test_health_fails_when_a_migration_is_missing(door: Door) -> None:
    with door.engine.begin() as conn:
        conn.execute(text("update gis.migration set name = 'x' where name = '0007_doors.sql'"))
    try:
        answer = door.get("/health")
        assert answer.status_code == 503
        assert answer.json()["migrations"] == {"status": "failing", "pending": ["0007_doors.sql"]}
    finally:
        with door.engine.begin() as conn:
            conn.execute(text("update gis.migration set name = '0007_doors.sql' where name = 'x'"))


# ── versions ────────────────────────────────────────


def test_an_answer_that_is_known_already_is_not_sent_again(door: Door) -> None:
    for path in ("/cases/20260302000001", "/components/6109990101000001", "/city", "/tiles/cells"):
        first = door.get(path)
        if first.status_code == 404:
            path = f"/cases/{door.get('/cases', limit=1).json()['items'][0]['no']}"
            first = door.get(path)
        with door.client(**{"If-None-Match": first.headers["ETag"]}) as client:
            again = client.get(path)
        assert (again.status_code, again.content) == (304, b""), path
        assert again.headers["ETag"] == first.headers["ETag"]


def test_large_answers_are_packed_and_small_ones_are_not(door: Door) -> None:
    with door.client(**{"Accept-Encoding": "gzip"}) as client:
        assert client.get("/city").headers.get("Content-Encoding") == "gzip"
        assert "Content-Encoding" not in client.get("/session").headers
    with door.client(**{"Accept-Encoding": "identity"}) as client:
        assert "Content-Encoding" not in client.get("/city").headers


@pytest.mark.parametrize("path", ["/cases", "/city", "/tiles/cells", "/", "/nothing"])
def test_a_head_answers_as_a_get_without_its_body(door: Door, path: str) -> None:
    with door.client() as client:
        got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code
    assert head.content == b""
    assert head.headers["Content-Type"] == got.headers["Content-Type"]
    assert head.headers.get("ETag") == got.headers.get("ETag")


def test_one_late_case_does_not_move_the_end_of_the_busy_period(door: Door) -> None:
    door.post("/cases", report(), "collector")
    period = door.get("/city").json()["period"]
    assert period["first_on"] <= period["busy_on"] <= period["last_on"]
