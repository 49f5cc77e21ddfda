"""Two sheets of the unit grid: the map of one community for the field, and the one-page report of its quality.

PDF or PNG by the file's extension. Cell borders are magenta, as the standard draws them (Beijing DB11 after CJ/T 213).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame

from api.legend import Pair, name_of, sources
from api.lettering import Lettering, Notice, lettering, wrapped
from api.paper import A4_IN, Labels, Paper, coordinates, format_of, ground, laid_out, map_axes, save
from api.plot import DPI, fill, scale_and_north
from api.sheet import ALARM, BORDER, BORDER_DASH, INK, PALE_INK, Pen
from gis.errors import NotFound
from grids.check import Finding
from grids.codes import AreaCode
from grids.findings import counts
from grids.measures import measures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAGENTA = "#c4007a"
TONES = {"error": "#c62828", "warning": "#e08a00", "note": "#5c7fa3"}
SIDE, HEAD, FOOT = 0.55, 1.25, 1.05
#: share of the target: the band that the cut aims at, and the one around the target
WIDE_BAND, NARROW_BAND = (0.5, 2.0), (0.75, 1.25)
WIDE_CITY = 1.1  #: as many times wider than high: the map goes below the findings
FIXED = (
    "单元网格图质量报告模拟数据比例尺坐标系高斯投影版本日期网格边界社区街道界编号街道水域绿地建筑铁路围墙个面积平方米公里"
    "周长紧凑度中位数第百分位占以内空隙重叠错误警告提示检查结果无分布图号未能标注其余略项目数值合计最小大"
)


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a sheet says of the city and its data."""

    city: Pair  #: Chinese, English
    srid: int
    as_of: str  #: the day that the grid is of
    simulated: bool
    attribution: str | None = None
    source: str = ""

    @property
    def system(self) -> str:
        """The coordinate system by its number."""
        return f"EPSG:{self.srid}"


