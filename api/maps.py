"""The planner's maps: a picture (api/plot.py) and one HTML file that opens without a network.

The page carries everything in itself: Leaflet from the installed xstatic-leaflet wheel, its style sheet and
icons, our own ground instead of a tile service, the density as one image. Nothing is fetched, so it can be
mailed, archived, or opened on a machine that is cut off. It holds the city's geometry: treat it as such.
"""

from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

import folium
import numpy as np
import numpy.typing as npt
import shapely
from branca.element import MacroElement
from folium.features import DivIcon
from folium.template import Template
from geopandas import GeoDataFrame
from scipy.ndimage import map_coordinates
from xstatic.pkg import leaflet

from api.lettering import Notice
from api.plot import (
    BORDER,
    BUILDING,
    COMMUNITY,
    GREEN,
    LAND,
    RAIL,
    STREET_CASING,
    WATER,
    at_level,
    heat_png,
    hot_list,
    name_of,
    roomy_point,
    sources,
    spread,
)
from gis.crs import GEODETIC, reproject, transform, transformer
from gis.raster import RasterGrid, colour, png, ramp, top_of_scale

__all__ = ["Notice", "heat_html", "heat_png"]

WEB = 3857  #: Leaflet's own system: an image must be square-on in it
FINE_M = 0.7  #: lines on the page are simplified by this much at most
SHADES = 120  #: of the density on the page
MAX_LABELS = 60  #: names of streets are written on the page up to this number
MAX_BYTES = 5_000_000  #: buildings and lanes are left out of a page that would grow larger


