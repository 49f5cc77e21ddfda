"""A sheet of paper with a map at a round scale: its size, frame, coordinates in the margin, ground and labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from geopandas import GeoDataFrame

from api.labels import Boxes, clashes, largest_part, spots_inside
from api.lettering import Lettering
from api.plot import BUILDING, DPI, RAIL, fill, stroke
from api.sheet import GREEN, INK, LAND, STREET_CASING, WATER
from gis.errors import UnfitFile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

A4_IN, A3_IN = (8.27, 11.69), (11.69, 16.54)
#: denominators of scales that a ruler has
SCALES = (
    500,
    750,
    1000,
    1250,
    1500,
    2000,
    2500,
    3000,
    4000,
    5000,
    6000,
    7500,
    10_000,
    12_500,
    15_000,
    20_000,
    25_000,
    50_000,
)
LARGEST_ON_A4 = 5000  #: a smaller scale wants A3
METRES_AN_INCH = 0.0254
WALL = "#9a8f7f"
FORMATS = (".pdf", ".png")


@dataclass(frozen=True)
class Paper:
    """A sheet and the map on it, in inches from the lower left corner."""

    width: float
    height: float
    name: str  #: A4, A3
    box: tuple[float, float, float, float]  #: of the map: left, low, width, height
    scale: int  #: denominator
    window: tuple[float, float, float, float]  #: of the map: west, south, east, north in metres


def laid_out(bounds: tuple[float, float, float, float], *, side: float, head: float, foot: float) -> Paper:
    """The sheet on which a place is shown at the largest round scale: A4 if that is enough, else A3.

    bounds: west, south, east, north in metres; side, head, foot: margins around the map in inches.
    """
    west, south, east, north = bounds
    found: list[tuple[int, float, Paper]] = []
    for name, (short, long) in (("A4", A4_IN), ("A3", A3_IN)):
        for width, height in ((short, long), (long, short)):
            wide, tall = width - 2 * side, height - head - foot
            need = 1.04 * max((east - west) / wide, (north - south) / tall) / METRES_AN_INCH
            scale = next((step for step in SCALES if step >= need), int(np.ceil(need / 50_000) * 50_000))
            half_x, half_y = wide * METRES_AN_INCH * scale / 2, tall * METRES_AN_INCH * scale / 2
            x, y = (west + east) / 2, (south + north) / 2
            window = (x - half_x, y - half_y, x + half_x, y + half_y)
            unlike = abs(float(np.log((wide / tall) / ((east - west) / (north - south)))))
            found.append((scale, unlike, Paper(width, height, name, (side, foot, wide, tall), scale, window)))
        best = min(found, key=lambda sheet: sheet[:2])
        if best[0] <= LARGEST_ON_A4:
            break
    return best[2]


def format_of(path: Path) -> str:
    """pdf or png, by the extension; UnfitFile for another, or when its folder is not there."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS or not path.parent.is_dir():
        there = path.parent.is_dir()
        raise UnfitFile(
            f"{path.name} is neither a PDF nor a PNG" if there else f"there is no folder {path.parent}",
            f"{path.name} 不是 PDF 或 PNG 文件名" if there else f"目录 {path.parent} 不存在",
            mend="end the name in .pdf or .png, in a folder that is there",
            mend_zh="请使用 .pdf 或 .png 扩展名，并确认目录存在",
            file=path,
        )
    return suffix[1:]


def save(figure: Figure, path: Path) -> None:
    """Write the figure beside its place and rename it: whole or not at all. Nothing in the file tells the time."""
    kind = format_of(path)
    part = path.with_name(f".{path.name}.part.{kind}")
    about = {"CreationDate": None} if kind == "pdf" else {}
    try:
        figure.savefig(part, format=kind, dpi=DPI, metadata=about)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def map_axes(figure: Figure, paper: Paper) -> Axes:
    """The axes of the map, at scale, with a frame and no ticks."""
    left, low, wide, tall = paper.box
    ax = figure.add_axes((left / paper.width, low / paper.height, wide / paper.width, tall / paper.height))
    west, south, east, north = paper.window
    ax.set(xlim=(west, east), ylim=(south, north), xticks=[], yticks=[], facecolor=LAND)
    for edge in ax.spines.values():
        edge.set(color=INK, linewidth=1.0)
    return ax


