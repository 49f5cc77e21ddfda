"""The words around the picture: how the sheet is divided, its head, legend, list and foot. All in inches.

A city that is wide and low gets its legend below the map, another beside it, so that the sheet is full either way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from api.legend import Said
from api.lettering import Lettering, wrapped
from gis.raster import ramp

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAND, WATER, GREEN, STREET_CASING = "#f7f4ee", "#a8cbe2", "#d3e5c5", "#cbbfae"
BORDER, COMMUNITY, INK, PALE_INK, CELL, ALARM = "#5b2a63", "#8a7590", "#24292e", "#5c6670", "#0b1f33", "#9b1c1c"
BORDER_DASH = (0, (6, 2.5, 1, 2.5))
BADGE = {"boxstyle": "circle,pad=0.28", "fc": CELL, "ec": "white", "lw": 1.2}

WIDTH, MARGIN, HEAD, GAP = 14.0, 0.28, 1.36, 0.3
COLUMN = 3.45  #: of the legend beside the map
FOOT_LINE, LIST_LINE = 0.155, 0.195
LOW_CITY = 1.5  #: as many times wider than high: the legend goes below
FIXED_WORDS = (
    "案件密度每平方公里数统计期内最热单元网格街道界社区界区县界水域绿地干路支路巷铁路数据来源坐标系核高斯带宽米，：·≥²"
)

Hot = list[tuple[str, str, str, int]]


@dataclass(frozen=True)
class Sheet:
    """The size of the picture, the map's box (x, y, width, height) and where the parts of the legend begin."""

    height: float
    map_box: tuple[float, float, float, float]
    density: tuple[float, float, float]  #: left, top, width
    signs: tuple[float, float]  #: left, top
    hottest: tuple[float, float, float]  #: left, top, width
    entries: list[list[str]]  #: lines of each hot cell
    foot: list[str]


def divided(aspect: float, hot: Hot, foot: list[str], letters: Lettering) -> Sheet:
    """The sheet for a city that is ``aspect`` times as wide as high."""
    below = aspect >= LOW_CITY
    list_wide = WIDTH - 2 * MARGIN - 7.4 if below else COLUMN
    entries = [_entry(code, zh, en, int((list_wide - 0.95) * 15.5), letters) for code, zh, en, _ in hot]
    list_tall = 0.45 + sum(LIST_LINE * len(lines) + 0.1 for lines in entries)
    lines = [piece for line in foot for piece in wrapped(line, 235)]
    foot_tall = MARGIN + FOOT_LINE * len(lines) + 0.12
    if below:
        wide = WIDTH - 2 * MARGIN
        tall, strip = float(np.clip(wide / aspect, 3.5, 9.5)), max(list_tall, 2.45)
        height = HEAD + tall + GAP + strip + foot_tall
        top = foot_tall + strip
        left = MARGIN
        box = (MARGIN, top + GAP, wide, tall)
        return Sheet(height, box, (left, top, 3.4), (left + 4.0, top), (left + 7.4, top, list_wide), entries, lines)
    wide = WIDTH - 2 * MARGIN - COLUMN - GAP
    signs_down, list_down = 1.62, 1.62 + 2.35
    tall = float(np.clip(wide / aspect, list_down + list_tall, 11.5))
    left, top = MARGIN + wide + GAP, foot_tall + tall
    box = (MARGIN, foot_tall, wide, tall)
    return Sheet(
        HEAD + tall + foot_tall,
        box,
        (left, top, COLUMN - 0.15),
        (left, top - signs_down),
        (left, top - list_down, COLUMN),
        entries,
        lines,
    )


def _entry(code: str, zh: str, en: str, columns: int, letters: Lettering) -> list[str]:
    """A hot cell's place, on one line where both languages fit, and its code."""
    one = letters.both(zh, en, "  ·  ")
    if len(wrapped(one, columns)) == 1:
        return [one, code]
    parts = [letters.both(zh, None) if letters.chinese else "", letters.both(None, en)]
    return [line for part in dict.fromkeys(parts) if part for line in wrapped(part, columns)] + [code]


class Pen:
    """Writes on a figure, positions in inches from its lower left corner."""

    def __init__(self, figure: Figure, letters: Lettering) -> None:
        self.figure = figure
        self.letters = letters

    def __call__(self, x: float, y: float, text: str, size: float, **style: Any) -> None:
        """Write the text, by default hanging from (x, y)."""
        given = {"va": "top", "family": self.letters.families, "linespacing": 1.4, "color": INK, **style}
        self.figure.text(x, y, text, size=size, transform=self.figure.dpi_scale_trans, **given)

    def heading(self, x: float, y: float, zh: str, en: str) -> None:
        """The title of a part of the legend."""
        self(x, y, self.letters.both(zh, en, "  "), 12, weight="bold")


