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

from api.labels import roomy_point
from api.legend import NUMBERED, Said, at_level, hot_list, name_of, sources
from api.lettering import Notice
from api.panel import STYLE, Fitting, panels
from api.plot import BUILDING, RAIL, heat_png
from api.sheet import BORDER, CELL, COMMUNITY, GREEN, STREET_CASING, WATER
from gis.crs import GEODETIC, reproject, transform, transformer
from gis.raster import RasterGrid, colour, png, top_of_scale

__all__ = ["Notice", "heat_html", "heat_png"]

WEB = 3857  #: Leaflet's own system: an image must be square-on in it
FINE_M = 0.7  #: lines on the page are simplified by this much at most
SHADES = 120  #: of the density on the page
MAX_LABELS = 300  #: names of a level are written on the page up to this number
MAX_BYTES = 5_000_000  #: buildings and lanes are left out of a page that would grow larger


def heat_html(
    path: Path,
    said: Said,
    *,
    areas: GeoDataFrame,
    barriers: GeoDataFrame,
    surface: npt.NDArray[np.float64],
    grid: RasterGrid,
    top_cells: GeoDataFrame,
) -> None:
    """Write the density, its hottest cells and the city's borders as one HTML file without outside parts.

    The same frames as ``heat_png``; of top_cells NUMBERED are outlined and numbered. Names are escaped. Buildings,
    then lanes, are left out when the file would exceed MAX_BYTES. The file appears complete or not at all.
    """
    areas, barriers, top_cells = (frame.to_crs(grid.srid) for frame in (areas, barriers, top_cells.head(NUMBERED)))
    page = ""
    for left_out in ((), ("building",), ("building", "lane")):
        kept = barriers[~(barriers["kind"].isin(left_out) | barriers["grade"].isin(left_out))]
        city = _page(areas, kept, surface, grid, top_cells)
        root: Any = city.get_root()
        root.title = html.escape(f"{said.title_zh} · {said.title_en}")
        words = panels(said, top_of_scale(surface), hot_list(top_cells, areas), sources(areas, barriers))
        root.html.add_child(folium.Element(words))
        root.header.add_child(folium.Element(STYLE))
        page = root.render()
        if len(page.encode()) <= MAX_BYTES:
            break
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(page, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class OfflineMap(folium.Map):
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
    city = OfflineMap(tiles=None, prefer_canvas=True, attributionControl=False, max_zoom=19, zoom_snap=0.25)
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
            collection = light_features(rows, [_both(row) for row in rows.itertuples()])
            _layer(collection, "borders", tooltip=level == "community", **style).add_to(group)
        named = level == "street" or (level == "district" and len(rows) > 1)
        for row in rows.itertuples() if named and len(rows) <= MAX_LABELS else ():
            _label(row, rows.crs, top_cells, level).add_to(group)
        group.add_to(city)
    words = [f"{cell.code}<br>{int(cell.cases):,} 件 cases" for cell in top_cells.itertuples()]
    style = {"color": CELL, "weight": 2, "fillColor": "#ffffff", "fillOpacity": 0.05}
    cells = folium.FeatureGroup("最热单元网格 Hottest cells")
    if len(top_cells):
        _layer(light_features(top_cells, words), "borders", tooltip=True, **style).add_to(cells)
    for number, spot in enumerate(top_cells.geometry.centroid.to_crs(GEODETIC), start=1):
        lead = f'<svg class="lead" width="1" height="1"><line stroke="{CELL}"/></svg>'
        disc = f'<div class="badge">{number}</div>'  # the page's script moves it off the cell
        badge = DivIcon(icon_size=(0, 0), icon_anchor=(0, 0), html=lead + disc, class_name="number")
        folium.Marker((spot.y, spot.x), icon=badge, interactive=False).add_to(cells)
    cells.add_to(city)
    _Scale().add_to(city)  # type: ignore[no-untyped-call]
    control = folium.LayerControl(collapsed=False, position="topright").add_to(city)
    boxes = top_cells.to_crs(GEODETIC).geometry.bounds[["miny", "minx", "maxy", "maxx"]].to_numpy().round(6).tolist()
    Fitting(control.get_name(), [[south, west], [north, east]], boxes).add_to(city)
    return city


def _label(row: Any, crs: Any, hot: GeoDataFrame, level: str) -> folium.Marker:
    """The name of an area where there is room for it; the page's script hides it at zooms where it does not fit."""
    low_x, _, high_x, _ = row.geometry.bounds
    avoid = shapely.get_coordinates(hot.geometry.centroid.to_numpy())
    spot = roomy_point(row.geometry, avoid, (high_x - low_x) / 4)
    room = (low_x, high_x)
    if level == "street":  # as wide as the area is at that place, or the name would stand in two
        across = shapely.intersection(row.geometry.boundary, shapely.LineString([(low_x, spot[1]), (high_x, spot[1])]))
        half = np.abs(shapely.get_coordinates(across)[:, 0] - spot[0]).min(initial=(high_x - low_x) / 2)
        room = (spot[0] - 1.15 * half, spot[0] + 1.15 * half)
    lon, lat = transform([spot[0], *room], [spot[1]] * 3, crs.to_epsg(), GEODETIC)
    names = dict.fromkeys((name_of(row, True), name_of(row, False)))
    words = "<br>".join(html.escape(name) for name in names if name)
    words = f'<div class="label {level}" data-degrees="{abs(float(lon[2] - lon[1])):.6f}">{words}</div>'
    icon = DivIcon(icon_size=(0, 0), icon_anchor=(0, 0), html=words, class_name="name")
    return folium.Marker((float(lat[0]), float(lon[0])), icon=icon, interactive=False)


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


def light_features(frame: GeoDataFrame, words: list[str]) -> dict[str, Any]:
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