def heat_html(
    path: Path,
    *,
    title_zh: str,
    title_en: str,
    note_zh: str | None = None,
    note_en: str | None = None,
    areas: GeoDataFrame,
    barriers: GeoDataFrame,
    surface: npt.NDArray[np.float64],
    grid: RasterGrid,
    top_cells: GeoDataFrame,
) -> None:
    """Write the density, its hottest cells and the city's borders as one HTML file without outside parts.

    The same frames as ``heat_png``; of top_cells all are drawn and five numbered. Names are escaped. Buildings,
    then lanes, are left out when the file would exceed MAX_BYTES. The file appears complete or not at all.
    """
    areas, barriers, top_cells = (frame.to_crs(grid.srid) for frame in (areas, barriers, top_cells))
    page = ""
    for left_out in ((), ("building",), ("building", "lane")):
        kept = barriers[~(barriers["kind"].isin(left_out) | barriers["grade"].isin(left_out))]
        city = _page(areas, kept, surface, grid, top_cells)
        root: Any = city.get_root()
        root.title = html.escape(f"{title_zh} · {title_en}")
        words = _panel(
            title_zh, title_en, note_zh, note_en, surface, hot_list(top_cells, areas), sources(areas, barriers)
        )
        root.html.add_child(folium.Element(words))
        root.header.add_child(folium.Element(_STYLE))
        page = root.render()
        if len(page.encode()) <= MAX_BYTES:
            break
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(page, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class _OfflineMap(folium.Map):
    """A folium map whose only script and style sheet are Leaflet's, carried in the page itself."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.default_js = [("leaflet", _data_url(_leaflet("leaflet.js"), "text/javascript"))]
        self.default_css = [("leaflet_css", _data_url(_leaflet_css(), "text/css"))]


class _Scale(MacroElement):
    """A scale bar in metres and kilometres only."""

    _template = Template(
        "{% macro script(this, kwargs) %}"
        "L.control.scale({imperial: false, maxWidth: 180}).addTo({{ this._parent.get_name() }});"
        "{% endmacro %}"
    )


def _leaflet(name: str) -> bytes:
    return (Path(leaflet.BASE_DIR) / name).read_bytes()


def _leaflet_css() -> bytes:
    """Leaflet's style sheet with its icons inside (a relative address means nothing in a data: URL)."""

    def inside(match: re.Match[str]) -> str:
        return f"url({_data_url(_leaflet(match[1]), 'image/png')})"

    return re.sub(r"url\((images/[\w.-]+)\)", inside, _leaflet("leaflet.css").decode()).encode()


def _data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _page(
    areas: GeoDataFrame,
    barriers: GeoDataFrame,
    surface: npt.NDArray[np.float64],
    grid: RasterGrid,
    top_cells: GeoDataFrame,
) -> folium.Map:
    """The map with its layers, from the ground up, each in a pane of its own height."""
    west, south, east, north = (float(side) for side in areas.to_crs(GEODETIC).total_bounds)
    city = _OfflineMap(tiles=None, prefer_canvas=True, max_zoom=19, zoom_snap=0.25)
    for name, height in (("ground", 210), ("heat", 300), ("borders", 410)):
        folium.map.CustomPane(name, z_index=height, pointer_events=name == "borders").add_to(city)
    ground = folium.FeatureGroup("底图 Ground")
    for kind, grade, style in _GROUND:
        rows = barriers[barriers["kind"] == kind]
        rows = rows if grade is None else rows[rows["grade"] == grade]
        if len(rows):
            geometry = _light(shapely.GeometryCollection(list(rows.geometry)), rows.crs)
            _layer(geometry, "ground", interactive=False, **style).add_to(ground)
    ground.add_to(city)

    address, box = _heat_image(surface, grid)
    folium.raster_layers.ImageOverlay(
        address, box, name="密度 Density", opacity=0.85, pixelated=False, pane="heat"
    ).add_to(city)

    for level, label, style in _LEVELS:
        rows = at_level(areas, level)
        group = folium.FeatureGroup(label)
        if len(rows):
            collection = _features(rows, [_both(row) for row in rows.itertuples()])
            _layer(collection, "borders", tooltip=level == "community", **style).add_to(group)
        for row in rows.itertuples() if level == "street" and len(rows) <= MAX_LABELS else ():
            _label(row, rows.crs, top_cells).add_to(group)
        group.add_to(city)
    words = [f"{cell.code}<br>{int(cell.cases):,} 件 cases" for cell in top_cells.itertuples()]
    style = {"color": "#0b1f33", "weight": 2, "fillColor": "#ffffff", "fillOpacity": 0.05}
    cells = folium.FeatureGroup("最热单元网格 Hottest cells")
    if len(top_cells):
        _layer(_features(top_cells, words), "borders", tooltip=True, **style).add_to(cells)
    spots = top_cells.head(5).geometry.centroid
    screen = np.column_stack([spots.x, -spots.y]) / ((areas.total_bounds[2] - areas.total_bounds[0]) / 900)
    for number, (spot, (right, down)) in enumerate(
        zip(spots.to_crs(GEODETIC), spread(screen, np.zeros((0, 2)), 24.0), strict=True), start=1
    ):
        anchor = (11 - round(right), 11 - round(down))
        badge = DivIcon(icon_size=(22, 22), icon_anchor=anchor, html=f'<div class="badge">{number}</div>')
        folium.Marker((spot.y, spot.x), icon=badge).add_to(cells)
    cells.add_to(city)
    _Scale().add_to(city)  # type: ignore[no-untyped-call]
    folium.LayerControl(collapsed=False, position="topright").add_to(city)
    city.fit_bounds([[south, west], [north, east]], padding_top_left=(10, 30), padding_bottom_right=(260, 10))
    return city


def _label(row: Any, crs: Any, hot: GeoDataFrame) -> folium.Marker:
    """The name of an area, written where there is room for it."""
    low_x, _, high_x, _ = row.geometry.bounds
    avoid = shapely.get_coordinates(hot.head(5).geometry.centroid.to_numpy())
    spot = roomy_point(row.geometry, avoid, (high_x - low_x) / 4)
    lon, lat = (float(axis) for axis in transform(*spot, crs.to_epsg(), GEODETIC))
    names = dict.fromkeys((name_of(row, True), name_of(row, False)))
    words = "<br>".join(html.escape(name) for name in names if name)
    icon = DivIcon(icon_size=(160, 34), icon_anchor=(80, 17), html=f'<div class="label">{words}</div>')
    return folium.Marker((lat, lon), icon=icon, interactive=False)


def _line(tone: str, weight: float, **more: Any) -> dict[str, Any]:
    return {"color": tone, "weight": weight, "fill": False, **more}


def _area(tone: str) -> dict[str, Any]:
    return {"stroke": False, "fillColor": tone, "fillOpacity": 1.0}


_GROUND: tuple[tuple[str, str | None, dict[str, Any]], ...] = (
    ("green", None, _area(GREEN)),
    ("building", None, _area(BUILDING)),
    ("water", None, _area(WATER)),
    ("street", "lane", _line("#e6dfd3", 1)),
    ("street", "street", _line("#d8cebf", 2.2)),
    ("street", "arterial", _line(STREET_CASING, 4)),
    ("rail", None, _line(RAIL, 1.6, dashArray="6 4")),
)
_LEVELS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("community", "社区界 Communities", {"color": COMMUNITY, "weight": 0.8, "fillOpacity": 0.0}),
    ("street", "街道界 Streets", _line(BORDER, 2, dashArray="8 4 2 4", interactive=False)),
    ("district", "区县界 Districts", _line(BORDER, 3, interactive=False)),
)