def community_sheet(
    path: Path,
    code: str,
    *,
    cells: GeoDataFrame,
    areas: GeoDataFrame,
    barriers: GeoDataFrame,
    words: Words,
    font: Path | None = None,
) -> Notice | None:
    """The map of one community with the numbers of its cells, on A4 or A3 at a round scale.

    cells : code, geometry of the community; areas: code, name_zh, name_en, geometry of all levels; barriers: kind,
    name_zh, name_en, width_m, geometry around it; all in the city's metres.
    Raises NotFound for a code that is no community of ``areas``, UnfitFile for another extension. Returns a notice
    when Chinese was left out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    format_of(path)
    named = {row.code: row for row in areas.itertuples()}
    community = named.get(code)
    if community is None or len(code) != 12:
        raise NotFound(
            f"there is no community {code}",
            f"没有社区 {code}",
            mend="give the 12 digits of a community, such as the first 12 of a cell's code",
            mend_zh="请给出 12 位社区编码，即网格编码的前 12 位",
            code=code,
        )
    source = "; ".join(part for part in (sources(areas, barriers), words.source) if part)
    texts = [FIXED, *words.city, words.attribution or "", source]
    for frame in (areas, barriers):
        texts += [str(name) for column in ("name_zh", "name_en") for name in frame[column].dropna().unique()]
    letters = lettering(texts, font)
    paper = laid_out(community.geometry.bounds, side=SIDE, head=HEAD, foot=FOOT)
    figure = Figure(figsize=(paper.width, paper.height), dpi=DPI, facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    ax = map_axes(figure, paper)
    ground(ax, barriers, paper, community.geometry)
    fill(ax, cells.geometry, 3.0, facecolor="none", edgecolor=MAGENTA, linewidth=1.1)
    others = areas[(areas["code"].str.len() == 12) & (areas["code"] != code)]
    others = others[others.intersects(shapely.box(*paper.window))]
    fill(ax, others.geometry, 2.8, facecolor="none", edgecolor=BORDER, linewidth=0.7, linestyle=BORDER_DASH, alpha=0.6)
    fill(ax, [community.geometry], 3.1, facecolor="none", edgecolor=BORDER, linewidth=2.4, alpha=0.85)
    coordinates(ax, paper)
    labels = Labels(ax, canvas.get_renderer(), letters, _furniture(ax, community.geometry, letters))
    missing = _numbers(labels, cells)
    _streets(labels, barriers, paper)
    _neighbours(labels, others, paper)
    pen = Pen(figure, letters)
    _title(pen, paper, community, [named[code[:digits]] for digits in (6, 9) if code[:digits] in named], words)
    _key(pen, paper)
    _foot(pen, paper, words, source, len(cells), missing)
    save(figure, path)
    return letters.notice


def _furniture(ax: Axes, place: shapely.Geometry, letters: Lettering) -> Any:
    """Scale bar and north arrow; the boxes they take."""
    return np.asarray(scale_and_north(ax, place, letters)).reshape(-1, 4)


def _numbers(labels: Labels, cells: GeoDataFrame) -> list[str]:
    """The serial of each cell in it, the narrow cells last; the serials that found no room."""
    order = measures(cells)["compactness"].to_numpy() * np.sqrt(cells.area.to_numpy())
    missing = []
    for row in np.argsort(-order):
        serial, shape = str(cells["code"].iloc[row])[12:], cells.geometry.iloc[row]
        style: dict[str, Any] = {"color": MAGENTA, "weight": "bold", "zorder": 7}
        if labels.inside(shape, serial, (14, 12, 10, 9, 8, 7, 6, 5), **style):
            continue
        if not labels.inside(shape, serial, (6, 5), fit=False, **style):
            missing.append(serial)
    return sorted(missing)


def _streets(labels: Labels, barriers: GeoDataFrame, paper: Paper) -> None:
    """Names along streets and in waters, the longer first."""
    around = shapely.box(*paper.window)
    streets = barriers[(barriers["kind"] == "street") & (barriers["name_zh"].notna() | barriers["name_en"].notna())]
    lines: list[tuple[float, Any, Any]] = []
    for _, same in streets.groupby(streets["name_en"].fillna(streets["name_zh"])):
        seen = shapely.intersection(shapely.line_merge(shapely.union_all(same.geometry)), around)
        parts = [part for part in shapely.get_parts(seen) if part.geom_type == "LineString" and part.length > 0]
        if parts:
            line = max(parts, key=lambda part: part.length)
            lines.append((line.length, same.iloc[0], line))
    for _, row, line in sorted(lines, key=lambda item: -item[0]):
        both = labels.letters.both(row["name_zh"], row["name_en"], " ")
        short = labels.letters.both(
            row["name_zh"], None if row["name_zh"] and labels.letters.chinese else row["name_en"]
        )
        for text in dict.fromkeys((both, short)):
            if labels.along(line, text, 6.5, color=INK, zorder=5):
                break
    waters = barriers[(barriers["kind"] == "water") & barriers["name_en"].notna()]
    for row in waters.itertuples():
        seen = shapely.intersection(row.geometry, around)
        if shapely.get_dimensions(seen) == 2 and seen.area > 0:
            text = labels.letters.both(row.name_zh, row.name_en)
            labels.inside(seen, text, (9, 7), color="#2f6690", style="italic", zorder=5)


def _neighbours(labels: Labels, others: GeoDataFrame, paper: Paper) -> None:
    """The names of the communities around, in grey."""
    around = shapely.box(*paper.window)
    for row in others.itertuples():
        seen = shapely.intersection(row.geometry, around)
        if seen.area > 0:
            text = labels.letters.both(name_of(row, True) if labels.letters.chinese else None, name_of(row, False))
            labels.inside(seen, text, (7.5, 6.5), color=PALE_INK, zorder=5)


def _title(pen: Pen, paper: Paper, community: Any, above: Sequence[Any], words: Words) -> None:
    letters, top = pen.letters, paper.height
    zh, en = f"{name_of(community, True)}单元网格图", f"{name_of(community, False)}: unit grid"
    place = (" ".join(name_of(row, True) for row in above), ", ".join(name_of(row, False) for row in reversed(above)))
    if letters.chinese:
        pen(SIDE, top - 0.26, letters.both(zh, None), 17, weight="bold")
        pen(SIDE, top - 0.60, letters.both(None, en), 10)
    else:
        pen(SIDE, top - 0.32, letters.both(None, en), 16, weight="bold")
    code = AreaCode(community.code)
    pen(SIDE, top - 0.82, f"{code.spaced}   {letters.both(*place, '  ·  ')}", 8.5, color=PALE_INK)
    right = paper.width - SIDE
    if words.simulated:
        box = {"boxstyle": "round,pad=0.4", "fc": "#fff4f2", "ec": ALARM}
        pen(
            right - 0.08, top - 0.32, letters.both("模拟数据", "simulated data", "  "), 11,
            weight="bold", ha="right", color=ALARM, bbox=box,
        )  # fmt: skip
    scale = letters.both("比例尺", "scale", " ") + f" 1:{paper.scale:,}   {paper.name}"
    pen(right, top - 0.82, scale, 8.5, ha="right", color=PALE_INK)


def _key(pen: Pen, paper: Paper) -> None:
    """The signs in one line below the map."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    from api.plot import BUILDING, RAIL
    from api.sheet import GREEN, STREET_CASING, WATER

    rows = [
        (Line2D([], [], color=MAGENTA, lw=1.1), "网格边界", "cell"),
        (Line2D([], [], color=BORDER, lw=2.4), "社区界", "community"),
        (Patch(fc="white", ec=STREET_CASING), "街道", "street"),
        (Patch(fc=BUILDING, ec="#bfb3a0"), "建筑", "building"),
        (Patch(fc=WATER), "水域", "water"),
        (Patch(fc=GREEN), "绿地", "green"),
        (Line2D([], [], color=RAIL, lw=2.2), "铁路", "rail"),
    ]
    pen.figure.legend(
        [sign for sign, _, _ in rows],
        [pen.letters.both(zh, en, " ") for _, zh, en in rows],
        loc="upper left",
        bbox_to_anchor=((SIDE - 0.05) / paper.width, (FOOT - 0.22) / paper.height),
        ncols=len(rows),
        frameon=False,
        prop={"family": pen.letters.families, "size": 7},
        handlelength=1.6,
        columnspacing=1.1,
        handletextpad=0.5,
        borderpad=0,
        borderaxespad=0,
    )