def head(pen: Pen, sheet: Sheet, said: Said) -> None:
    """Titles, the period, and at the right what must be noted."""
    top, letters = sheet.height, pen.letters
    chinese = letters.chinese and said.title_zh
    if chinese:
        pen(MARGIN, top - 0.26, letters.both(said.title_zh, None), 21, weight="bold")
        pen(MARGIN, top - 0.66, letters.both(None, said.title_en), 13.5)
    else:
        pen(MARGIN, top - 0.34, letters.both(None, said.title_en), 21, weight="bold")
    pen(MARGIN, top - 0.97, period(said, letters), 11.5, color=PALE_INK)
    if said.note_zh or said.note_en:
        box = {"boxstyle": "round,pad=0.5", "fc": "#fff4f2", "ec": ALARM}
        note = letters.both(said.note_zh, said.note_en)
        pen(WIDTH - MARGIN - 0.1, top - 0.36, note, 12, weight="bold", ha="right", color=ALARM, bbox=box)


def period(said: Said, letters: Lettering) -> str:
    """The days and the number of cases in one line."""
    return letters.both(*said.period, "  ·  ")


def density(pen: Pen, sheet: Sheet, said: Said, top: float) -> None:
    """What the colours are, their unit and the bar."""
    x, y, wide = sheet.density
    pen.heading(x, y, "案件密度", "Density of cases")
    lines = "\n".join(pen.letters.both(zh, en) for zh, en in said.surface)
    pen(x, y - 0.27, lines, 9.5)
    down = 0.42 + 0.2 * (lines.count("\n") + 1)
    figure = pen.figure
    bar = figure.add_axes((x / WIDTH, (y - down) / sheet.height, wide / WIDTH, 0.17 / sheet.height))
    bar.set_facecolor(LAND)
    shades = ramp(np.linspace(0, 1, 2048))[None]
    bar.imshow(shades, aspect="auto", extent=(0.0, top, 0.0, 1.0), interpolation="bilinear")
    bar.set(yticks=[], xticks=[0, top / 2, top])
    bar.set_xticklabels(["0", f"{top / 2:,g}", f"≥ {top:,g}"], family="DejaVu Sans", size=9)


def signs(pen: Pen, sheet: Sheet) -> None:
    """The signs of the map with their names."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    x, y = sheet.signs
    rows = [
        (Line2D([], [], color=BORDER, lw=2.0), "区县界", "district border"),
        (Line2D([], [], color=BORDER, lw=1.1, ls=BORDER_DASH), "街道界", "street border"),
        (Line2D([], [], color=COMMUNITY, lw=0.6), "社区界", "community border"),
        (Patch(fc="white", ec=CELL, lw=1.6), "最热单元网格", "hottest cells, numbered"),
        (Patch(fc=WATER, ec="none"), "水域", "water"),
        (Patch(fc=GREEN, ec="none"), "绿地", "park, green"),
        (Line2D([], [], color=STREET_CASING, lw=2.6), "干路", "arterial"),
        (Line2D([], [], color=STREET_CASING, lw=1.2), "支路、巷", "street, lane"),
    ]
    pen.figure.legend(
        [sign for sign, _, _ in rows],
        [pen.letters.both(zh, en, "  ") for _, zh, en in rows],
        loc="upper left",
        bbox_to_anchor=((x - 0.08) / WIDTH, (y + 0.02) / sheet.height),
        frameon=False,
        prop={"family": pen.letters.families, "size": 9.5},
        labelspacing=0.65,
        handlelength=2.2,
        borderpad=0.2,
        borderaxespad=0.0,
    )


def hottest(pen: Pen, sheet: Sheet, hot: Hot) -> None:
    """The numbered cells: where they are, their code, their cases."""
    x, y, wide = sheet.hottest
    pen.heading(x, y, "最热单元网格", "Hottest cells")
    pen(x + wide, y - 0.03, pen.letters.both("案件", "cases", " "), 9, ha="right")
    y -= 0.4
    for number, (lines, (_, _, _, cases)) in enumerate(zip(sheet.entries, hot, strict=True), start=1):
        style = {"weight": "bold", "color": "white", "ha": "center", "va": "center", "family": "DejaVu Sans"}
        pen(x + 0.1, y - 0.08, str(number), 9, bbox=BADGE, **style)
        for row, line in enumerate(lines):
            tone = PALE_INK if row == len(lines) - 1 else INK
            pen(x + 0.3, y - row * LIST_LINE, line, 8.6, color=tone)
        pen(x + wide, y, f"{cases:,}", 10.5, weight="bold", ha="right")
        y -= LIST_LINE * len(lines) + 0.1


def foot_lines(said: Said, source: str, srid: int, letters: Lettering) -> list[str]:
    """Whose the data are: the licence's words in both languages, the sources, the system."""
    lines = list(dict.fromkeys((letters.both(said.attribution_zh, None), letters.both(None, said.attribution_en))))
    if source:
        lines.append(letters.both("数据来源", "Sources", " ") + ": " + letters.both(None, source))
    lines.append(letters.both("坐标系", "System", " ") + f": EPSG:{srid}  ·  Wanmi")
    return [line for line in lines if line]


def foot(pen: Pen, sheet: Sheet) -> None:
    """The lines at the lower edge."""
    for row, line in enumerate(reversed(sheet.foot)):
        pen(MARGIN, MARGIN - 0.1 + row * FOOT_LINE, line, 7.8, va="bottom", color=PALE_INK)
