"""The heat map as a picture: one PNG that explains itself, drawn with matplotlib (imported when used).

Chinese needs a font that has it (api/lettering.py). No window system and no global matplotlib state is used, so
that threads may draw at once.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely
from geopandas import GeoDataFrame

from api.lettering import Lettering, Notice, lettering
from gis.raster import RasterGrid, colour, ramp, top_of_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LAND, OUTSIDE, WATER, GREEN, BUILDING = "#f7f4ee", "#ffffff", "#a8cbe2", "#d3e5c5", "#e4ddd1"
STREET_CASING, RAIL, BORDER, COMMUNITY, INK = "#cbbfae", "#8d8d8d", "#5b2a63", "#8a7590", "#24292e"
DPI = 150
_BADGE = {"boxstyle": "circle,pad=0.28", "fc": "#0b1f33", "ec": "white", "lw": 1.2}
#: grade of a street → width on paper in points
STREETS_PT = {"lane": 0.35, "street": 0.9, "arterial": 1.9}
LEVELS = {"district": 6, "street": 9, "community": 12}  #: digits of an area's code


# ── what both maps say ────────────────────────────────────────


def at_level(areas: GeoDataFrame, level: str) -> GeoDataFrame:
    """The areas of one level, told by the length of their code."""
    return areas[areas["code"].str.len() == LEVELS[level]]


def name_of(row: Any, chinese: bool) -> str:
    """A person's name for an area or a barrier: Chinese if wanted and there, else English, else its code."""
    fields = ("name_zh", "name_en", "code") if chinese else ("name_en", "code")
    values = (getattr(row, column, None) for column in fields)
    return next((str(value) for value in values if isinstance(value, str) and value), "")


def hot_list(top_cells: GeoDataFrame, areas: GeoDataFrame, count: int = 5) -> list[tuple[str, str, str, int]]:
    """Of the first cells: code, place in Chinese and in English (community, street), number of cases."""
    names = {row.code: row for row in areas.itertuples()}
    rows = []
    for cell in top_cells.head(count).itertuples():
        above = [names[cell.code[:digits]] for digits in (9, 12) if cell.code[:digits] in names]
        zh = " ".join(name_of(area, True) for area in above)
        en = ", ".join(name_of(area, False) for area in reversed(above))
        rows.append((str(cell.code), zh, en, int(cell.cases)))
    return rows


def sources(*frames: GeoDataFrame) -> str:
    """Every data source that the frames name, once."""
    found = {
        str(source) for frame in frames if "data_source" in frame for source in frame["data_source"].dropna().unique()
    }
    return "; ".join(sorted(found))


def roomy_point(geometry: shapely.Geometry, avoid: npt.NDArray[np.float64], reach_m: float) -> tuple[float, float]:
    """A point well inside the polygon, off its border and the points to avoid: where its name fits best.

    Of a lattice of points inside, the one whose nearest trouble is farthest; beyond ``reach_m`` none counts.
    """
    parts = shapely.get_parts(geometry)
    largest = parts[shapely.area(parts).argmax()]
    shapely.prepare(largest)
    west, south, east, north = largest.bounds
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(west, east, 40), np.linspace(south, north, 40)))
    inside = shapely.contains_xy(largest, x, y)
    if not inside.any():
        point = shapely.point_on_surface(largest)
        return point.x, point.y
    x, y = x[inside], y[inside]
    room = np.minimum(shapely.distance(largest.boundary, shapely.points(x, y)), reach_m)
    for spot in avoid:
        room = np.minimum(room, 0.6 * np.hypot(x - spot[0], y - spot[1]))
    middle = np.hypot(x - (west + east) / 2, y - (south + north) / 2)
    best = np.argmax(room - 0.05 * middle)
    return float(x[best]), float(y[best])


