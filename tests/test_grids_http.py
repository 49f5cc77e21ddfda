"""Editing the grid over HTTP and from the command line: drafts, acts, publishing; who may; nothing else is seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import positive_data_acceptance
from shapely.geometry import box, shape
from sqlalchemy import text
from typer.testing import CliRunner, Result

import api.drafts
from api.cli import app
from api.progress import Stages
from gis.settings import Settings
from tests.doorstep import Door, degrees, opened_door, report
from tests.hamlet import SRID, at
from tests.test_errors import FIELDS
from tests.test_openapi import STATUSES

WEST, EAST = "610999001001", "610999002001"
A, B, C, D = (f"{WEST}00{n}" for n in (1, 2, 3, 4))
EDITOR = "gis_editor"


def line(*points: tuple[float, float]) -> list[list[float]]:
    """A line through places in metres from the hamlet's corner, in degrees."""
    return [list(degrees(*point).values()) for point in points]


@pytest.fixture
def draft(door: Door) -> Iterator[int]:
    """A draft of the south-western community, dropped afterwards if it is still open."""
    number = door.post("/grid/drafts", {"communities": [WEST], "note": "test"}, EDITOR).json()["id"]
    yield number
    with door.client(EDITOR) as client:
        client.delete(f"/grid/drafts/{number}")


def codes(door: Door, number: int) -> list[str]:
    features = door.get(f"/grid/drafts/{number}/cells", EDITOR).json()["features"]
    return [feature["id"] for feature in features]


def sent_back(door: Door, number: int, content: bytes, who: str | None = EDITOR, **query: Any) -> Any:
    with door.client(who) as client:
        headers = {"Content-Type": "application/geopackage+sqlite3"}
        return client.put(f"/grid/drafts/{number}/file", content=content, headers=headers, params=query)


def test_a_draft_goes_out_as_a_geopackage_and_comes_back_through_the_checks(
    door: Door, draft: int, tmp_path: Path
) -> None:
    answer = door.get(f"/grid/drafts/{draft}/file", EDITOR)
    assert answer.headers["content-type"] == "application/geopackage+sqlite3"
    path = tmp_path / "draft.gpkg"
    path.write_bytes(answer.content)
    cells = gpd.read_file(path, layer="cells")
    assert cells.crs.to_epsg() == SRID
    assert sorted(cells["code"]) == codes(door, draft)
    assert sent_back(door, draft, answer.content).json()["errors"] == 0
    cells["geometry"] = [
        box(*at(0, 0), *at(60, 100)) if code == A else cell
        for code, cell in zip(cells["code"], cells.geometry, strict=True)
    ]
    cells.to_file(path, layer="cells")
    stale = sent_back(door, draft, path.read_bytes())
    assert stale.status_code == 409, stale.text
    forced = sent_back(door, draft, path.read_bytes(), force=True)
    assert forced.status_code == 200, forced.text
    assert {fault["rule"] for fault in forced.json()["findings"]} >= {"gap"}
    assert door.post(f"/grid/drafts/{draft}/publish", {"dry": False}, EDITOR).status_code == 422


@pytest.mark.parametrize("content", [b"x", b"SQLite format 3\0" + b"\0" * 3000, b"{}" * 40_000])
def test_a_file_that_is_none_is_refused_and_changes_nothing(door: Door, draft: int, content: bytes) -> None:
    before = door.get(f"/grid/drafts/{draft}/cells", EDITOR).json()
    answer = sent_back(door, draft, content)
    assert answer.status_code == 422
    assert answer.json()["where"]["file"] == f"draft-{draft}.gpkg"
    assert door.get(f"/grid/drafts/{draft}/cells", EDITOR).json() == before


def test_only_editors_send_files(door: Door, draft: int) -> None:
    assert door.get(f"/grid/drafts/{draft}/file", "planner").status_code == 403
    assert sent_back(door, draft, b"x" * 100_000, "planner").status_code == 403
    assert sent_back(door, draft, b"x" * 100_000, None).status_code == 413, "strangers send no large bodies"
    assert sent_back(door, draft, b"x" * 1_000, None).status_code == 401


