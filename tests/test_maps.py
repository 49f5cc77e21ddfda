"""The two maps of a small made-up city: they say what they must, and need nobody else to be read."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import matplotlib.image
import numpy as np
import pytest
import shapely
from matplotlib import font_manager

from api.lettering import Lettering, lettering
from api.maps import _heat_image, heat_html, heat_png
from api.plot import hot_list, name_of
from gis.crs import transform
from gis.errors import UnfitFile
from gis.raster import RasterGrid, kernel_density

CITY = 4545
X, Y = 590_000.0, 3_615_000.0
WORDS = {
    "title_zh": "示例市案件热力图",
    "title_en": "Heat of cases, Exampleton",
    "note_zh": "模拟数据",
    "note_en": "simulated",
}


@pytest.fixture(scope="module")
def city() -> SimpleNamespace:
    """Two streets of six communities on both sides of a river, 600 cases around two places."""
    rows, cells = [], []
    for street in range(2):
        for number in range(6):
            left, low = X + 800 * (number % 3), Y + 1600 * street + 800 * (number // 3)
            code = f"61090200{street + 1}00{number + 1}"
            rows.append(
                (
                    code,
                    f"社区{number + 1}",
                    f"Community {number + 1} <{street}>",
                    shapely.box(left, low, left + 800, low + 800),
                )
            )
            for serial in range(64):
                x, y = left + 100 * (serial % 8), low + 100 * (serial // 8)
                cells.append((f"{code}{serial + 1:03d}", shapely.box(x, y, x + 100, y + 100)))
    for street in range(2):
        rows.append(
            (
                f"61090200{street + 1}",
                f"街道{street + 1}",
                f"Street {street + 1}",
                shapely.box(X, Y + 1600 * street, X + 2400, Y + 1600 * street + 1600),
            )
        )
    whole = shapely.box(X, Y, X + 2400, Y + 3200)
    rows += [("610902", "汉滨区", "Hanbin", whole), ("6109", "安康市", None, whole)]
    areas = gpd.GeoDataFrame(rows, columns=["code", "name_zh", "name_en", "geometry"], crs=CITY).assign(
        data_source="made up {{ for }} a test"
    )
    wavy = np.column_stack([np.linspace(X - 100, X + 2500, 80), Y + 1600 + 90 * np.sin(np.linspace(0, 9, 80))])
    ground = [
        ("water", "river", "汉江", "Han River", shapely.LineString(wavy).buffer(90)),
        (
            "green",
            None,
            None,
            None,
            shapely.Point(X + 1800, Y + 700).buffer(220) - shapely.Point(X + 1800, Y + 700).buffer(60),
        ),
    ]
    ground += [
        (
            "street",
            "lane" if step % 4 else ("arterial" if step % 8 == 0 else "street"),
            None,
            None,
            shapely.LineString([(X + 100 * step, Y), (X + 100 * step, Y + 3200)]),
        )
        for step in range(1, 24)
    ]
    ground += [
        (
            "building",
            None,
            None,
            None,
            shapely.box(X + 110 + 100 * a, Y + 120 + 100 * b, X + 170 + 100 * a, Y + 180 + 100 * b),
        )
        for a in range(8)
        for b in range(8)
    ]
    ground.append(("rail", None, None, None, shapely.LineString([(X, Y + 3000), (X + 2400, Y + 2600)])))
    barriers = gpd.GeoDataFrame(ground, columns=["kind", "grade", "name_zh", "name_en", "geometry"], crs=CITY)
    random = np.random.default_rng(7)
    x = np.concatenate([random.normal(X + 700, 120, 400), random.normal(X + 1900, 250, 200)])
    y = np.concatenate([random.normal(Y + 900, 120, 400), random.normal(Y + 2500, 250, 200)])
    grid = RasterGrid.over((X, Y, X + 2400, Y + 3200), 20.0, CITY)
    frame = gpd.GeoDataFrame(cells, columns=["code", "geometry"], crs=CITY)
    frame["cases"] = np.bincount(frame.sindex.query(shapely.points(x, y), predicate="within")[1], minlength=len(frame))
    top = frame.sort_values("cases", ascending=False, kind="stable").head(8)
    return SimpleNamespace(
        areas=areas, barriers=barriers, surface=kernel_density(x, y, grid, 120.0), grid=grid, top_cells=top
    )


def chinese_font() -> Path | None:
    return next((Path(path) for path in font_manager.findSystemFonts() if re.search("wqy|cjk", path.lower())), None)


# ── picture ──


def test_the_picture_is_drawn_and_says_when_chinese_is_left_out(city, tmp_path, monkeypatch) -> None:
    """Without any Chinese font: no glyph warning (warnings are errors), no empty box, and the reason."""
    monkeypatch.setattr("api.lettering._installed", lambda wanted: (None, set()))
    path = tmp_path / "heat.png"
    notice = heat_png(path, **WORDS, **vars(city))
    assert notice is not None
    assert "no installed font" in notice.en
    assert "fonts-wqy-microhei" in notice.zh
    assert matplotlib.image.imread(path).shape == (1530, 2100, 4)
    assert [each.name for each in tmp_path.iterdir()] == ["heat.png"]


@pytest.mark.skipif(chinese_font() is None, reason="no Chinese font on this machine")
def test_the_picture_is_bilingual_where_a_font_is_there(city, tmp_path) -> None:
    assert heat_png(tmp_path / "found.png", **WORDS, **vars(city)) is None
    assert heat_png(tmp_path / "named.png", **WORDS, **vars(city), font=chinese_font()) is None


def test_an_empty_density_is_a_map_too(city, tmp_path) -> None:
    given = {**vars(city), "surface": np.zeros_like(city.surface), "top_cells": city.top_cells.head(0)}
    heat_png(tmp_path / "empty.png", **WORDS, **given)
    heat_html(tmp_path / "empty.html", **WORDS, **given)
    assert (tmp_path / "empty.html").stat().st_size > 100_000


def test_fonts_that_are_none_are_refused(tmp_path) -> None:
    bad = tmp_path / "bad.ttf"
    bad.write_text("no font")
    for font in (bad, tmp_path / "absent.ttf"):
        with pytest.raises(UnfitFile):
            lettering(["模拟"], font)


def test_letters_no_font_has_are_replaced_and_named() -> None:
    plain = Lettering(["DejaVu Sans"], chinese=False, missing={ord("〇"): "?"})
    assert plain.both("汉江", "Han 〇 River") == "Han ? River"
    latin = Path(font_manager.findfont("DejaVu Sans"))
    notice = lettering(["汉江"], latin).notice
    assert notice is not None
    assert "DejaVuSans.ttf lacks them" in notice.en
    assert lettering(["Potomac"]).notice is None


def test_hot_cells_are_placed_by_their_code(city) -> None:
    (code, zh, en, cases), *_ = hot_list(city.top_cells, city.areas)
    assert code.startswith("610902001")
    assert re.fullmatch("街道1 社区[0-9]", zh)
    assert re.fullmatch("Community [0-9] <0>, Street 1", en)
    assert cases == city.top_cells.cases.max()
    assert name_of(SimpleNamespace(code="6109", name_en=None, name_zh=np.nan), True) == "6109"


# ── page ──


class Parts(HTMLParser):
    """What a page asks for, and its words."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.words = ""
        self.inside = ""

    def handle_starttag(self, tag, attrs):
        self.inside = tag
        given = dict(attrs)
        if tag in ("script", "link", "img", "iframe", "source"):
            self.asked += [given[key] for key in ("src", "href") if given.get(key)]

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.words += data


