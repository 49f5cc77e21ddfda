"""Editions of the catalogue: a sheet makes a new one, the past keeps its own, nothing is rewritten."""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from api.revising import Review, put_back, review_lines, take_over, write_review, write_sheet
from gis.errors import Conflict, Invalid, NotFound
from layers.catalogue import (
    class_table,
    edition_in_force,
    editions,
    editions_in_force,
    load_catalogue,
    mapped,
    read_class,
    read_edition,
)
from layers.limits import Limit
from layers.revision import differences
from tests.conftest import SHARED
from tests.doorstep import Door, degrees, report
from tests.hamlet import HOME, hamlet
from tests.sheets import EVENTS, HEADER, PARTS, table, workbook

CITY = hamlet()[0]
NATIONAL = ["CJT214-2007", "GBT30428.2-2013", "GBT47678.5-2026"]
CHANGED = [
    ["01", "公用设施", "0101", "供水井盖", "水务", "住建", "缺失", "恢复", "4小时"],
    ["01", "公用设施", "0101", "供水井盖", "水务", "住建", "破损", "更换", "2天"],
    ["01", "公用设施", "0138", "地灯", "照明", "住建", "不亮", "修复", "1天"],
]


def take(conn: Connection, path: Path, *, commit: bool = False, code: str | None = "new", **more: Any) -> Review:
    return take_over(conn, CITY, path, code=code, actor="test", commit=commit, **more)


def said(review: Review) -> str:
    return "\n".join(en for en, _ in review_lines(review))


# ── side by side ────────────────────────────────────────


def test_the_national_editions_lie_beside_the_citys(conn: Connection) -> None:
    rows = {row["code"]: row for row in editions(conn)}
    assert [*rows] == [*NATIONAL, "hamlet"]
    assert [(rows[code]["components"], rows[code]["events"]) for code in NATIONAL] == [(84, 54), (157, 76), (153, 250)]
    assert [code for code, row in rows.items() if row["in_force"]] == ["hamlet"]
    assert edition_in_force(conn) == "hamlet"
    assert edition_in_force(conn, datetime(2026, 1, 2, tzinfo=UTC)) == "hamlet"
    assert edition_in_force(conn, datetime(1990, 1, 1, tzinfo=UTC)) == "hamlet"  # the first one holds before too


def test_no_edition_without_a_city(server: Any, blank: str, worker_id: str) -> None:
    from tests.conftest import copy_database

    engine = server.engine(copy_database(server, blank, f"catalogue_{worker_id}"))
    with engine.connect() as bare, pytest.raises(NotFound):
        edition_in_force(bare)
    engine.dispose()


@pytest.mark.parametrize(
    ("older", "newer"), [(NATIONAL[0], NATIONAL[1]), (NATIONAL[1], NATIONAL[2]), (NATIONAL[0], NATIONAL[2])]
)
def test_each_class_of_a_national_edition_has_its_place_in_the_next(conn: Connection, older: str, newer: str) -> None:
    table_ = mapped(conn, older, newer)
    names = [
        dict(zip(frame["code"], frame["name_zh"], strict=True))
        for frame in (class_table(conn, older), class_table(conn, newer))
    ]
    assert set(table_["from_code"]) == set(names[0])
    for row in table_.itertuples():
        assert (row.to_code is None) == (row.relation == "gone")
        if row.to_code is not None:
            assert row.to_code in names[1]
            assert (names[0][row.from_code] == names[1][row.to_code]) >= (row.relation == "same")
            assert not row.reviewed or row.relation == "same"
    back = mapped(conn, newer, older)
    pairs = {(row.from_code, row.to_code) for row in table_.itertuples() if row.to_code is not None}
    assert {(row.to_code, row.from_code) for row in back.itertuples()} == pairs


def test_what_the_facts_say_of_2013_and_2026(conn: Connection) -> None:
    table_ = mapped(conn, "GBT30428.2-2013", "GBT47678.5-2026").set_index("from_code")
    assert table_.loc["C0101", "to_code"] == "C01001"
    assert table_.loc["E0110", ["to_code", "relation"]].tolist() == ["E06010", "renamed"]
    gone = sorted(table_[table_["relation"] == "gone"].index)
    assert gone == ["C0504", "E0131", "E0205", "E0501", "E0502", "E0503", "E0504", "E0505", "E0506", "E0604"]
    assert mapped(conn, "hamlet", "GBT47678.5-2026").empty


