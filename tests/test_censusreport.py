"""The reports of a census run: readable with ten thousand findings, harmless whatever stands in the file."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from rich.cells import cell_len
from shapely import LineString, Point

from api.censuspage import LISTED
from api.censusreport import report_lines, write_geopackage, write_html
from layers.census_report import FATES, CensusReport
from layers.census_rules import RULES
from tests.hamlet import SRID, at, square

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}&\x1b[31m\u202e\n"
SPREAD = [(at(20.0 * (n % 20), 20.0 * (n // 20 % 20))) for n in range(400)]


def findings(many: dict[str, int]) -> gpd.GeoDataFrame:
    """So many findings of each rule on a raster over the hamlet; the first of each has no place and a hostile value."""
    rows = [
        {
            **{"rule": rule, "severity": RULES[rule].severity, "layer": "lamps", "row": n + 1},
            **{"code": None, "class_code": "C0137"},
            **{"field": "OWNER", "value": HOSTILE if n == 0 else f"value {n}", "detail_en": None, "detail_zh": None},
            "geometry": None if n == 0 else Point(SPREAD[n % 400]),
        }
        for rule, number in many.items()
        for n in range(number)
    ]
    columns = ["rule", "severity", "layer", "row", "code", "class_code", "field", "value", "detail_en", "detail_zh"]
    columns += ["geometry"]
    return gpd.GeoDataFrame(pd.DataFrame(rows, columns=columns), geometry="geometry", crs=SRID)


def differences() -> gpd.GeoDataFrame:
    rows = [
        ("moved", "lamps", 4, "6109990137000001", "geometry", None, None, 3.25, LineString([at(5, 5), at(90, 5)])),
        ("changed", "lamps", 5, "6109990137000002", "state", "state: intact", HOSTILE, None, Point(at(50, 50))),
        ("gone", None, None, "6109990137000003", None, None, None, None, square(100, 100, 20)),
        ("new", "lamps", 6, None, None, None, None, None, Point(at(70, 70))),
    ]
    columns = ["fate", "layer", "row", "code", "fields", "before", "after", "moved_m", "geometry"]
    frame = pd.DataFrame(rows, columns=columns).astype(object).assign(class_code="C0137")
    return gpd.GeoDataFrame(frame, geometry="geometry", crs=SRID)


def report(many: dict[str, int] | None = None, classes: int = 2, **more: Any) -> CensusReport:
    many = {"outside": 3, "near_in_file": 5, "height": 1} if many is None else many
    lines = [
        {
            **{"layer": f"layer_{n}", "class_code": f"C{101 + n:04}", "class_zh": f"供水井盖{'盖' * n}"},
            **{"class_en": f"manhole cover no. {n}", **dict.fromkeys(FATES, 0)},
            **{"new": 1234 + n, "changed": 1, "moved": 1, "gone": n, "refused": 3},
        }
        for n in range(classes)
    ]
    fields: dict[str, Any] = {
        **{"file_name": "lamps<b>.gpkg", "city": ("试验村", "Hamlet"), "srid": SRID, "simulated": True},
        **{"committed": False, "census_id": None, "rows": 12_345, "counts": pd.DataFrame(lines), "rules": RULES},
        **{"tally": many, "findings": findings(many), "differences": differences()},
        **{"surveyed": gpd.GeoDataFrame({"name": ["s"]}, geometry=[square(0, 0, 400)], crs=SRID)},
        "seconds": {"read": 1.0},
    }
    return CensusReport(**{**fields, **more})


# ── the terminal ────────────────────────────────────────


def test_the_terminal_says_what_counts_in_both_languages() -> None:
    lines = list(report_lines(report()))
    for language, words in ((0, "dry run simulated next: --commit gone"), (1, "试运行 模拟数据 下一步： 消失 不合格")):
        said = "\n".join(line[language] for line in lines)
        assert [word for word in words.split() if word not in said] == []
        assert "12,345" in said
        assert "\x1b" not in said
        assert all("\n" not in line[language] for line in lines)
    english = "\n".join(line[0] for line in lines)
    assert english.index("outside of the city") < english.index("another row of the class") < english.index("height")
    assert "row 1, C0137, OWNER = </script>" in english


def test_the_columns_stand_below_each_other_with_wide_letters_too() -> None:
    lines = list(report_lines(report(classes=18)))
    for language in (0, 1):
        table = [line[language] for line in lines if line[language].startswith("  ") and "layer" in line[language]][1:]
        assert len({cell_len(line) for line in table}) == 1
        assert len(table) == (18 if language == 0 else 17)  # the English heading has the word, too


def test_ten_thousand_findings_of_every_rule_stay_readable_on_the_terminal() -> None:
    lines = list(report_lines(report(dict.fromkeys(RULES, 300), classes=18)))
    assert len(lines) < 18 + 5 * len(RULES) + 12
    assert max(cell_len(line[language]) for line in lines for language in (0, 1)) < 260


def test_an_import_says_its_number_and_how_to_take_it_back() -> None:
    lines = [line[0] for line in report_lines(report(committed=True, census_id=7))]
    assert "imported, number 7" in lines[0]
    assert any("wanmi census undo 7" in line for line in lines)


# ── HTML ────────────────────────────────────────


class Elements(HTMLParser):
    """Names, attributes and scripts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.inside = ""
        self.rows = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.inside = tag
        self.rows += any(name == "data-at" for name, _ in attrs)

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts.append(data)


def read(path: Path) -> tuple[str, Elements, dict[str, Any]]:
    page = path.read_text(encoding="utf-8")
    elements = Elements()
    elements.feed(page)
    return page, elements, json.loads(elements.scripts[0])