def _foot(pen: Pen, paper: Paper, words: Words, source: str, number: int, missing: Sequence[str]) -> None:
    letters = pen.letters
    first = letters.both(f"{words.as_of} 版，{number} 个网格", f"grid of {words.as_of}, {number} cells", "  ·  ")
    if missing:
        first += "  ·  " + letters.both("未能标注", "no room for", " ") + " " + ", ".join(missing)
    lines = [first, f"{letters.both(*words.city, ' ')}  ·  {words.system}  ·  {source}  ·  Wanmi"]
    lines += [letters.both(None, words.attribution)] if words.attribution else []
    columns = int((paper.width - 2 * SIDE) * 21)
    y = FOOT - 0.46
    for piece in [piece for line in lines for piece in wrapped(line, columns)][:4]:
        pen(SIDE, y, piece, 6.5, color=PALE_INK)
        y -= 0.13


# ── the report ────────────────────────────────────────


def quality_sheet(
    path: Path,
    *,
    cells: GeoDataFrame,
    areas: GeoDataFrame,
    findings: Sequence[Finding],
    words: Words,
    target_m2: float = 10_000,
    font: Path | None = None,
) -> Notice | None:
    """One page A4: figures of the grid, a histogram of areas, findings by rule and a map of where they are.

    cells: code, geometry; areas: code, names, geometry; in the city's metres. UnfitFile for another extension.
    Returns a notice when Chinese was left out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    format_of(path)
    table = counts(findings)
    letters = lettering([FIXED, *words.city, words.attribution or "", *table["zh"], *table["en"]], font)
    width, height = A4_IN
    figure = Figure(figsize=A4_IN, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    pen = Pen(figure, letters)
    _report_title(pen, width, height, words)
    _figures(pen, quality(cells, target_m2), 0.6, height - 1.45)
    _histogram(pen, cells, target_m2, (4.4, height - 4.05, 3.35, 2.3))
    west, south, east, north = areas.total_bounds
    aspect, top = (east - west) / (north - south), height - 4.6
    if aspect > WIDE_CITY:  # findings in columns above the map
        low = _table(pen, table, 0.6, top, columns=3) - 0.45
        tall = min(low - 0.8, 1.1 * (width - 1.2) / aspect)
        _where(pen, cells, areas, findings, (0.6, low - tall, width - 1.2, tall))
    else:
        _table(pen, table, 0.6, top, columns=1)
        tall = min(top - 1.1, 1.1 * 4.7 / aspect)
        _where(pen, cells, areas, findings, (2.95, top - 0.3 - tall, 4.7, tall))
    last = [f"{words.system}  ·  {words.as_of}  ·  Wanmi", words.attribution or ""]
    for row, line in enumerate(piece for text in last if text for piece in wrapped(letters.both(None, text), 150)):
        pen(0.6, 0.55 - 0.13 * row, line, 6.5, color=PALE_INK)
    save(figure, path)
    return letters.notice


def quality(cells: GeoDataFrame, target_m2: float = 10_000) -> list[tuple[str, str, str]]:
    """The figures of a grid, each as Chinese, English and the number as text."""
    of = measures(cells)
    area, compactness = of["area_m2"].to_numpy(), of["compactness"].dropna().to_numpy()
    if not len(cells):
        return [("网格数", "cells", "0")]

    def share(band: tuple[float, float]) -> str:
        within = ((area >= band[0] * target_m2) & (area <= band[1] * target_m2)).mean()
        return f"{np.floor(within * 1000) / 1000:.1%}"  # 100 % only if it is all

    low, high = (f"{bound * target_m2:,.0f}" for bound in WIDE_BAND)
    return [
        ("网格数", "cells", f"{len(cells):,}"),
        ("社区数", "communities", f"{cells['code'].str[:12].nunique():,}"),
        ("总面积", "total area", f"{area.sum() / 1e6:,.3f} km²"),
        ("面积中位数", "median area", f"{np.median(area):,.0f} m²"),
        ("最小面积", "smallest", f"{area.min():,.0f} m²"),
        ("最大面积", "largest", f"{area.max():,.0f} m²"),
        (f"{low}–{high} m² 占比", "share", share(WIDE_BAND)),
        ("±25 % 以内占比", "share", share(NARROW_BAND)),
        ("紧凑度中位数", "compactness, median", f"{np.median(compactness):.2f}"),
        ("紧凑度第 5 百分位", "compactness, 5th pct.", f"{np.percentile(compactness, 5):.2f}"),
    ]


def _report_title(pen: Pen, width: float, height: float, words: Words) -> None:
    letters = pen.letters
    if letters.chinese:
        pen(0.6, height - 0.4, f"{words.city[0]}单元网格质量报告", 18, weight="bold")
    en = f"{words.city[1]}: quality of the unit grid, {words.as_of}"
    pen(0.6, height - (0.8 if letters.chinese else 0.5), letters.both(None, en), 10 if letters.chinese else 16)
    if words.simulated:
        box = {"boxstyle": "round,pad=0.4", "fc": "#fff4f2", "ec": ALARM}
        text = letters.both("模拟数据", "simulated data", "  ")
        pen(width - 0.65, height - 0.45, text, 11, weight="bold", ha="right", color=ALARM, bbox=box)


def _figures(pen: Pen, rows: list[tuple[str, str, str]], x: float, y: float) -> None:
    pen.heading(x, y, "指标", "Figures")
    y -= 0.36
    for zh, en, number in rows:
        pen(x, y, pen.letters.both(zh, en, "  "), 8)
        pen(x + 3.0, y, number, 8.5, ha="right", weight="bold")
        pen.figure.add_artist(_rule(pen, x, x + 3.0, y - 0.17))
        y -= 0.225


def _rule(pen: Pen, left: float, right: float, y: float) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([left, right], [y, y], transform=pen.figure.dpi_scale_trans, color="#d8d3ca", linewidth=0.5)


def _histogram(pen: Pen, cells: GeoDataFrame, target_m2: float, box: tuple[float, float, float, float]) -> None:
    """Numbers of cells by area, the two bands of the target behind; what is larger than the last bin is in it."""
    left, low, wide, tall = box
    width, height = A4_IN
    pen.heading(left - 0.3, low + tall + 0.25, "面积分布", "Areas of the cells")
    ax = pen.figure.add_axes((left / width, low / height, wide / width, tall / height))
    most = 2.5 * target_m2
    area = np.minimum(measures(cells)["area_m2"].to_numpy(), most * 0.9999)
    for (start, end), tone in ((WIDE_BAND, "#f3e6ef"), (NARROW_BAND, "#e8cfe0")):
        ax.axvspan(start * target_m2, end * target_m2, color=tone, lw=0, zorder=0)
    ax.hist(area, bins=np.linspace(0, most, 51).tolist(), color=MAGENTA, alpha=0.85, zorder=2)
    ax.set(xlim=(0, most))
    ticks = np.arange(0, most + 1, target_m2 / 2)
    names = [f"{tick:,.0f}" for tick in ticks[:-1]] + [f"≥{ticks[-1]:,.0f}"]
    ax.set_xticks(ticks, names, size=6.5, family="DejaVu Sans")
    ax.tick_params(axis="y", labelsize=6.5)
    ax.set_xlabel(pen.letters.both("面积（平方米）", "area, m²", "  "), size=7.5, family=pen.letters.families)
    ax.set_ylabel(pen.letters.both("网格数", "cells", "  "), size=7.5, family=pen.letters.families)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _table(pen: Pen, table: pd.DataFrame, x: float, y: float, *, columns: int) -> float:
    """Findings by rule in columns, and what the colours mean; returns how far down it reaches."""
    pen.heading(x, y, "检查结果", "Findings")
    line, wide = (0.34 if pen.letters.chinese else 0.22), 2.35
    tall = int(np.ceil(len(table) / columns))
    for place, row in enumerate(table.itertuples()):
        left, down = x + place // max(tall, 1) * wide, y - 0.36 - place % max(tall, 1) * line
        pen(left, down - 0.01, "●", 8, color=TONES[str(row.severity)], family="DejaVu Sans")
        pen(left + 0.16, down, pen.letters.both(str(row.zh), str(row.en)), 7.5, linespacing=1.15)
        pen(left + wide - 0.4, down, f"{row.findings:,}", 8.5, ha="right", weight="bold")
    if table.empty:
        pen(x, y - 0.36, pen.letters.both("无", "none", "  "), 9)
    y -= 0.36 + max(tall, 1) * line + 0.06
    meaning = {"error": ("错误", "error: not fit to publish"), "warning": ("警告", "warning"), "note": ("提示", "note")}
    for place, (severity, (zh, en)) in enumerate(meaning.items()):
        left, down = (x + place * wide, y) if columns > 1 else (x, y - 0.17 * place)
        pen(left, down, "●", 7, color=TONES[severity], family="DejaVu Sans")
        pen(left + 0.16, down, pen.letters.both(zh, en, " "), 6.5, color=PALE_INK)
    return y - (0.17 if columns > 1 else 0.51)


def _where(
    pen: Pen,
    cells: GeoDataFrame,
    areas: GeoDataFrame,
    findings: Sequence[Finding],
    box: tuple[float, float, float, float],
) -> None:
    """The grid in grey, each finding as a dot of its gravity, the grave ones on top."""
    left, low, wide, tall = box
    width, height = A4_IN
    pen.heading(left, low + tall + 0.3, "位置", "Where")
    ax = pen.figure.add_axes((left / width, low / height, wide / width, tall / height))
    ax.set(xticks=[], yticks=[], facecolor="white")
    for edge in ax.spines.values():
        edge.set(color="#b5aea2", linewidth=0.8)
    west, south, east, north = areas.total_bounds if len(areas) else cells.total_bounds
    unit = 1.05 * max((east - west) / wide, (north - south) / tall) / 2
    x, y = (west + east) / 2, (south + north) / 2
    ax.set(xlim=(x - unit * wide, x + unit * wide), ylim=(y - unit * tall, y + unit * tall))
    fill(ax, cells.geometry, 1, facecolor="#f4f2ee", edgecolor="#d2ccc1", linewidth=0.15)
    communities = areas[areas["code"].str.len() == 12]
    fill(ax, communities.geometry, 2, facecolor="none", edgecolor="#8a7590", linewidth=0.35)
    for severity, size in (("note", 2.0), ("warning", 3.0), ("error", 6.0)):
        places = [f.place for f in findings if f.severity == severity and f.place is not None and not f.place.is_empty]
        spots = shapely.get_coordinates(shapely.point_on_surface(np.array(places, dtype=object)))
        style: dict[str, Any] = {"color": TONES[severity], "markeredgewidth": 0, "linestyle": "none", "zorder": 3}
        ax.plot(spots[:, 0], spots[:, 1], "o", markersize=size, alpha=0.8, **style)
    ax.set(xlim=(x - unit * wide, x + unit * wide), ylim=(y - unit * tall, y + unit * tall))
    scale_and_north(ax, shapely.box(west, south, east, north), pen.letters, halved=wide > 5)