def test_component_classes_carry_their_attributes_and_their_ground(conn: Connection) -> None:
    for edition in NATIONAL:
        of_edition = class_table(conn, edition).set_index("name_zh")
        cover = of_edition.loc["雨水井盖"]
        assert cover["attribute_schema"]["properties"]["diameter_mm"] == {
            "type": "number",
            "title": "直径（毫米） | diameter, mm",
            "minimum": 100,
            "maximum": 3000,
        }
        assert "铸铁" in cover["attribute_schema"]["properties"]["material"]["enum"]
        assert sorted(cover["never_on"]) == ["building", "water"]
        assert of_edition.loc["公共厕所", "never_on"] == ["water"]
        assert of_edition.loc["跨河桥", "never_on"] == ["building"]
    assert class_table(conn, "hamlet")["never_on"].tolist() == [[]] * 4


def test_a_citys_class_has_what_the_national_one_of_its_number_and_name_has(conn: Connection) -> None:
    frames = hamlet()[1]
    classes = frames["classes"].drop(columns=["never_on", "attribute_schema"])
    classes.loc[classes["code"] == "C0137", "name_zh"] = "星灯"
    load_catalogue(conn, "other", frames["majors"], classes, frames["conditions"])
    table_ = class_table(conn, "other").set_index("code")
    assert sorted(table_.loc["C0101", "never_on"]) == ["building", "water"]
    assert "material" in table_.loc["C0101", "attribute_schema"]["properties"]
    assert table_.loc["C0137", ["never_on", "attribute_schema"]].tolist() == [[], {}]


def test_the_demo_citys_catalogue_fits_the_national_one_and_its_own_simulation() -> None:
    national = {row["code"]: row for row in _csv("catalogue/classes.csv") if row["edition"] == "GBT30428.2-2013"}
    own = [row for row in _csv("ankang/classes.csv") if row["code"].startswith("C")]
    for row in own:
        assert [national[row["code"]][name] for name in ("name_zh", "geometry_type", "accuracy_class")] == [
            row[name] for name in ("name_zh", "geometry_type", "accuracy_class")
        ]
    domains = {(row["class_code"], row["attribute"]): row for row in _csv("catalogue/attributes.csv")}
    placed = 0
    for row in _csv("ankang/placement.csv"):
        for part in filter(None, row["attributes"].split(";")):
            name, _, values = part.partition("=")
            domain = domains[row["class_code"], name]
            for value in values.split("|"):
                placed += 1
                if domain["type"] == "string":
                    assert not domain["values"] or value in domain["values"].split("|")
                else:
                    assert float(domain["minimum"]) <= float(value) <= float(domain["maximum"])
    assert placed > 100
    codes = {row["code"] for row in _csv("ankang/classes.csv")}
    first = [row for row in _csv("ankang/mapping.csv") if row["to_edition"] in NATIONAL[:2]]
    assert {row["from_code"] for row in first} == {code for code in codes if not code.startswith("E21")}