def test_the_page_holds_everything_and_runs_nothing_of_the_file(tmp_path: Path) -> None:
    write_html(report(), tmp_path / "report.html")
    page, elements, data = read(tmp_path / "report.html")
    assert elements.tags.count("script") == 3  # data, Leaflet, ours
    assert "img" not in elements.tags
    assert not [name for name, _ in elements.attributes if name.startswith("on")]
    assert not [value for name, value in elements.attributes if name in ("src", "href") and value != "data:,"]
    outside = set(re.findall(r"https?://[^\s\"'<)]+", page))  # in comments and the attribution of Leaflet, which is off
    assert not [one for one in outside if not re.search("w3.org|leafletjs.com|bugzilla.mozilla.org", one)]
    assert "url(" not in page.replace("url(#", "")
    for words in (
        "模拟数据 simulated",
        "试运行",
        "a dry run",
        "lamps&lt;b&gt;.gpkg",
        "检查映射文件中的坐标系",
        "check the coordinate",
    ):
        assert words in page
    assert [group["many"] for group in data["groups"]] == [3, 5, 1, 1, 2, 2, 2469]
    assert data["groups"][0]["at"][0] is None  # the first has no place
    assert elements.rows == 3 + 5 + 1 + 4
    assert not list(tmp_path.glob(".*"))


def test_two_hundred_thousand_findings_stay_below_three_megabytes(tmp_path: Path) -> None:
    many = {rule: 10_000 if rule == "near_in_file" else 700 for rule in RULES}
    tally = {**many, "near_in_file": 200_000}
    write_html(report(many, classes=18, tally=tally), tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 3_000_000
    page, elements, data = read(tmp_path / "report.html")
    assert elements.rows == LISTED * len(RULES) + 4
    assert "199,800 more in the GeoPackage" in page
    gathered = next(group for group in data["groups"] if group["many"] == 200_000)
    assert sum(number for _, _, number in gathered["gathered"]) == 10_000 - 1  # all but the one without a place
    assert len(gathered["gathered"]) <= 400
    assert len(gathered["at"]) == LISTED


def test_a_report_without_anything_is_a_page_too(tmp_path: Path) -> None:
    empty = report({}, counts=pd.DataFrame(), differences=differences().iloc[:0])
    empty.surveyed = None
    write_html(empty, tmp_path / "report.html")
    _, _, data = read(tmp_path / "report.html")
    assert data == {"groups": [], "listed": LISTED, "below": [], "box": None}
    assert "nothing differs from the inventory" in "\n".join(line[0] for line in report_lines(empty))
    write_geopackage(empty, tmp_path / "report.gpkg")
    assert pyogrio.list_layers(tmp_path / "report.gpkg")[:, 0].tolist() == ["findings_points"]


def test_a_finding_at_the_end_of_the_world_does_not_break_the_page(tmp_path: Path) -> None:
    found = findings({"outside": 3})
    found.loc[1, "geometry"] = Point(1e15, 1e15)
    found.loc[2, "geometry"] = Point(np.inf, np.nan)
    write_html(report({"outside": 3}, findings=found), tmp_path / "report.html")
    _, _, data = read(tmp_path / "report.html")
    assert data["groups"][0]["at"] == [None, None, None]


def test_the_ground_lies_below(tmp_path: Path) -> None:
    areas = gpd.GeoDataFrame({"code": ["610999"]}, geometry=[square(0, 0, 400)], crs=SRID)
    kinds = {"kind": ["water", "street", "green"], "grade": [None, "lane", None]}
    shapes = [square(0, 0, 9), LineString([at(0, 0), at(9, 9)]), square(9, 9, 9)]
    write_html(report(), tmp_path / "r.html", areas=areas, ground=gpd.GeoDataFrame(kinds, geometry=shapes, crs=SRID))
    _, _, data = read(tmp_path / "r.html")
    kinds_drawn = [shape["type"].removeprefix("Multi") for _, shape in data["below"]]
    assert kinds_drawn == ["Polygon", "Polygon", "LineString", "LineString", "LineString"]


# ── GeoPackage ────────────────────────────────────────


def test_the_geopackage_holds_every_finding_and_difference_by_dimension(tmp_path: Path) -> None:
    made = report()
    write_geopackage(made, tmp_path / "report.gpkg")
    names = pyogrio.list_layers(tmp_path / "report.gpkg")
    assert dict(names.tolist()) == {
        "findings_points": "MultiPoint",
        "differences_points": "MultiPoint",
        "differences_lines": "MultiLineString",
        "differences_polygons": "MultiPolygon",
        "surveyed": "Polygon",
    }
    found = pyogrio.read_dataframe(tmp_path / "report.gpkg", layer="findings_points")
    assert found["rule"].tolist() == made.findings["rule"].tolist()
    assert found["value"][0] == HOSTILE
    assert (found["rule_zh"][0], found["rule_en"][0]) == ("位于市域之外", "outside of the city")
    assert found["row"].dtype.kind == "i"
    assert shapely.is_missing(found.geometry.to_numpy()).tolist() == [n == 0 for n in [0, 1, 2, 0, 1, 2, 3, 4, 0]]
    moved = pyogrio.read_dataframe(tmp_path / "report.gpkg", layer="differences_lines")
    assert (moved["moved_m"][0], moved["fate_zh"][0], moved.crs.to_epsg()) == (3.25, "位置变更", SRID)


@pytest.mark.parametrize("name", ["report.html", "report.gpkg"])
def test_a_report_takes_the_place_of_the_last_one(tmp_path: Path, name: str) -> None:
    write = write_html if name.endswith("html") else write_geopackage
    write(report(), tmp_path / name)
    write(report({}), tmp_path / name)
    assert (tmp_path / name).stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [name]
