"""The heat map as a picture: one PNG that explains itself, drawn with matplotlib (imported when used).

Chinese needs a font that has it (api/lettering.py). No window system and no global matplotlib state is used, so
that threads may draw at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely
from geopandas import GeoDataFrame

from api import sheet
from api.labels import Boxes, boxes_around, clashes, largest_part, spots_inside, spread
from api.legend import NUMBERED, Said, at_level, hot_list, name_of, sources
from api.lettering import Lettering, Notice, lettering
from api.sheet import BADGE, BORDER, BORDER_DASH, CELL, COMMUNITY, GREEN, INK, LAND, STREET_CASING, WATER
from gis.raster import RasterGrid, colour, top_of_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OUTSIDE, BUILDING, RAIL = "#ffffff", "#e4ddd1", "#8d8d8d"
DPI = 150
BADGE_PX = 50.0  #: a number with its disc, across
CELL_GAP_PX = 6.0
#: grade of a street → width on paper in points
STREETS_PT = {"lane": 0.35, "street": 0.9, "arterial": 1.9}


def heat_png(
    path: Path,
    said: Said,
    *,
    areas: GeoDataFrame,
    barriers: GeoDataFrame,
    surface: npt.NDArray[np.float64],
    grid: RasterGrid,
    top_cells: GeoDataFrame,
    font: Path | None = None,
) -> Notice | None:
    """Draw the city, the density over it and its hottest cells, with all that a map must say, as a PNG.

    areas, barriers: the frames of the contract, in any system with a name; surface: cases per km² on ``grid``.
    top_cells: code (its first digits are its areas'), cases, geometry; hottest first, NUMBERED are shown.
    Names that fit nowhere are left out. Returns a notice when Chinese was left out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    areas, barriers, top_cells = (frame.to_crs(grid.srid) for frame in (areas, barriers, top_cells.head(NUMBERED)))
    hot = hot_list(top_cells, areas)
    source = sources(areas, barriers)
    texts = [*said.texts, source, sheet.FIXED_WORDS]
    for frame in (areas, barriers[barriers["kind"] == "water"]):
        texts += [name for column in ("name_zh", "name_en") for name in frame[column].dropna()]
    letters = lettering(texts, font)

    low_x, low_y, high_x, high_y = areas.total_bounds
    foot = sheet.foot_lines(said, source, grid.srid, letters)
    page = sheet.divided((high_x - low_x) / (high_y - low_y), hot, foot, letters)
    figure = Figure(figsize=(sheet.WIDTH, page.height), dpi=DPI, facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    pen = sheet.Pen(figure, letters)
    top = top_of_scale(surface)
    left, low, wide, tall = page.map_box
    ax = figure.add_axes((left / sheet.WIDTH, low / page.height, wide / sheet.WIDTH, tall / page.height))
    _frame(figure, ax, areas)
    _ground(ax, areas, barriers)
    _heat(ax, areas, surface, grid, top)
    _borders(ax, areas)
    taken = np.vstack([scale_and_north(ax, _outline(areas), letters), _hot_spots(ax, top_cells)])
    _names(ax, canvas.get_renderer(), areas, barriers, taken, letters)
    sheet.head(pen, page, said)
    sheet.density(pen, page, said, top)
    sheet.signs(pen, page)
    sheet.hottest(pen, page, hot)
    sheet.foot(pen, page)
    part = path.with_name(f".{path.name}.part.png")
    try:
        figure.savefig(part, format="png")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return letters.notice


def _outline(areas: GeoDataFrame) -> shapely.Geometry:
    """The whole city: its coarsest areas together."""
    coarsest = areas["code"].str.len().min()
    return shapely.union_all(areas.loc[areas["code"].str.len() == coarsest, "geometry"].to_numpy())


def _frame(figure: Figure, ax: Axes, areas: GeoDataFrame) -> None:
    """Set the view: the city with a little air, in the shape of the axes."""
    low_x, low_y, high_x, high_y = areas.total_bounds
    box = ax.get_position()
    wide, tall = figure.get_figwidth() * box.width, figure.get_figheight() * box.height
    unit = max((high_x - low_x) / wide, (high_y - low_y) / tall) * 1.04  # metres per inch
    middle_x, middle_y = (low_x + high_x) / 2, (low_y + high_y) / 2
    ax.set_xlim(middle_x - unit * wide / 2, middle_x + unit * wide / 2)
    ax.set_ylim(middle_y - unit * tall / 2, middle_y + unit * tall / 2)
    ax.set(xticks=[], yticks=[], facecolor=LAND)
    for side in ax.spines.values():
        side.set(color="#b5aea2", linewidth=0.8)


def _paths(geometries: Any) -> list[Any]:
    """Matplotlib paths of the polygons among the geometries, holes as holes."""
    from matplotlib.path import Path as Outline

    parts = shapely.get_parts(np.asarray(geometries, object))
    parts = parts[shapely.get_type_id(parts) == 3]
    made = []
    for polygon in shapely.orient_polygons(parts):
        rings = [polygon.exterior, *polygon.interiors]
        made.append(Outline.make_compound_path(*(Outline(np.asarray(ring.coords), closed=True) for ring in rings)))
    return made


def fill(ax: Axes, geometries: Any, order: float, **style: Any) -> None:
    """Draw the polygons among the geometries, holes as holes."""
    from matplotlib.collections import PathCollection

    ax.add_collection(PathCollection(_paths(geometries), zorder=order, **style), autolim=False)


def stroke(ax: Axes, geometries: Any, order: float, **style: Any) -> None:
    """Draw the lines among the geometries."""
    from matplotlib.collections import LineCollection

    lines = shapely.get_parts(np.asarray(geometries, object))
    style = {"capstyle": "round", **style}
    ax.add_collection(
        LineCollection([shapely.get_coordinates(line) for line in lines], zorder=order, **style), autolim=False
    )


def _ground(ax: Axes, areas: GeoDataFrame, barriers: GeoDataFrame) -> None:
    """Parks, buildings, water, rails and streets by grade; what lies outside the city is paled."""
    kinds = {kind: frame for kind, frame in barriers.groupby("kind")}
    for kind, order, tone in (("green", 1.0, GREEN), ("building", 1.1, BUILDING), ("water", 1.2, WATER)):
        if kind in kinds:
            fill(ax, kinds[kind].geometry, order, facecolor=tone, edgecolor="none")
    if "street" in kinds:
        for grade, width in STREETS_PT.items():
            lines = kinds["street"].loc[kinds["street"]["grade"] == grade, "geometry"]
            stroke(ax, lines, 1.3 + width / 100, color=STREET_CASING, linewidth=width + 0.7)
            stroke(ax, lines, 1.4 + width / 100, color="white" if width > 0.5 else "#fdfbf7", linewidth=width)
    if "rail" in kinds:
        stroke(ax, kinds["rail"].geometry, 1.5, color=RAIL, linewidth=1.6)
        stroke(ax, kinds["rail"].geometry, 1.51, color="white", linewidth=0.9, linestyle=(0, (5, 5)), capstyle="butt")
    (west, east), (south, north) = ax.get_xlim(), ax.get_ylim()
    view = shapely.box(west, south, east, north)
    fill(ax, [view - _outline(areas)], 1.6, facecolor=OUTSIDE, alpha=0.72, edgecolor="none")


def _heat(ax: Axes, areas: GeoDataFrame, surface: npt.NDArray[np.float64], grid: RasterGrid, top: float) -> None:
    """The coloured surface, cut at the city's edge."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    west, south, east, north = grid.bounds
    view = ax.axis()
    image = ax.imshow(colour(surface, top), extent=(west, east, south, north), interpolation="bilinear", zorder=2)
    city = PathPatch(Outline.make_compound_path(*_paths([_outline(areas)])), transform=ax.transData)
    image.set_clip_path(city)
    ax.axis(view)
    ax.set_aspect("equal", adjustable="datalim")


def _borders(ax: Axes, areas: GeoDataFrame) -> None:
    """Borders of communities thin, of streets and districts stronger, the city's edge strongest."""
    for level, width, tone, dash in (
        ("community", 0.35, COMMUNITY, "solid"),
        ("street", 1.1, BORDER, BORDER_DASH),
        ("district", 2.0, BORDER, "solid"),
    ):
        frame = at_level(areas, level)
        fill(ax, frame.geometry, 3 + width / 100, facecolor="none", edgecolor=tone, linewidth=width, linestyle=dash)


def _names(
    ax: Axes, renderer: Any, areas: GeoDataFrame, barriers: GeoDataFrame, taken: Boxes, letters: Lettering
) -> list[str]:
    """Write the names of districts, rivers and streets, each where it lies over nothing that is taken.

    A name that fits nowhere is tried in English alone, then smaller, then left out. Returns what was written.
    """
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.6, foreground="white", alpha=0.9)]
    (west, east), _ = ax.get_xlim(), ax.get_ylim()
    px_per_m = ax.bbox.width / (east - west)
    frame = np.array(ax.bbox.extents) + np.array([6.0, 6.0, -6.0, -6.0])
    districts, streets = at_level(areas, "district"), at_level(areas, "street")
    few = len(streets) <= 12  #: then every one is named, if need be across its border
    written: list[str] = []

    def write(row: Any, sizes: tuple[float, ...], within: bool, steps: int, **style: Any) -> None:
        nonlocal taken
        relaxed = few and within
        polygon = largest_part(row.geometry)
        spots, fitness = spots_inside(polygon, np.zeros((0, 2)), (east - west) / 9, steps)
        pixels = ax.transData.transform(spots)
        both = letters.both(name_of(row, True) if letters.chinese else None, name_of(row, False))
        for size, strict in [*((size, within) for size in sizes), (sizes[-1], False)][: len(sizes) + relaxed]:
            for text in dict.fromkeys((both, letters.both(None, name_of(row, False)))):
                x, y = spots[0]
                label = ax.text(x, y, text, size=size, ha="center", va="center", family=letters.families, **style)
                label.set(path_effects=halo, linespacing=1.2)
                extent = label.get_window_extent(renderer)
                boxes = boxes_around(pixels, extent.width + 8, extent.height + 6)
                free = ~clashes(boxes, taken) & (boxes[:, :2] >= frame[:2]).all(1) & (boxes[:, 2:] <= frame[2:]).all(1)
                if strict:  # most of the name in its own area
                    reach = 0.36 * extent.width / px_per_m
                    for side in (-reach, reach):
                        free &= shapely.contains_xy(polygon, spots[:, 0] + side, spots[:, 1])
                if free.any():
                    best = np.where(free, fitness, -np.inf).argmax()
                    label.set_position((float(spots[best, 0]), float(spots[best, 1])))
                    taken = np.vstack([taken, boxes[best]])
                    written.append(text)
                    return
                label.remove()

    for row in districts.itertuples() if len(districts) > 1 else ():
        write(row, (13, 11), False, 40, color=BORDER, weight="bold", zorder=5.1, alpha=0.85)
    waters = barriers[(barriers["kind"] == "water") & (barriers["grade"] == "river") & barriers["name_en"].notna()]
    for _, same in waters.assign(size=waters.area).sort_values("size").groupby("name_en"):
        write(same.iloc[-1], (10.5, 9), False, 90, color="#2f6690", style="italic", zorder=4.9)
    sizes = (10.5, 9, 8) if few else (7, 6)
    for row in streets.itertuples():
        write(row, sizes, True, 40, color=BORDER, weight="bold", zorder=5)
    return written