def coordinates(ax: Axes, paper: Paper) -> None:
    """Ticks and numbers of the grid in the margin, and small crosses where its lines meet."""
    west, south, east, north = paper.window
    step = next(step for step in (50, 100, 200, 250, 500, 1000, 2000, 5000, 10_000) if (east - west) / step <= 8)
    xs, ys = np.arange(np.ceil(west / step), east / step) * step, np.arange(np.ceil(south / step), north / step) * step
    _, _, wide, tall = paper.box
    style: dict[str, Any] = {"family": "DejaVu Sans", "size": 6, "color": INK, "clip_on": False}
    inch = paper.scale * METRES_AN_INCH
    for x in xs:
        if 0.3 * inch < x - west < (wide - 0.3) * inch:
            ax.text(x, south - 0.05 * inch, f"{x:.0f}", ha="center", va="top", **style)
            ax.text(x, north + 0.05 * inch, f"{x:.0f}", ha="center", va="bottom", **style)
    for y in ys:
        if 0.4 * inch < y - south < (tall - 0.4) * inch:
            ax.text(west - 0.05 * inch, y, f"{y:.0f}", ha="right", va="center", rotation=90, **style)
            ax.text(east + 0.05 * inch, y, f"{y:.0f}", ha="left", va="center", rotation=90, **style)
    x, y = (axis.ravel() for axis in np.meshgrid(xs, ys))
    ax.plot(x, y, "+", color=INK, markersize=5, markeredgewidth=0.5, alpha=0.6, zorder=2.5)
    ax.set(xlim=(west, east), ylim=(south, north))


def points_wide(metres: float, paper: Paper) -> float:
    """A width on the ground in points on paper."""
    return metres / METRES_AN_INCH / paper.scale * 72


def ground(ax: Axes, barriers: GeoDataFrame, paper: Paper, inside: shapely.Geometry) -> None:
    """Parks, water, buildings, walls, rails and streets at their true width; what is not ``inside`` is paled."""
    kinds = {kind: frame for kind, frame in barriers.groupby("kind")}
    for kind, order, tone, edge in (
        ("green", 1.0, GREEN, "none"),
        ("water", 1.1, WATER, "#7fb0cf"),
        ("building", 1.5, BUILDING, "#bfb3a0"),
    ):
        if kind in kinds:
            fill(ax, kinds[kind].geometry, order, facecolor=tone, edgecolor=edge, linewidth=0.3)
    if "street" in kinds:
        streets = kinds["street"]
        widths = streets["width_m"].fillna(6.0).clip(lower=3.0)
        for casing in (True, False):
            for width, frame in streets.groupby(widths.round(0)):
                pt = max(points_wide(float(width), paper), 0.7)
                tone = STREET_CASING if casing else "white"
                stroke(ax, frame.geometry, 1.2 if casing else 1.3, color=tone, linewidth=pt + 0.8 * casing)
                fill(ax, frame.geometry, 1.2, facecolor="white", edgecolor=STREET_CASING, linewidth=0.4)
    if "rail" in kinds:
        stroke(ax, kinds["rail"].geometry, 1.4, color=RAIL, linewidth=2.2)
        stroke(ax, kinds["rail"].geometry, 1.41, color="white", linewidth=1.2, linestyle=(0, (5, 5)), capstyle="butt")
    if "wall" in kinds:
        stroke(ax, kinds["wall"].geometry, 1.6, color=WALL, linewidth=0.7)
    west, south, east, north = paper.window
    outside = shapely.difference(shapely.box(west, south, east, north), inside)
    fill(ax, [outside], 1.8, facecolor="white", alpha=0.6, edgecolor="none")