# ── HTTP ────────────────────────────────────────


def test_a_draft_is_opened_edited_published_and_then_seen(door: Door) -> None:
    opened = door.post("/grid/drafts", {"communities": [EAST], "note": "新路 a new road"}, EDITOR)
    assert opened.status_code == 201
    number = opened.json()["id"]
    assert opened.headers["Location"] == f"/grid/drafts/{number}"
    assert (opened.json()["cells"], opened.json()["errors"]) == (4, 0)
    case = door.post("/cases", report(250, 180), "collector").json()
    assert case["cell"]["code"] == f"{EAST}001"
    path = f"/grid/drafts/{number}"
    done = door.post(f"{path}/split", {"code": f"{EAST}001", "line": line((199, 150), (301, 150))}, EDITOR)
    assert done.status_code == 200, done.text
    assert (done.json()["cells"], done.json()["revision"], done.json()["errors"]) == (5, 1, 0)
    assert codes(door, number) == [f"{EAST}00{n}" for n in (2, 3, 4, 5, 6)]
    assert door.get("/locate", **degrees(250, 180)).json()["cell"]["code"] == f"{EAST}001", "nobody sees the draft"
    before = door.get("/grid/cells", community=EAST).json()
    dry = door.post(f"{path}/publish", {}, EDITOR).json()
    assert dry["committed"] is False
    assert door.get("/grid/cells", community=EAST).json() == before
    with door.engine.connect() as conn:
        instant = conn.scalar(text("select clock_timestamp()")).isoformat()
    done = door.post(f"{path}/publish", {"dry": False, "revision": 1}, EDITOR)
    assert done.status_code == 200, done.text
    told = done.json()
    assert told["committed"] is True
    assert [(moved["no"], moved["from_code"], moved["to_code"]) for moved in told["cases"] if moved["noted"]] == [
        (case["no"], f"{EAST}001", f"{EAST}005")
    ]
    assert door.get("/locate", **degrees(250, 180)).json()["cell"]["code"] == f"{EAST}005"
    read = door.get(f"/cases/{case['no']}").json()
    assert read["cell"]["code"] == f"{EAST}005"
    assert [event["act"] for event in read["events"]] == ["report", "assign"]
    assert door.get("/grid/cells", community=EAST, at=instant).json() == before
    past = door.get(f"/grid/cells/{EAST}001").json()
    assert [kin["code"] for kin in past["versions"][0]["became"]] == [f"{EAST}005", f"{EAST}006"]
    assert past["versions"][0]["until"] is not None
    assert door.post(f"{path}/publish", {"dry": False}, EDITOR).status_code == 409


def test_every_act_answers_with_the_draft_and_what_its_check_finds(door: Door, draft: int) -> None:
    path = f"/grid/drafts/{draft}"
    for act, body, expected in [
        ("border", {"code": A, "other": B, "line": line((90, 99), (90, 201))}, [A, B, C, D]),
        ("merge", {"codes": [C, D]}, [A, B, f"{WEST}005"]),
        ("recode", {"code": A}, [B, f"{WEST}005", f"{WEST}006"]),
        ("recode", {"code": B, "to": f"{WEST}007"}, [f"{WEST}005", f"{WEST}006", f"{WEST}007"]),
        ("class", {"code": f"{WEST}007", "area_class": "C"}, [f"{WEST}005", f"{WEST}006", f"{WEST}007"]),
    ]:
        answer = door.post(f"{path}/{act}", body, EDITOR)
        assert answer.status_code == 200, answer.text
        assert answer.json()["errors"] == 0
        assert codes(door, draft) == expected
    assert door.get(f"{path}/findings", EDITOR).json()["revision"] == 5
    assert [row["id"] for row in door.get("/grid/drafts", EDITOR).json()["items"]] == [draft]
    features = door.get(f"{path}/cells", EDITOR).json()["features"]
    cells = gpd.GeoSeries([shape(feature["geometry"]) for feature in features], crs=4326).to_crs(SRID)
    assert cells.area.sum() == pytest.approx(40_000, abs=1)