def _hot_spots(ax: Axes, cells: GeoDataFrame) -> Boxes:
    """Outline each cell and put its number beside it, clear of the other cells; returns the pixels they take."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3.2, foreground="white")]
    fill(ax, cells.geometry, 6, facecolor="none", edgecolor=CELL, linewidth=1.6, path_effects=halo)
    to_pixels = ax.transData.transform
    bounds = cells.geometry.bounds.to_numpy().reshape(-1, 4)
    outlines = np.hstack([to_pixels(bounds[:, :2]) - CELL_GAP_PX, to_pixels(bounds[:, 2:]) + CELL_GAP_PX])
    centres = cells.geometry.centroid
    here = to_pixels(np.column_stack([centres.x, centres.y])).reshape(-1, 2)
    away = spread(here, np.zeros((0, 2)), 62.0)
    for number, (centre, offset) in enumerate(zip(centres, away * 72 / DPI, strict=True), start=1):
        ax.annotate(
            str(number),
            (centre.x, centre.y),
            xytext=(float(offset[0]), float(offset[1])),
            textcoords="offset points",
            ha="center",
            va="center",
            size=11,
            weight="bold",
            color="white",
            zorder=7,
            family="DejaVu Sans",
            bbox=BADGE,
            arrowprops={"arrowstyle": "-", "color": CELL, "lw": 1.1, "shrinkB": 4},
        )
    leaders = boxes_around(np.vstack([here + away * part for part in (0.3, 0.5, 0.7)]), 10.0, 10.0)
    return np.vstack([outlines, leaders, boxes_around(here + away, BADGE_PX, BADGE_PX)])


def scale_and_north(ax: Axes, city: shapely.Geometry, letters: Lettering, *, halved: bool = True) -> Boxes:
    """A scale bar of a round length at the lower left, an arrow to grid north in a free corner; their pixels.

    halved: its middle has a number too, for which a small map has no room.
    """
    from matplotlib.patches import Rectangle

    (west, east), (south, north) = ax.get_xlim(), ax.get_ylim()
    wide, tall = east - west, north - south
    digits = 10 ** np.floor(np.log10(wide / 5))
    length = float(max(step * digits for step in (1, 2, 5) if step * digits <= wide / 5))
    x, y, thick = west + 0.025 * wide, south + 0.03 * tall, 0.006 * tall
    ax.add_patch(
        Rectangle(
            (x - 0.01 * wide, y - 0.014 * tall),
            length + 0.045 * wide,
            0.05 * tall,
            fc="white",
            ec="none",
            alpha=0.8,
            zorder=8,
        )
    )
    for half, tone in ((0, INK), (1, "white")):
        ax.add_patch(Rectangle((x + half * length / 2, y), length / 2, thick, fc=tone, ec=INK, lw=0.8, zorder=8.1))
    for share in (0.0, 0.5, 1.0) if halved else (0.0, 1.0):
        metres = length * share
        text = (
            f"{metres / 1000:g}" + (" km" if share == 1 else "")
            if length >= 1000
            else f"{metres:g}" + (" m" if share == 1 else "")
        )
        ax.text(
            x + metres,
            y + 2.2 * thick,
            text,
            size=8.5,
            ha="center",
            va="bottom",
            color=INK,
            zorder=8.1,
            family=letters.families,
        )
    corner = np.array([0.06 * wide, 0.11 * tall])
    spots = [np.array([share_x, share_y]) for share_x, share_y in ((0.968, 0.975), (0.032, 0.975), (0.968, 0.09))]
    heads = [np.array([west + share_x * wide, south + share_y * tall]) for share_x, share_y in spots]
    boxes = [shapely.box(x - corner[0] / 2, y - corner[1] * 0.8, x + corner[0] / 2, y) for x, y in heads]
    clear = ~shapely.intersects(city, boxes)
    free = int(clear.argmax())  # the first corner when none is
    ax.annotate(
        "N",
        tuple(spots[free]),
        xytext=(spots[free][0], spots[free][1] - 0.5 / ax.get_window_extent().height * DPI),
        xycoords="axes fraction",
        ha="center",
        va="center",
        size=13,
        weight="bold",
        color=INK,
        zorder=8,
        family="DejaVu Sans",
        arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.6, "mutation_scale": 16},
    )
    scale = [x - 0.01 * wide, y - 0.014 * tall, x + length + 0.035 * wide, y + 0.036 * tall]
    return np.asarray(ax.transData.transform(np.reshape([scale, boxes[free].bounds], (-1, 2))).reshape(-1, 4))