def _light(geometry: Any, crs: Any) -> Any:
    """GeoJSON in degrees of one geometry: simplified by FINE_M, and 6 decimals (0.1 m)."""
    degrees = reproject(shapely.simplify(geometry, FINE_M), crs.to_epsg(), GEODETIC)
    degrees = shapely.transform(degrees, lambda points: np.round(points, 6))
    return json.loads(shapely.to_geojson(degrees))


def _features(frame: GeoDataFrame, words: list[str]) -> dict[str, Any]:
    """One feature per row, borders simplified together so that neighbours still meet, with its tooltip."""
    shapes = frame.geometry.to_numpy()
    if len(shapes) and shapely.coverage_is_valid(shapes):
        shapes = shapely.coverage_simplify(shapes, FINE_M)
    return {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "id": str(row), "properties": {"words": text}, "geometry": _light(shape, frame.crs)}
            for row, (shape, text) in enumerate(zip(shapes, words, strict=True))
        ],
    }


def _layer(
    data: dict[str, Any],
    pane: str,
    name: str | None = None,
    *,
    tooltip: bool = False,
    interactive: bool = True,
    **style: Any,
) -> folium.GeoJson:
    hint = folium.GeoJsonTooltip(["words"], labels=False, sticky=True) if tooltip else None
    return folium.GeoJson(
        data,
        name=name,
        style_function=lambda _: style,
        tooltip=hint,
        pane=pane,
        interactive=interactive and tooltip,
        smooth_factor=0.8,
    )


def _both(row: Any) -> str:
    """An area's names in both languages and its code, escaped."""
    names = dict.fromkeys((name_of(row, True), name_of(row, False), str(row.code)))
    return "<br>".join(html.escape(name) for name in names if name)


def _heat_image(surface: npt.NDArray[np.float64], grid: RasterGrid) -> tuple[str, list[list[float]]]:
    """The surface as a PNG in Leaflet's projection, and its corners [[south, west], [north, east]]."""
    web_box = transformer(grid.srid, WEB).transform_bounds(*grid.bounds)
    west, south, east, north = (float(side) for side in web_box)
    wide, tall = grid.width, max(round(grid.width * (north - south) / (east - west)), 1)
    web_x = west + (np.arange(wide) + 0.5) * (east - west) / wide
    web_y = north - (np.arange(tall) + 0.5) * (north - south) / tall
    x, y = transform(*np.meshgrid(web_x, web_y), WEB, grid.srid)
    column, row = (x - grid.west) / grid.pixel_m - 0.5, (grid.north - y) / grid.pixel_m - 0.5
    values = map_coordinates(surface, [row, column], order=1, mode="constant", cval=0.0)
    top = top_of_scale(surface)
    steps = np.rint(values / top * SHADES) / SHADES  # no eye tells more apart, and the file is a quarter
    image = _data_url(png(colour(steps, 1.0)), "image/png")
    lon, lat = transform([west, east], [south, north], WEB, GEODETIC)
    return image, [[float(lat[0]), float(lon[0])], [float(lat[1]), float(lon[1])]]