def _csv(name: str) -> list[dict[str, str]]:
    with (HOME / "data" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# ── a sheet ────────────────────────────────────────


def test_the_sheet_of_the_edition_in_force_changes_nothing(conn: Connection, tmp_path: Path) -> None:
    before = _everything(conn)
    for path in (workbook(tmp_path / "a.xlsx"), tmp_path / "out.xlsx", tmp_path / "out.csv"):
        if path.stem == "out":
            assert write_sheet(conn, "hamlet", path) == 5
        review = take(conn, path, commit=True)
        assert review.revision.differences.empty
        assert review.since is None
        assert "nothing differs from hamlet" in said(review)
    assert _everything(conn) == before


def _everything(conn: Connection) -> list[Any]:
    names = ("edition", "edition_in_force", "major", "class", "condition", "time_limit", "class_mapping")
    return [
        conn.scalar(text(f"select string_agg(t::text, chr(10) order by t::text) from layers.{name} t"))
        for name in names
    ]


def test_a_dry_run_tells_all_and_writes_nothing(conn: Connection, tmp_path: Path) -> None:
    before = _everything(conn)
    review = take(conn, workbook(tmp_path / "a.xlsx", CHANGED, EVENTS[:2]))
    assert _everything(conn) == before
    rows = {tuple(row) for row in review.revision.differences.itertuples(index=False)}
    assert rows == {
        ("class", "new", "C0138", None, None, None, "地灯"),
        ("class", "gone", "C0137", None, None, "路灯", None),
        ("condition", "new", "C0101", 2, None, None, "破损 2工作日"),
        ("condition", "new", "C0138", 1, None, None, "不亮 1工作日"),
        ("condition", "gone", "E0102", 2, None, "广场 1工作日", None),
        ("condition", "changed", "C0101", 1, "limit", "2紧急工作时", "4工作时"),
        ("condition", "changed", "C0101", 1, "disposal_unit_zh", None, "水务"),
        ("condition", "changed", "C0101", 1, "supervising_unit_zh", None, "住建"),
    }
    words = said(review)
    assert "C0101 / 1  2紧急工作时 → 4工作时" in words
    assert "C0137 street lamp is gone: 2 components and 0 open cases keep what they have; rules without use: -" in words
    assert "rule G2 is for E0102 / 2, which is gone" in words
    assert "--commit puts new in force" in words
    assert all(zh for _, zh in review_lines(review))
    write_review(review, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(rows) + len(review.revision.findings)


def test_what_a_sheet_does_not_say_comes_from_the_editions_that_know_it(conn: Connection, tmp_path: Path) -> None:
    unknown = ["01", "公用设施", "0199", "飞船坞", None, None, "漂移", "系泊", "1天"]
    renamed = ["01", "公用设施", "0137", "星灯", None, None, "灭", "亮", "1天"]
    review = take(conn, workbook(tmp_path / "a.xlsx", [*CHANGED, unknown, renamed], EVENTS), commit=True)
    assert review.since is not None
    table_ = class_table(conn, "new").set_index("code")
    national = class_table(conn, "GBT30428.2-2013").set_index("code")
    kept = ["name_en", "geometry_type", "accuracy_class", "attribute_schema", "never_on"]
    assert table_.loc["C0138", kept].tolist() == national.loc["C0138", kept].tolist()
    assert table_.loc["C0101", "name_en"] == "water cover"  # the city's own words first
    assert table_.loc["C0199", kept].tolist() == ["飞船坞", "Point", "B", {}, []]
    assert table_.loc["C0137", ["name_zh", "name_en", "accuracy_class"]].tolist() == ["星灯", "星灯", "A"]
    assert {found.rule for found in review.revision.findings} >= {"shape_unknown", "renamed"}
    conditions = read_class(conn, "new", "E0102")["conditions"]
    assert [(one["no"], one["condition_en"]) for one in conditions] == [(1, "beside a street"), (2, "on a square")]


def test_one_kind_alone_leaves_the_other_as_it_is(conn: Connection, tmp_path: Path) -> None:
    review = take(conn, table(tmp_path / "部件.csv", CHANGED), commit=True)
    assert "kind_kept" in {found.rule for found in review.revision.findings}
    old, new = (read_edition(conn, edition) for edition in ("hamlet", "new"))
    for name, column in (
        ("majors", "code"),
        ("classes", "code"),
        ("conditions", "class_code"),
        ("limits", "class_code"),
    ):
        parts = [getattr(tables, name) for tables in (old, new)]
        events = [part[part[column].str.startswith("E")].reset_index(drop=True).astype(object) for part in parts]
        assert events[0].equals(events[1]), name


def test_numbers_of_conditions_stay_with_their_words(conn: Connection, tmp_path: Path) -> None:
    rows = [EVENTS[0], [*EVENTS[2][:6], "桥下", "清除", "2小时"], EVENTS[2], EVENTS[1]]
    take(conn, workbook(tmp_path / "a.xlsx", PARTS, rows, merge=()), commit=True)
    conditions = read_class(conn, "new", "E0102")["conditions"]
    assert [(one["no"], one["condition_zh"], one["limits"].get("B")) for one in conditions] == [
        (1, "道路两侧", Limit(4, "work_hour")),
        (2, "广场", Limit(1, "work_day")),
        (3, "桥下", Limit(2, "work_hour")),
    ]


def test_sheets_that_are_exchanged_are_noticed(conn: Connection, tmp_path: Path) -> None:
    parts = [
        ["01", "公用设施", "0101", "私搭乱建", *PARTS[0][4:]],
        ["01", "公用设施", "0102", "暴露垃圾", *PARTS[0][4:]],
    ]
    review = take(conn, workbook(tmp_path / "a.xlsx", parts, None))
    assert [found.rule for found in review.revision.errors] == ["kind_mixed"]


def test_a_sheet_with_an_error_is_refused_whole(conn: Connection, tmp_path: Path) -> None:
    before = _everything(conn)
    path = workbook(
        tmp_path / "a.xlsx", [*CHANGED, ["01", "公用设施", "0139", "景观灯", None, None, "灭", "亮", "立即"]], EVENTS
    )
    with pytest.raises(Invalid) as caught:
        take(conn, path, commit=True)
    assert (caught.value.where["sheet"], caught.value.where["row"]) == ("部件", 5)
    assert _everything(conn) == before


@pytest.mark.parametrize(
    ("code", "error"), [("hamlet", Conflict), ("a/b", Invalid), ("", None), ("mapping", Invalid), ("新", Invalid)]
)
def test_a_code_that_is_taken_or_none_is_refused(
    conn: Connection, tmp_path: Path, code: str, error: type[Exception] | None
) -> None:
    path = workbook(tmp_path / "a.xlsx", CHANGED, EVENTS)
    if error is None:  # the city and the day
        assert take(conn, path, commit=True, code=code).edition.startswith("hamlet-20")
    else:
        with pytest.raises(error):
            take(conn, path, commit=True, code=code)


def test_back_to_an_earlier_edition_and_again(conn: Connection, tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", CHANGED, EVENTS)
    first = take(conn, path, commit=True, code=None).since
    assert first is not None
    day = edition_in_force(conn)
    assert take(conn, path, commit=True).revision.differences.empty
    review = put_back(conn, CITY, "hamlet", actor="test")
    assert edition_in_force(conn) == day
    assert review.since is None
    assert [(row.code, row.fate) for row in review.revision.differences.itertuples() if row.what == "class"] == [
        ("C0137", "new"),
        ("C0138", "gone"),
    ]
    second = put_back(conn, CITY, "hamlet", actor="test", reason="a slip", commit=True).since
    assert second is not None
    assert edition_in_force(conn) == "hamlet"
    assert edition_in_force(conn, first) == edition_in_force(conn, second - timedelta(microseconds=1)) == day
    assert edition_in_force(conn, first - timedelta(microseconds=1)) == "hamlet"
    assert [(row["edition"], row["reason"]) for row in editions_in_force(conn)][1:] == [
        (day, "sheet a.xlsx"),
        ("hamlet", "a slip"),
    ]
    with pytest.raises(Conflict):
        put_back(conn, CITY, "hamlet", actor="test", commit=True)
    with pytest.raises(NotFound):
        put_back(conn, CITY, "nowhere", actor="test", commit=True)
    assert f"'wanmi catalogue use {day}' puts it in force again" in said(take(conn, path, code=None))
    assert take(conn, path, commit=True, code=None).edition == f"{day}-2"
    assert differences(read_edition(conn, day), read_edition(conn, f"{day}-2")).empty


def test_the_new_edition_is_mapped_to_the_old_and_to_the_national_ones(conn: Connection, tmp_path: Path) -> None:
    conn.execute(
        text(
            "insert into layers.class_mapping values "
            "('hamlet', 'C0101', 'GBT47678.5-2026', 'C01001', 'same', true, 'made up')"
        )
    )
    take(conn, workbook(tmp_path / "a.xlsx", CHANGED, EVENTS), commit=True)
    table_ = mapped(conn, "hamlet", "new").set_index("from_code")[["to_code", "relation", "reviewed"]]
    assert table_.loc["C0101"].tolist() == ["C0101", "same", True]
    assert table_.loc["C0137"].tolist() == [None, "gone", False]
    assert mapped(conn, "new", "GBT47678.5-2026")["to_code"].tolist() == ["C01001"]


@pytest.mark.parametrize(
    "statement",
    [
        "update layers.condition set closing_result_zh = 'x'",
        "delete from layers.time_limit",
        "update layers.class set name_zh = 'x'",
        "delete from layers.class where edition = 'GBT30428.2-2013'",
        "update layers.major set name_en = 'x'",
        "update layers.edition_in_force set edition = 'CJT214-2007'",
        "delete from layers.edition_in_force",
        "insert into layers.edition (code, name_zh, name_en, kind, source) values ('a/b', 'x', 'x', 'city', 'x')",
        "insert into layers.edition (code, name_zh, name_en, kind, source) values ('mapping', 'x', 'x', 'city', 'x')",
        "insert into layers.class_mapping values ('hamlet', 'C0101', 'GBT30428.2-2013', 'E0101', 'same', true, 'x')",
        "insert into layers.class_mapping values ('hamlet', 'C0101', 'GBT30428.2-2013', null, 'same', true, 'x')",
        "insert into layers.class_mapping values ('hamlet', 'C0101', 'GBT30428.2-2013', 'C0999', 'same', true, 'x')",
    ],
)
def test_an_edition_is_never_rewritten_and_holds_together(conn: Connection, statement: str) -> None:
    with pytest.raises(IntegrityError), conn.begin_nested():
        conn.execute(text(statement))


# ── the past, over HTTP ────────────────────────────────────────


@pytest.fixture
def revised(door: Door, tmp_path: Path) -> Iterator[str]:
    """The served hamlet with another edition in force; afterwards the first one again."""
    rows = [
        ["01", "市容环境", "0102", "暴露垃圾", None, None, "河边", "清除", "8小时"],
        ["01", "市容环境", "0103", "积存渣土", None, None, "堆放", "清除", "1天"],
    ]
    path = workbook(tmp_path / "a.xlsx", CHANGED, rows)
    with door.engine.begin() as conn:
        code = take(conn, path, commit=True, code=f"new-{tmp_path.name[-4:]}").edition
    yield code
    with door.engine.begin() as conn:
        put_back(conn, CITY, "hamlet", actor="test", commit=True)


def test_answers_about_old_cases_and_components_are_the_same_to_the_byte(door: Door, tmp_path: Path) -> None:
    numbers = [item["no"] for item in door.get("/cases").json()["items"]]
    assert len(numbers) >= 4
    asked = [*(f"/cases/{no}" for no in numbers), "/cases?limit=1000", "/cases?class=E0102"]
    asked += [f"/components/{code}" for code in ("6109990101000001", "6109990137000001", "6109990137000002")]
    before = [door.get(path).content for path in asked]
    limits = [door.get(f"/catalogue/hamlet/classes/{code}").json()["conditions"] for code in ("C0101", "E0102")]
    with door.engine.begin() as conn:
        take(conn, workbook(tmp_path / "a.xlsx", CHANGED, [EVENTS[0]]), commit=True, code="of-a-day")
    try:
        assert [door.get(path).content for path in asked] == before
        assert [
            door.get(f"/catalogue/hamlet/classes/{code}").json()["conditions"] for code in ("C0101", "E0102")
        ] == limits
        assert door.get("/catalogue").json()["in_force"] == "of-a-day"
    finally:
        with door.engine.begin() as conn:
            put_back(conn, CITY, "hamlet", actor="test", commit=True)
    assert [door.get(path).content for path in asked] == before


def test_new_cases_take_the_edition_in_force(door: Door, revised: str) -> None:
    city = door.get("/city").json()
    assert [one["code"] for one in city["classes"]] == ["C0101", "C0138", "E0102", "E0103"]
    body = {**report(), "class": "E0103"}
    opened = door.post("/cases", body, "collector")
    assert opened.status_code == 201, opened.text
    assert opened.json()["class"]["name_zh"] == "积存渣土"
    gone = door.post("/cases", {**report(), "class": "E0101"}, "collector")
    assert gone.status_code == 422
    assert "no class 'E0101'" in gone.json()["detail"]
    assert door.get("/locate", **degrees(50, 150), **{"class": "E0101"}).status_code == 422
    again = door.post("/cases", {**report(), "class": "E0102", "condition": 3}, "collector")
    assert again.status_code == 201, again.text
    assert door.get(f"/cases/{again.json()['no']}").json()["condition"]["condition_zh"] == "河边"
    assert door.post("/cases", {**report(), "class": "E0102", "condition": 1}, "collector").status_code == 422
    with door.engine.connect() as conn:
        kept = conn.scalar(text("select edition from cases.case where no = :no"), {"no": again.json()["no"]})
    assert kept == revised


def test_a_component_of_the_old_edition_may_be_named_by_what_its_class_is_now(door: Door, revised: str) -> None:
    asked = {**degrees(150, 50), "class": "C0138", "component": "6109990137000001"}
    assert door.get("/locate", **asked).status_code == 422
    with door.engine.begin() as conn:
        conn.execute(
            text("insert into layers.class_mapping values ('hamlet', 'C0137', :to, 'C0138', 'renamed', true, 'test')"),
            {"to": revised},
        )
    assert door.get("/locate", **asked).status_code == 200


def test_two_at_once_make_one_edition(door: Door, tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", CHANGED, EVENTS)
    done: list[Review] = []

    def run() -> None:
        with door.engine.begin() as conn:
            done.append(take(conn, path, commit=True, code=None))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(done) == 4
    made = [review.edition for review in done if review.since is not None]
    with door.engine.begin() as conn:
        assert len(made) == 1
        assert edition_in_force(conn) == made[0]
        put_back(conn, CITY, "hamlet", actor="test", commit=True)


def test_the_catalogue_over_http(door: Door, revised: str) -> None:
    listed = door.get("/catalogue").json()
    assert listed["in_force"] == revised
    assert [item["code"] for item in listed["items"]][:4] == [*NATIONAL, "hamlet"]
    assert listed["history"][-1]["edition"] == revised
    one = door.get(f"/catalogue/{revised}/classes/C0101").json()
    assert [limit["zh"] for limit in one["conditions"][0]["limits"]] == ["4工作时"] * 3
    assert [(other["edition"], other["code"], other["relation"]) for other in one["mapping"]] == [
        ("hamlet", "C0101", "same")
    ]
    assert len(door.get("/catalogue/GBT47678.5-2026").json()["classes"]) == 403
    pairs = door.get("/catalogue/mapping", **{"from": NATIONAL[0], "to": NATIONAL[2]}).json()["items"]
    assert {"from_code": "C0107", "to_code": "C01007"}.items() <= next(
        pair for pair in pairs if pair["from_code"] == "C0107"
    ).items()
    for path in ("/catalogue/nowhere", "/catalogue/hamlet/classes/C0999", "/catalogue/mapping?from=hamlet&to=x"):
        problem = door.get(path)
        assert problem.status_code == 404
        assert problem.json()["mend_zh"]
    assert door.get("/catalogue/hamlet/classes/0101").status_code == 422
    assert door.get("/catalogue/mapping").status_code == 422


# ── a whole city's table ────────────────────────────────────────


def test_a_whole_citys_table_is_taken_over(conn: Connection, tmp_path: Path) -> None:
    source = SHARED / "domain" / "yuncheng_conditions.csv"
    if not source.exists():
        pytest.skip("the table of conditions of a whole city is not in ../shared/domain")
    with source.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = ("major_code", "major_name_zh", "code", "minor_name_zh", "disposal_unit", "supervising_authority")
    names += ("filing_condition_zh_own_words", "closing_result_as_written", "limit")  # type: ignore[assignment]
    for row in rows:
        row["code"] = row["major_code"] + row["minor_code"]
        row["limit"] = row["limit_value"] + row["limit_unit_as_written"]
    kinds = [[[row[name] for name in names] for row in rows if row["kind"] == kind] for kind in ("component", "event")]
    path = workbook(tmp_path / "yuncheng.xlsx", *kinds, title="立案、处置、结案标准", merge=range(6))
    assert len(HEADER) == len(names)
    review = take(conn, path, commit=True)
    assert not review.revision.errors
    row = next(row for row in editions(conn) if row["code"] == "new")
    assert (row["components"], row["events"], row["conditions"]) == (92, 98, 519)
    limits = read_edition(conn, "new").limits
    said_limits = sorted((row["limit_value"], row["limit_type"]) for row in rows)
    assert (
        sorted((f"{one.value:g}", one.basis) for one in limits[limits["area_class"] == "A"].itertuples()) == said_limits
    )
    write_sheet(conn, "new", tmp_path / "back.xlsx")
    assert take(conn, tmp_path / "back.xlsx", code=None).revision.differences.empty