@pytest.mark.parametrize("who", [None, "collector", "dispatcher", "unit", "planner", "channel-web"])
def test_only_gis_editors_and_administrators_see_and_change_drafts(door: Door, draft: int, who: str | None) -> None:
    wanted = 401 if who is None else 403
    for answer in (
        door.get("/grid/drafts", who),
        door.get(f"/grid/drafts/{draft}/cells", who),
        door.post("/grid/drafts", {"communities": [EAST]}, who),
        door.post(f"/grid/drafts/{draft}/merge", {"codes": [A, B]}, who),
        door.post(f"/grid/drafts/{draft}/publish", {"dry": False}, who),
    ):
        assert answer.status_code == wanted
    assert door.get(f"/grid/drafts/{draft}", "administrator").status_code == 200


@pytest.mark.parametrize(
    ("act", "body", "status"),
    [
        ("split", {"code": A, "line": line((20, 120), (40, 120))}, 422),
        ("split", {"code": A, "line": [[32.7, 109.0], [32.8, 109.1]]}, 422),
        ("split", {"code": A, "line": [[500_000, 3_600_150], [500_100, 3_600_150]], "crs": 999_999}, 422),
        ("split", {"code": f"{WEST}099", "line": line((0, 1), (1, 1))}, 404),
        ("split", {"code": A, "line": line((0, 150), (100, 150)), "revision": 7}, 409),
        ("merge", {"codes": [A, D]}, 422),
        ("merge", {"codes": [A, f"{EAST}001"]}, 404),
        ("recode", {"code": A, "to": B}, 409),
        ("recode", {"code": A, "to": f"{EAST}050"}, 422),
        ("class", {"code": A, "area_class": "D"}, 422),
        ("border", {"code": A, "other": D, "line": line((0, 150), (100, 150))}, 422),
        ("publish", {"dry": False, "revision": 9}, 409),
    ],
)
def test_what_cannot_be_done_is_refused_in_the_one_shape(
    door: Door, draft: int, act: str, body: Any, status: int
) -> None:
    answer = door.post(f"/grid/drafts/{draft}/{act}", body, EDITOR)
    assert answer.status_code == status, answer.text
    assert tuple(answer.json()) == FIELDS
    assert answer.json()["mend"]
    assert codes(door, draft) == [A, B, C, D]


def test_two_splits_at_once_are_both_there(door: Door, draft: int) -> None:
    bodies = [{"code": A, "line": line((-1, 150), (101, 150))}, {"code": D, "line": line((99, 50), (201, 50))}]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda body: door.post(f"/grid/drafts/{draft}/split", body, EDITOR), bodies))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(codes(door, draft)) == 6
    with ThreadPoolExecutor(2) as pool:
        again = [{"code": B, "area_class": name, "revision": 2} for name in "BC"]
        answers = list(pool.map(lambda body: door.post(f"/grid/drafts/{draft}/class", body, EDITOR), again))
    assert sorted(answer.status_code for answer in answers) == [200, 409]


def test_a_second_draft_of_a_community_is_refused_until_the_first_has_ended(door: Door, draft: int) -> None:
    answer = door.post("/grid/drafts", {"communities": [WEST]}, "administrator")
    assert answer.status_code == 409
    assert answer.json()["where"]["draft"] == str(draft)
    with door.client(EDITOR) as client:
        assert client.delete(f"/grid/drafts/{draft}").status_code == 204
        assert client.delete(f"/grid/drafts/{draft}").status_code == 409
        assert client.delete("/grid/drafts/987654").status_code == 404


def test_an_instant_needs_its_offset(door: Door) -> None:
    assert door.get("/grid/cells", community=WEST, at="2026-03-02T12:00:00").status_code == 422
    assert door.get("/grid/cells", community=WEST, at="1999-03-02T12:00:00Z").json()["features"] == []
    assert door.get(f"/grid/cells/{WEST}099").status_code == 404