class Labels:
    """Texts that lie over nothing that is taken."""

    def __init__(self, ax: Axes, renderer: Any, letters: Lettering, taken: Boxes) -> None:
        self.ax, self.renderer, self.letters = ax, renderer, letters
        self.taken = taken
        self.frame = np.array(ax.bbox.extents) + np.array([4.0, 4.0, -4.0, -4.0])

    def inside(self, polygon: Any, text: str, sizes: tuple[float, ...], *, fit: bool = True, **style: Any) -> bool:
        """Write the text in the polygon where there is most room, as large as it fits; whether it did.

        fit: the whole text must lie in the polygon; else only its middle.
        """
        part = largest_part(polygon)
        spots, fitness = spots_inside(part, np.zeros((0, 2)), 1e9, 24)
        order = np.argsort(-fitness)
        spots = spots[order]
        pixels = self.ax.transData.transform(spots)
        for size in sizes:
            label = self._text(spots[0], text, size, **style)
            box = label.get_window_extent(self.renderer)
            half = np.array([box.width + 2, box.height + 2]) / 2
            boxes = np.hstack([pixels - half, pixels + half])
            free = self._free(boxes)
            if fit:
                corners = self.ax.transData.inverted().transform(boxes.reshape(-1, 2)).reshape(-1, 4)
                free &= shapely.covers(part, shapely.box(*corners.T))
            if free.any():
                best = int(free.argmax())
                label.set_position(tuple(spots[best]))
                self.taken = np.vstack([self.taken, boxes[best]])
                return True
            label.remove()
        return False

    def along(self, line: Any, text: str, size: float, **style: Any) -> bool:
        """Write the text along a line, where it is straight and free; whether it did."""
        length = line.length
        for share in (0.5, 0.35, 0.65, 0.2, 0.8):
            middle = line.interpolate(share * length)
            reach = 0.04 * length
            a, b = line.interpolate(share * length - reach), line.interpolate(share * length + reach)
            angle = float(np.degrees(np.arctan2(b.y - a.y, b.x - a.x)))
            angle = angle - 180 if angle > 90 else angle + 180 if angle < -90 else angle
            style_ = {**style, "rotation": angle, "rotation_mode": "anchor"}
            label = self._text((middle.x, middle.y), text, size, **style_)
            flat = self._text((middle.x, middle.y), text, size, **style)
            long = flat.get_window_extent(self.renderer).width
            flat.remove()
            box = label.get_window_extent(self.renderer)
            west, east = self.ax.get_xlim()
            if long < 0.9 * length / (east - west) * self.ax.bbox.width:
                # many small boxes along the text, for one around a slanted text would take half the map
                pixel = self.ax.transData.transform((middle.x, middle.y))
                ahead = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
                steps = np.linspace(-long / 2, long / 2, max(int(long / 10), 2))
                centres = pixel + steps[:, None] * ahead
                boxes = np.hstack([centres - 7, centres + 7])
                if self._free(boxes).all() and box.width:
                    self.taken = np.vstack([self.taken, boxes])
                    return True
            label.remove()
        return False

    def _free(self, boxes: Boxes) -> Any:
        within = (boxes[:, :2] >= self.frame[:2]).all(1) & (boxes[:, 2:] <= self.frame[2:]).all(1)
        return within & ~clashes(boxes, self.taken)

    def _text(self, at: Any, text: str, size: float, **style: Any) -> Any:
        from matplotlib.patheffects import withStroke

        given = {"ha": "center", "va": "center", "family": self.letters.families, "zorder": 6, **style}
        label = self.ax.text(float(at[0]), float(at[1]), text, size=size, **given)
        label.set(path_effects=[withStroke(linewidth=1.8, foreground="white", alpha=0.9)])
        return label