_STYLE = f"""<style>
html, body {{ font-family: system-ui, "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", sans-serif; }}
.folium-map.leaflet-container {{ background: {LAND}; }}
.words {{ position: fixed; z-index: 1000; background: #fffffff0; color: #24292e; border-radius: 6px;
  box-shadow: 0 1px 5px #0004; padding: 10px 14px; font-size: 13px; line-height: 1.45; max-width: 310px; }}
.words h1 {{ font-size: 17px; margin: 0; }} .words h2 {{ font-size: 13px; margin: 0 0 4px; font-weight: 500; }}
.words .note {{ color: #9b1c1c; border: 1px solid #9b1c1c; border-radius: 4px; background: #fff4f2; padding: 3px 7px;
  margin: 6px 0; font-weight: 600; }}
.words .bar {{ height: 12px; border: 1px solid #999; margin-top: 3px; }}
.words .ends {{ display: flex; justify-content: space-between; }}
.words ol {{ margin: 4px 0; padding-left: 20px; }} .words small {{ color: #5c6670; }}
#head {{ top: 10px; left: 54px; }} #legend {{ bottom: 26px; right: 10px; }}
.badge {{ width: 22px; height: 22px; line-height: 22px; border-radius: 50%; background: #0b1f33; color: white;
  text-align: center; font-weight: 700; box-shadow: 0 0 0 1.5px white; }}
.label {{ text-align: center; font-weight: 700; font-size: 12px; line-height: 1.25; color: {BORDER};
  pointer-events: none; text-shadow: 0 0 3px white, 0 0 3px white, 0 0 3px white, 0 0 5px white; }}
@media (max-width: 700px) {{ #legend ol, #legend small {{ display: none; }} .words {{ max-width: 60vw; }} }}
</style>"""


def _panel(
    title_zh: str,
    title_en: str,
    note_zh: str | None,
    note_en: str | None,
    surface: npt.NDArray[np.float64],
    hot: list[tuple[str, str, str, int]],
    source: str,
) -> str:
    """Title, note and legend as HTML; every text escaped (braces too: folium reads the result as a template)."""

    def plain(text: str | None) -> str:
        return html.escape(text or "").replace("{", "&#123;").replace("}", "&#125;")

    shades = ", ".join("rgba({},{},{},{:.2f})".format(*tone[:3], tone[3] / 255) for tone in ramp(np.linspace(0, 1, 12)))
    note = " ".join(part for part in (note_zh, note_en) if part)
    rows = "".join(
        f"<li>{plain(zh)}<br>{plain(en)}<br><small>{plain(code)}</small> <b>{cases:,}</b> 件 cases</li>"
        for code, zh, en, cases in hot
    )
    return f"""
<div class="words" id="head"><h1>{plain(title_zh)}</h1><h2>{plain(title_en)}</h2>
{f'<div class="note">{plain(note)}</div>' if note else ""}</div>
<div class="words" id="legend"><b>案件密度 Density of cases</b><br>
每平方公里案件数，统计期内<br>cases per km² over the period
<div class="bar" style="background: linear-gradient(to right, {shades}), {LAND}"></div>
<div class="ends"><span>0</span><span>≥ {top_of_scale(surface):,g}</span></div>
<ol>{rows}</ol><small>{plain(source)}</small></div>"""