def test_as_an_editor_too_everything_is_answered_as_the_document_says(door: Door) -> None:
    headers = {"Authorization": f"Bearer {door.tokens[EDITOR]}"}
    asked: Counter[str] = Counter()

    @settings(
        max_examples=15,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def ask(operation: Any, data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy())
        response = case.call(headers=headers)
        case.validate_response(response, headers=headers, excluded_checks=[positive_data_acceptance])
        assert response.status_code in STATUSES, response.text
        if response.status_code >= 400:
            assert tuple(response.json()) == FIELDS
        asked[operation.label] += 1

    with opened_door(door.engine, door.house.city, "accounts") as closed:  # where nobody reads without an account
        document = schemathesis.openapi.from_url(f"{closed.address}/openapi.json").include(path_regex="^/grid")
        for found in document.get_all_operations():
            ask(found.ok())
    assert len(asked) == 16


# ── the command line ────────────────────────────────────────

Run = Callable[..., Result]


@pytest.fixture
def run(door: Door, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on the door's database; the output is its result."""
    from contextlib import contextmanager

    from rich.console import Console

    @contextmanager
    def on_the_door(*arguments: object, **named: object) -> Iterator[Any]:
        yield door.engine, door.house.city, Stages("en", Console(quiet=True)), None

    monkeypatch.setattr(api.drafts, "opened", on_the_door)
    monkeypatch.setattr("api.cli.read_settings", lambda **_: Settings(language="en"))

    def act(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, ["grid", *words])
        assert result.exit_code == code, result.output
        return result

    return act


def test_a_draft_goes_out_to_a_file_and_comes_back(door: Door, draft: int, run: Run, tmp_path: Path) -> None:
    number, file = str(draft), tmp_path / "draft.gpkg"
    assert "4 cells" in run("draft", "export", number, str(file)).output
    cells = gpd.read_file(file)
    assert set(cells["draft"]) == {draft}
    halves = cells.iloc[[0, 0]].set_geometry([cells.geometry[0].intersection(half) for half in _halves(cells)])
    edited = gpd.GeoDataFrame(pd.concat([cells.iloc[1:], halves]), crs=cells.crs)
    edited.to_file(file, layer="cells", engine="pyogrio")
    assert "5 cells" in run("draft", "import", number, str(file)).output
    assert codes(door, draft) == [B, C, D, f"{WEST}005", f"{WEST}006"], "both halves carried the old code: a split"
    assert "revision" in run("draft", "import", number, str(file), code=1).output
    assert "5 cells" in run("draft", "import", number, str(file), "--force").output


def _halves(cells: gpd.GeoDataFrame) -> list[Any]:
    west, south, east, north = cells.geometry[0].bounds
    return [box(west, south, east, south + 50), box(west, south + 50, east, north)]


def test_every_command_does_what_it_says(door: Door, draft: int, run: Run, tmp_path: Path) -> None:
    number = str(draft)
    points = ", ".join(f"{x} {y}" for x, y in (at(-1, 150), at(101, 150)))
    assert "0 errors" in run("draft", "split", number, A, "--line", points).output
    assert "has no cell" in run("draft", "split", number, A, "--line", points, code=1).output
    run("draft", "merge", number, C, D)
    run("draft", "move-border", number, f"{WEST}005", f"{WEST}006", "--line", points.replace("150.0", "160.0"))
    run("draft", "recode", number, B)
    run("draft", "class", number, f"{WEST}005", "b")
    assert f"{WEST}007" in run("draft", "show", number).output
    assert number in run("draft", "list").output
    out = tmp_path / "findings.gpkg"
    run("draft", "check", number, "--out", str(out))
    assert out.exists()
    assert "dry run" in run("publish", number).output
    assert A in run("history", A).output
    run("draft", "drop", number)
    assert "no draft" in run("draft", "list").output
    opened = run("draft", "open", WEST, "--note", "again").output.split()
    again = opened[1].rstrip(":")
    run("draft", "cut", again)
    assert "--commit" in run("publish", again).output
    run("draft", "drop", again)


@pytest.mark.parametrize("line_words", ["1 2", "1 2, x y", "", "1 2 3, 4 5 6"])
def test_a_line_that_is_none_is_refused_in_words(draft: int, run: Run, line_words: str) -> None:
    result = run("draft", "split", str(draft), A, "--line", line_words, code=1)
    assert "no line" in result.output
    assert "mend" in result.output
