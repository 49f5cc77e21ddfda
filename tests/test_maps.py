"""The two maps of a small made-up city: they say what they must, and need nobody else to be read."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import matplotlib.image
import numpy as np
import pytest
import shapely
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from api import plot, sheet
from api.labels import boxes_around, clashes
from api.legend import NUMBERED, Said, hot_list, name_of
from api.lettering import Lettering, lettering, wrapped
from api.maps import _heat_image, heat_html, heat_png
from gis.crs import transform
from gis.errors import UnfitFile
from gis.raster import RasterGrid, kernel_density

CITY = 4545
X, Y = 590_000.0, 3_615_000.0
SAID = Said(
    title_zh="示例市案件热力图",
    title_en="Heat of cases, Exampleton",
    note_zh="模拟数据",
    note_en="simulated",
    attribution_zh="数据:示例局(CC BY)",
    attribution_en="Data: Office of <Examples> (CC BY); no warranty.",
    first_on=date(2025, 11, 1),
    last_on=date(2026, 10, 31),
    cases=12345,
    bandwidth_m=150.0,
)


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
    notice = heat_png(path, SAID, **vars(city))
    assert notice is not None
    assert "no installed font" in notice.en
    assert "fonts-wqy-microhei" in notice.zh
    assert matplotlib.image.imread(path).shape[1:] == (2100, 4)
    assert [each.name for each in tmp_path.iterdir()] == ["heat.png"]


@pytest.mark.skipif(chinese_font() is None, reason="no Chinese font on this machine")
def test_the_picture_is_bilingual_where_a_font_is_there(city, tmp_path) -> None:
    assert heat_png(tmp_path / "found.png", SAID, **vars(city)) is None
    assert heat_png(tmp_path / "named.png", SAID, **vars(city), font=chinese_font()) is None


def test_an_empty_density_is_a_map_too(city, tmp_path) -> None:
    given = {**vars(city), "surface": np.zeros_like(city.surface), "top_cells": city.top_cells.head(0)}
    heat_png(tmp_path / "empty.png", SAID, **given)
    heat_html(tmp_path / "empty.html", SAID, **given)
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


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The figures that are saved, kept to be looked at."""
    kept: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *words, **more: (kept.append(self), save(self, *words, **more)))
    return kept