@pytest.fixture(scope="module")
def page(city, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "heat.html"
    words = {**WORDS, "title_en": "Heat </title><script>alert({{ 1 }})</script>"}
    heat_html(path, **words, **vars(city))
    assert path.stat().st_size < 5_000_000
    return path.read_text(encoding="utf-8")


def test_the_page_asks_nobody_for_anything(page) -> None:
    parts = Parts()
    parts.feed(page)
    assert len(parts.asked) == 2  # Leaflet's script and its style sheet
    assert all(address.startswith("data:") for address in parts.asked)
    assert not re.findall(r"url\((?!data:)", page)
    style = base64.b64decode(parts.asked[1].split(",")[1]).decode()
    assert not re.findall(r"url\((?!data:|#)", style)
    assert "@import" not in page + style
    for library in ("jquery", "bootstrap", "awesome", "cdn."):
        assert library not in page.lower()
    outside = [address for address in re.findall(r"https?://[^\s\"'<)]+", page) if "w3.org" not in address]
    assert outside == []


def test_the_page_says_what_it_is(page) -> None:
    parts = Parts()
    parts.feed(page)
    for words in (
        "示例市案件热力图",
        "模拟数据 simulated",
        "每平方公里案件数",
        "cases per km²",
        "街道1 社区",
        "made up {{ for }} a test",
    ):
        assert words in parts.words
    assert "alert({{ 1 }})" in parts.words  # shown, not run
    assert "<script>alert" not in page
    assert "Community 6 \\u0026lt;1\\u0026gt;" in page  # a name with brackets, escaped in its tooltip
    assert "密度 Density" in page or "\\u5bc6\\u5ea6 Density" in page


def test_the_image_lies_where_the_city_is(city) -> None:
    """The hottest pixel of the page's image, read as Leaflet would, is the hottest pixel of the surface."""
    from io import BytesIO

    address, ((south, west), (north, east)) = _heat_image(city.surface, city.grid)
    image = matplotlib.image.imread(BytesIO(base64.b64decode(address.split(",")[1])))
    rows, columns = np.nonzero(image[..., 3] >= image[..., 3].max())
    low, high = transform([west, east], [south, north], 4326, 3857)
    web_x = low[0] + (columns.mean() + 0.5) * (low[1] - low[0]) / image.shape[1]
    web_y = high[1] - (rows.mean() + 0.5) * (high[1] - high[0]) / image.shape[0]
    x, y = transform(web_x, web_y, 3857, CITY)
    row, column = np.unravel_index(city.surface.argmax(), city.surface.shape)
    hot_x = city.grid.west + (column + 0.5) * city.grid.pixel_m
    hot_y = city.grid.north - (row + 0.5) * city.grid.pixel_m
    assert np.hypot(x - hot_x, y - hot_y) < 3 * city.grid.pixel_m


def test_a_page_that_would_be_large_leaves_buildings_out(city, tmp_path, monkeypatch) -> None:
    path = tmp_path / "small.html"
    monkeypatch.setattr("api.maps.MAX_BYTES", 1)
    heat_html(path, **WORDS, **vars(city))
    without = path.stat().st_size
    monkeypatch.setattr("api.maps.MAX_BYTES", 5_000_000)
    heat_html(path, **WORDS, **vars(city))
    assert without < path.stat().st_size


def test_a_city_with_little_ground_and_no_chinese_names_is_drawn(city, tmp_path) -> None:
    """As an open-data city comes: no buildings, no streets, names in one language, areas in degrees."""
    given = {**vars(city), "barriers": city.barriers.head(0), "areas": city.areas.assign(name_zh=None).to_crs(4326)}
    assert heat_png(tmp_path / "plain.png", title_zh="", title_en="Plain", **given) is None or not chinese_font()
    heat_html(tmp_path / "plain.html", title_zh="", title_en="Plain", **given)
    assert "Community 1 \\u0026lt;0\\u0026gt;" in (tmp_path / "plain.html").read_text(encoding="utf-8")