def spread(points: npt.NDArray[np.float64], busy: npt.NDArray[np.float64], radius: float) -> npt.NDArray[np.float64]:
    """Where to put a label around each point: offsets of this length, each where the least is in the way.

    points, busy: (n, 2) on paper or screen; what is busy, the points themselves and labels already put count.
    """
    turns = np.linspace(0.6, 2 * np.pi + 0.6, 16, endpoint=False)
    ring = radius * np.column_stack([np.cos(turns), np.sin(turns)])
    offsets = np.zeros_like(points)
    for row, point in enumerate(points):
        trouble = np.vstack([busy, points, (points + offsets)[:row]])
        room = np.hypot(*(ring[:, None, :] + point - trouble[None, :, :]).transpose(2, 0, 1)).min(axis=1)
        offsets[row] = ring[room.argmax()]
    return offsets


# ── the picture ───────────────────────────────────────────────


def heat_png(
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
    font: Path | None = None,
) -> Notice | None:
    """Draw the city, the density over it and its hottest cells, with all that a map must say, as a PNG.

    areas, barriers: the frames of the contract, in any system with a name; surface: cases per km² on ``grid``.
    top_cells: code (its first digits are its areas'), cases, geometry; hottest first, five are numbered.
    note: what must stand on the map (模拟数据 / simulated). Returns a notice when Chinese was left out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    areas, barriers, top_cells = (frame.to_crs(grid.srid) for frame in (areas, barriers, top_cells))
    hot = hot_list(top_cells, areas)
    source = sources(areas, barriers)
    texts = [title_zh, title_en, note_zh or "", note_en or "", source, _LEGEND_TEXT]
    for frame in (areas, barriers[barriers["kind"] == "water"]):
        texts += [name for column in ("name_zh", "name_en") for name in frame[column].dropna()]
    letters = lettering(texts, font)

    figure = Figure(figsize=(14, 10.2), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(
        0.02, 0.972, letters.both(title_zh, None), size=21, weight="bold", va="top", family=letters.families, color=INK
    )
    second = {"size": 13.5, "y": 0.935} if letters.chinese else {"size": 21, "y": 0.965, "weight": "bold"}
    figure.text(0.02, s=letters.both(None, title_en), va="top", family=letters.families, color=INK, **second)
    if note_zh or note_en:
        figure.text(
            0.978,
            0.962,
            letters.both(note_zh, note_en),
            size=12,
            weight="bold",
            va="top",
            ha="right",
            family=letters.families,
            color="#9b1c1c",
            linespacing=1.4,
            bbox={"boxstyle": "round,pad=0.5", "fc": "#fff4f2", "ec": "#9b1c1c"},
        )
    top = top_of_scale(surface)
    ax = figure.add_axes((0.02, 0.025, 0.71, 0.865))
    _frame(figure, ax, areas)
    _ground(ax, areas, barriers)
    _heat(ax, areas, surface, grid, top)
    _borders(ax, areas)
    taken = _names(ax, areas, barriers, top_cells.head(5), letters)
    _hot_spots(ax, top_cells.head(5), taken)
    _scale_and_north(ax, letters)
    _legend(figure, top, hot, letters, source, grid.srid)
    part = path.with_name(f".{path.name}.part.png")
    try:
        figure.savefig(part, format="png")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return letters.notice


_LEGEND_TEXT = "案件密度每平方公里数统计期内最热单元网格街道界社区界区县界水域绿地干路支路巷铁路数据来源坐标系，：·≥²"


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


def _fill(ax: Axes, geometries: Any, order: float, **style: Any) -> None:
    from matplotlib.collections import PathCollection

    ax.add_collection(PathCollection(_paths(geometries), zorder=order, **style), autolim=False)


def _stroke(ax: Axes, geometries: Any, order: float, **style: Any) -> None:
    from matplotlib.collections import LineCollection

    lines = shapely.get_parts(np.asarray(geometries, object))
    style = {"capstyle": "round", **style}
    ax.add_collection(
        LineCollection([shapely.get_coordinates(line) for line in lines], zorder=order, **style), autolim=False
    )


def _ground(ax: Axes, areas: GeoDataFrame, barriers: GeoDataFrame) -> None:
    """Parks, buildings, water, rails and streets by grade; what lies outside the city is paled."""
    kinds = {kind: frame for kind, frame in barriers.groupby("kind")}
    for kind, order, fill in (("green", 1.0, GREEN), ("building", 1.1, BUILDING), ("water", 1.2, WATER)):
        if kind in kinds:
            _fill(ax, kinds[kind].geometry, order, facecolor=fill, edgecolor="none")
    if "street" in kinds:
        for grade, width in STREETS_PT.items():
            lines = kinds["street"].loc[kinds["street"]["grade"] == grade, "geometry"]
            _stroke(ax, lines, 1.3 + width / 100, color=STREET_CASING, linewidth=width + 0.7)
            _stroke(ax, lines, 1.4 + width / 100, color="white" if width > 0.5 else "#fdfbf7", linewidth=width)
    if "rail" in kinds:
        _stroke(ax, kinds["rail"].geometry, 1.5, color=RAIL, linewidth=1.6)
        _stroke(ax, kinds["rail"].geometry, 1.51, color="white", linewidth=0.9, linestyle=(0, (5, 5)), capstyle="butt")
    (west, east), (south, north) = ax.get_xlim(), ax.get_ylim()
    view = shapely.box(west, south, east, north)
    _fill(ax, [view - _outline(areas)], 1.6, facecolor=OUTSIDE, alpha=0.72, edgecolor="none")


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
        ("street", 1.1, BORDER, (0, (6, 2.5, 1, 2.5))),
        ("district", 2.0, BORDER, "solid"),
    ):
        frame = at_level(areas, level)
        _fill(ax, frame.geometry, 3 + width / 100, facecolor="none", edgecolor=tone, linewidth=width, linestyle=dash)


def _names(
    ax: Axes, areas: GeoDataFrame, barriers: GeoDataFrame, hot: GeoDataFrame, letters: Lettering
) -> list[tuple[float, float]]:
    """Write the names of districts, streets and rivers beside the hot cells; returns where, in map units."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3.0, foreground="white", alpha=0.9)]
    districts, streets = at_level(areas, "district"), at_level(areas, "street")
    avoid = shapely.get_coordinates(hot.geometry.centroid.to_numpy())
    taken: list[tuple[float, float]] = []
    (west, east), _ = ax.get_xlim(), ax.get_ylim()
    reach_m = (east - west) / 9  # about the size of a name

    def write(row: Any, **style: Any) -> None:
        spot = roomy_point(row.geometry, np.array([*avoid, *taken]).reshape(-1, 2), reach_m)
        text = letters.both(name_of(row, True) if letters.chinese else None, name_of(row, False))
        ax.text(
            *spot, text, ha="center", va="center", family=letters.families, path_effects=halo, linespacing=1.25, **style
        )
        taken.append(spot)

    for row in streets.itertuples() if len(streets) <= 60 else ():
        write(
            row,
            size=10.5 if len(streets) <= 12 else 6,
            color=BORDER,
            weight="bold",
            zorder=5,
        )
    for row in districts.itertuples() if len(districts) > 1 else ():
        write(row, size=13, color=BORDER, weight="bold", zorder=5.1, alpha=0.85)
    waters = barriers[(barriers["kind"] == "water") & (barriers["grade"] == "river") & barriers["name_en"].notna()]
    for _, same in waters.assign(size=waters.area).sort_values("size").groupby("name_en"):
        row = same.iloc[-1]
        write(row, size=10.5, color="#2f6690", style="italic", zorder=4.9)
    return taken