def words_of(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every text written on the sheet beside the map, and the pixels it takes."""
    renderer = figure.canvas.get_renderer()
    return [(text.get_text(), text.get_window_extent(renderer)) for text in figure.texts if text.get_text()]


def test_the_picture_says_period_cases_kernel_and_licence(city, tmp_path, drawn, monkeypatch) -> None:
    monkeypatch.setattr("api.lettering._installed", lambda wanted: (None, set()))
    heat_png(tmp_path / "heat.png", SAID, **vars(city))
    text = "\n".join(words for words, _ in words_of(drawn[0]))
    assert "2025-11-01 – 2026-10-31, 12,345 cases" in text
    assert "kernel density: Gaussian, bandwidth 150 m" in text
    assert "Data: Office of <Examples> (CC BY); no warranty." in text


@pytest.mark.parametrize("stretch", [1.0, 3.2])
def test_the_sheet_follows_the_city_and_nothing_overlaps(city, tmp_path, drawn, monkeypatch, stretch) -> None:
    """A city high and one low: no two texts on each other, none off the sheet, the map filled by the city."""
    monkeypatch.setattr("api.lettering._installed", lambda wanted: (None, set()))
    wider = {
        name: frame.set_geometry(frame.scale(stretch, 1, origin=(X, Y)))
        for name, frame in vars(city).items()
        if isinstance(frame, gpd.GeoDataFrame)
    }
    grid = RasterGrid.over(tuple(wider["areas"].total_bounds), 20.0, CITY)
    given = {**vars(city), **wider, "grid": grid, "surface": np.ones((grid.height, grid.width))}
    heat_png(tmp_path / "heat.png", SAID, **given)
    figure = drawn[0]
    texts = words_of(figure)
    boxes = np.array([box.extents for _, box in texts])
    for row, (words, _) in enumerate(texts):
        assert not clashes(boxes[row : row + 1], np.delete(boxes, row, 0)).any(), words
    assert (boxes[:, :2] > 0).all()
    assert (boxes[:, 2:] < figure.bbox.extents[2:]).all()
    ax = figure.axes[0]
    wide, tall = np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())
    low_x, low_y, high_x, high_y = wider["areas"].total_bounds
    assert (high_x - low_x) * (high_y - low_y) > 0.6 * wide * tall
    assert (figure.get_figheight() < 12) == (stretch > 1)


def test_names_keep_off_each_other_and_off_the_hottest_cells(city, tmp_path, drawn, monkeypatch) -> None:
    monkeypatch.setattr("api.lettering._installed", lambda wanted: (None, set()))
    heat_png(tmp_path / "heat.png", SAID, **vars(city))
    ax, renderer = drawn[0].axes[0], drawn[0].canvas.get_renderer()
    names = [text for text in ax.texts if "Street" in text.get_text() or "River" in text.get_text()]
    assert len(names) == 3
    boxes = np.array([text.get_window_extent(renderer).extents for text in names])
    badges = [text for text in ax.texts if text.get_text() in "12345"]
    assert len(badges) == NUMBERED
    discs = np.array([text.get_bbox_patch().get_window_extent(renderer).extents for text in badges])
    cells = city.top_cells.head(NUMBERED).bounds.to_numpy()
    outlines = np.hstack([ax.transData.transform(cells[:, :2]), ax.transData.transform(cells[:, 2:])])
    for row in range(len(boxes)):
        assert not clashes(boxes[row : row + 1], np.vstack([np.delete(boxes, row, 0), discs, outlines])).any()


def test_a_name_that_fits_nowhere_is_left_out(city) -> None:
    figure = Figure(figsize=(4, 4), dpi=100)
    canvas = FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    plot._frame(figure, ax, city.areas)
    letters = Lettering(["DejaVu Sans"], chinese=False)
    full = np.array([figure.bbox.extents])
    assert plot._names(ax, canvas.get_renderer(), city.areas, city.barriers, full, letters) == []
    some = plot._names(ax, canvas.get_renderer(), city.areas, city.barriers, np.zeros((0, 4)), letters)
    assert some == ["Han River", "Street 1", "Street 2"]
    assert len(ax.texts) == len(some)


def test_the_bar_of_colours_has_no_bands(city, tmp_path, drawn) -> None:
    """From pixel to pixel along the bar no colour jumps."""
    heat_png(tmp_path / "heat.png", SAID, **vars(city))
    image = matplotlib.image.imread(tmp_path / "heat.png")
    left, low, right, high = drawn[0].axes[1].bbox.extents
    line = image[len(image) - round((low + high) / 2), round(left) + 6 : round(right) - 6, :3]
    assert len(np.unique(line, axis=0)) > 0.3 * len(line)
    assert np.abs(np.diff(line, axis=0)).max() < 0.03


def test_boxes_clash_where_they_overlap_only() -> None:
    boxes = boxes_around(np.array([[0.0, 0.0], [10.0, 0.0], [30.0, 0.0]]), 8.0, 4.0)
    assert clashes(boxes, np.array([[-1.0, -1.0, 5.0, 1.0]])).tolist() == [True, False, False]
    assert clashes(boxes, np.zeros((0, 4))).tolist() == [False] * 3


def test_lines_are_broken_between_words_and_chinese_characters() -> None:
    text = "数据:示例市政府;已作加工。 Data: the city's office"
    lines = wrapped(text, 12)
    assert all(len(line) <= 12 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert "office" in lines[-1]
    assert not any(line[0] in "，。；" for line in wrapped("一二三四，五六七八。九十", 8))
    assert wrapped("", 10) == []
    assert wrapped("unbreakable", 4) == ["unbreakable"]


def test_what_is_unknown_is_not_said() -> None:
    bare = Said(title_zh="", title_en="Plain")
    assert bare.period == ("", "")
    assert len(bare.surface) == 1
    letters = Lettering(["DejaVu Sans"], chinese=True)
    assert sheet.foot_lines(bare, "", CITY, letters) == ["坐标系 System: EPSG:4545  ·  Wanmi"]
    assert replace(bare, cases=1).period[1] == "1 case"


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
    heat_html(path, replace(SAID, title_en="Heat </title><script>alert({{ 1 }})</script>"), **vars(city))
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
        "数据:示例局(CC BY)",
        "Data: Office of <Examples> (CC BY); no warranty.",
        "统计期 2025-11-01 – 2026-10-31，案件 12,345 件",
        "2025-11-01 – 2026-10-31, 12,345 cases",
        "kernel density: Gaussian, bandwidth 150 m",
        "高斯核，带宽 150 米",
        "最热单元网格 Hottest cells",
    ):
        assert words in parts.words
    assert "alert({{ 1 }})" in parts.words  # shown, not run
    assert "<script>alert" not in page
    assert "Community 6 \\u0026lt;1\\u0026gt;" in page  # a name with brackets, escaped in its tooltip
    assert "密度 Density" in page or "\\u5bc6\\u5ea6 Density" in page


def test_the_page_outlines_as_many_cells_as_it_numbers(page, city) -> None:
    assert len(city.top_cells) > NUMBERED
    outlined = {code for code in city.top_cells.code if f"{code}\\u003cbr" in page or f"{code}<br>" in page}
    assert outlined == set(city.top_cells.code.head(NUMBERED))
    assert len(re.findall(r'class=\\?"badge\\?"', page)) == NUMBERED
    parts = Parts()
    parts.feed(page)
    assert all(code in parts.words for code in outlined)


def test_the_page_fits_itself_to_the_window(page) -> None:
    """Names carry the room they need, districts of one are not written, the control of layers is folded by width."""
    assert len(re.findall(r'class=\\?"label street\\?" data-degrees', page)) == 2
    assert not re.findall(r'class=\\?"label (district|community)', page)
    assert "window.innerWidth <= 700" in page
    assert "collapsed = true" in page
    assert "@media (max-width: 700px)" in page


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
    heat_html(path, SAID, **vars(city))
    without = path.stat().st_size
    monkeypatch.setattr("api.maps.MAX_BYTES", 5_000_000)
    heat_html(path, SAID, **vars(city))
    assert without < path.stat().st_size


def test_a_city_with_little_ground_and_no_chinese_names_is_drawn(city, tmp_path) -> None:
    """As an open-data city comes: no buildings, no streets, names in one language, areas in degrees."""
    given = {**vars(city), "barriers": city.barriers.head(0), "areas": city.areas.assign(name_zh=None).to_crs(4326)}
    assert heat_png(tmp_path / "plain.png", Said(title_zh="", title_en="Plain"), **given) is None or not chinese_font()
    heat_html(tmp_path / "plain.html", Said(title_zh="", title_en="Plain"), **given)
    assert "Community 1 \\u0026lt;0\\u0026gt;" in (tmp_path / "plain.html").read_text(encoding="utf-8")