def _hot_spots(ax: Axes, cells: GeoDataFrame, taken: list[tuple[float, float]]) -> None:
    """Outline each cell and put its number beside it, where the least is in the way."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3.2, foreground="white")]
    _fill(ax, cells.geometry, 6, facecolor="none", edgecolor="#0b1f33", linewidth=1.6, path_effects=halo)
    to_pixels = ax.transData.transform
    centres = cells.geometry.centroid
    here = np.array([to_pixels((centre.x, centre.y)) for centre in centres]).reshape(-1, 2)
    busy = np.array([to_pixels(spot) for spot in taken]).reshape(-1, 2)
    away = spread(here, busy, 62.0) * 72 / DPI
    for number, (centre, offset) in enumerate(zip(centres, away, strict=True), start=1):
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
            bbox=_BADGE,
            arrowprops={"arrowstyle": "-", "color": "#0b1f33", "lw": 1.1, "shrinkB": 4},
        )


def _scale_and_north(ax: Axes, letters: Lettering) -> None:
    """A scale bar of a round length at the lower left, an arrow to grid north at the upper right."""
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
    for share in (0.0, 0.5, 1.0):
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
    ax.annotate(
        "N",
        (0.968, 0.975),
        xytext=(0.968, 0.925),
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


def _legend(
    figure: Figure, top: float, hot: list[tuple[str, str, str, int]], letters: Lettering, source: str, srid: int
) -> None:
    """The column beside the map: colours with their unit, signs, the hottest cells, where the data are from."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    ax = figure.add_axes((0.745, 0.025, 0.24, 0.84))
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.axis("off")

    def write(x: float, y: float, text: str, size: float = 9.5, **style: Any) -> None:
        ax.text(x, y, text, size=size, va="top", family=letters.families, linespacing=1.4, **{"color": INK, **style})

    write(0, 0.995, letters.both("案件密度", "Density of cases", "  "), 12, weight="bold")
    write(0, 0.962, letters.both("每平方公里案件数，统计期内", "cases per km² over the period"), 9.5)
    bar = figure.add_axes((0.745, 0.775, 0.21, 0.02))
    bar.set_facecolor(LAND)
    bar.imshow(ramp(np.linspace(0, 1, 256))[None], aspect="auto", extent=(0.0, top, 0.0, 1.0))
    bar.set(yticks=[], xticks=[0, top / 2, top])
    bar.set_xticklabels(["0", f"{top / 2:,g}", f"≥ {top:,g}"], family="DejaVu Sans", size=9)

    signs = [
        (Line2D([], [], color=BORDER, lw=2.0), "区县界", "district border"),
        (Line2D([], [], color=BORDER, lw=1.1, ls=(0, (6, 2.5, 1, 2.5))), "街道界", "street border"),
        (Line2D([], [], color=COMMUNITY, lw=0.6), "社区界", "community border"),
        (Patch(fc="white", ec="#0b1f33", lw=1.6), "最热单元网格", "hottest cells"),
        (Patch(fc=WATER, ec="none"), "水域", "water"),
        (Patch(fc=GREEN, ec="none"), "绿地", "park, green"),
        (Line2D([], [], color=STREET_CASING, lw=2.6), "干路", "arterial"),
        (Line2D([], [], color=STREET_CASING, lw=1.2), "支路、巷", "street, lane"),
    ]
    ax.legend(
        [sign for sign, _, _ in signs],
        [letters.both(zh, en, "  ") for _, zh, en in signs],
        loc="upper left",
        bbox_to_anchor=(-0.03, 0.855),
        frameon=False,
        prop={"family": letters.families, "size": 9.5},
        labelspacing=0.65,
        handlelength=2.2,
        borderpad=0.2,
    )

    y = 0.575
    write(0, y, letters.both("最热单元网格", "Hottest cells", "  "), 12, weight="bold")
    write(0.99, y - 0.004, letters.both("案件", "cases", " "), 9, ha="right")
    y -= 0.042
    for number, (code, zh, en, cases) in enumerate(hot, start=1):
        style: dict[str, Any] = {
            "weight": "bold",
            "color": "white",
            "ha": "center",
            "va": "center",
            "family": "DejaVu Sans",
        }
        ax.text(0.028, y - 0.011, str(number), size=9, bbox=_BADGE, **style)
        lines = [letters.both(zh, None)] if letters.chinese and zh else []
        lines += textwrap.wrap(letters.both(None, en), 36) if en else []
        write(0.085, y, "\n".join([*lines, code]), 8.6)
        write(0.99, y, f"{cases:,}", 10.5, weight="bold", ha="right")
        y -= 0.0235 * (len(lines) + 1) + 0.012
    foot = [letters.both("数据来源", "Data", " ") + ": " + letters.both(None, source)] if source else []
    foot.append(letters.both("坐标系", "System", " ") + f": EPSG:{srid}  ·  Wanmi")
    wrapped = [piece for line in foot for piece in textwrap.wrap(line, 46 if line.isascii() else 40)]
    ax.text(
        0, 0.0, "\n".join(wrapped[:6]), size=7.8, va="bottom", family=letters.families, color="#5c6670", linespacing=1.4
    )
