"""The progress of a census in words, as a layer of communities, and on one sheet of paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from api.legend import Pair, name_of
from api.lettering import Lettering, Notice, lettering, wrapped
from api.paper import A4_IN, format_of, save
from api.plot import DPI, fill, scale_and_north
from api.sheet import ALARM, BORDER, INK, PALE_INK, Pen
from grids.city import City
from layers.progress import COUNTS, NAMES, Progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: upper ends of the classes of the share surveyed, and their colours (the last: everything)
STEPS = (0.0, 0.25, 0.5, 0.75, 0.999, 1.0)
TONES = ("#f2efe8", "#dbe9d3", "#b3d6a6", "#7dbb78", "#3f9350", "#1b6a36")
NOTHING = "#ffffff"  #: no component stands there
STANDINGS = (("surveyed", "#3f9350"), ("to_confirm", "#e3b04b"), ("stale", "#a39a8c"))
OUTSIDE = ("in no cell", "不在任何网格内")
BARS = 24  #: classes with a bar of their own
FIXED = (
    "部件普查进度模拟数据已普查其中新增变更待核实过期已注销类别社区占比自起早于从未的为无始合计各另有全部不在任何网格内"
)


def period(progress: Progress) -> Pair:
    """What the counts mean, Chinese and English."""
    since, fresh = progress.since_on, progress.fresh_on
    return (
        f"普查始于 {since}；早于 {fresh} 或从未普查的为过期",
        f"census since {since}; stale: last seen before {fresh}, or never",
    )


def communities(progress: Progress, areas: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """The communities with their counts: code, name_zh, name_en, COUNTS, share (of components; NaN: none), geometry.

    Components in no cell are a row without code and geometry, if there are any.
    """
    places = areas.loc[areas["code"].str.len() == 12, ["code", "name_zh", "name_en", "geometry"]]
    table = progress.by("community").rename(columns={"community": "code"})
    merged = places.merge(table, on="code", how="left").fillna(dict.fromkeys(COUNTS, 0))
    lost = table[~table["code"].isin(places["code"])]  # in no cell, or in a community that is no more
    if len(lost):
        extra = pd.DataFrame({**lost, "name_zh": OUTSIDE[1], "name_en": OUTSIDE[0], "geometry": None})
        merged = pd.concat([pd.DataFrame(merged), extra], ignore_index=True)
    frame = gpd.GeoDataFrame(merged, geometry="geometry", crs=areas.crs)
    frame[list(COUNTS)] = frame[list(COUNTS)].astype("int64")
    frame["share"] = shares(frame)
    return frame


def shares(table: pd.DataFrame) -> Any:
    """Surveyed of components, by row; NaN where none stand."""
    return (table["surveyed"] / table["components"].where(table["components"] > 0)).to_numpy(dtype=np.float64)


def progress_lines(progress: Progress, areas: gpd.GeoDataFrame) -> Iterator[Pair]:
    """The table by community, the table by class and their sum, as English and Chinese lines."""
    zh, en = period(progress)
    yield en, zh
    places = communities(progress, areas)
    places = places[(places["components"] > 0) | (places["gone"] > 0)]
    yield from _table(places, ("community", "社区"), list(places["code"]), places, progress)
    classes = progress.by("class_code", "class_zh", "class_en")
    named = classes.rename(columns={"class_zh": "name_zh", "class_en": "name_en"})
    yield from _table(named, ("class", "类别"), list(named["class_code"]), named, progress)


def _table(rows: pd.DataFrame, head: Pair, codes: list[str], named: pd.DataFrame, progress: Progress) -> Iterator[Pair]:
    wide = max([len(code) for code in codes] + [9])
    columns = [(NAMES[name], max(len(NAMES[name][0]), 2 * len(NAMES[name][1])) + 2) for name in COUNTS]
    yield "", ""
    yield (
        head[0].ljust(wide) + "".join(en.rjust(size) for (en, _), size in columns) + "  done",
        head[1] + " " * (wide - 2 * len(head[1])) + "".join(_right(zh, size) for (_, zh), size in columns) + "  进度",
    )
    lines = zip(codes, rows[list(COUNTS)].to_numpy(), shares(rows), named["name_en"], named["name_zh"], strict=True)
    for code, counts, share, en, zh in lines:
        numbers = "".join(f"{many:,}".rjust(size) for many, (_, size) in zip(counts, columns, strict=True))
        done = "" if np.isnan(share) else percent(share)
        line = f"{code.ljust(wide)}{numbers}{done:>6}  "
        yield line + str(en or zh), line + str(zh or en)
    total = progress.by()
    numbers = "".join(
        f"{many:,}".rjust(size) for many, (_, size) in zip(total.iloc[0][list(COUNTS)], columns, strict=True)
    )
    share = shares(total)[0]
    done = "" if np.isnan(share) else percent(share)
    yield f"{'all'.ljust(wide)}{numbers}{done:>6}", f"合计{' ' * (wide - 4)}{numbers}{done:>6}"


def percent(share: float) -> str:
    """A share in whole per cent: 100 % only if it is all, 0 % only if it is nothing."""
    whole = int(np.floor(share * 100)) if share >= 0.01 else int(np.ceil(share * 100))
    return f"{whole} %"


def _right(text: str, size: int) -> str:
    """Right-justified where each character is two columns wide."""
    return " " * max(size - 2 * len(text), 0) + text


def tone_of(share: float) -> str:
    """The colour of a share surveyed; NaN: nothing stands there."""
    return NOTHING if np.isnan(share) else TONES[int(np.searchsorted(STEPS, share))]


def legend_steps() -> list[tuple[str, Pair]]:
    """Colours of the map with what they mean, Chinese and English."""
    named = [(TONES[0], ("0", "nothing yet"))]
    for low, high, tone in zip(STEPS[:-1], STEPS[1:-1], TONES[1:-1], strict=False):
        text = f"{low:.0%} – {high:.0%}".replace("0% –", "> 0 –") if low == 0 else f"{low:.0%} – {round(high, 2):.0%}"
        named.append((tone, (text, text)))
    return [*named, (TONES[-1], ("全部", "all")), (NOTHING, ("无部件", "no components"))]


def progress_sheet(
    path: Path, progress: Progress, *, areas: gpd.GeoDataFrame, city: City, font: Path | None = None
) -> Notice | None:
    """One page A4 (PDF or PNG): the sums, the classes as bars, and the communities by the share surveyed.

    areas : code, name_zh, name_en, geometry of all levels in the city's metres. UnfitFile for another extension.
    Returns a notice when Chinese was left out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    format_of(path)
    classes = progress.by("class_code", "class_zh", "class_en").sort_values(
        ["components", "class_code"], ascending=[False, True]
    )
    letters = lettering(
        [FIXED, city.name_zh, city.name_en, *classes["class_zh"], *classes["class_en"].fillna("")], font
    )
    width, height = A4_IN
    figure = Figure(figsize=A4_IN, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    pen = Pen(figure, letters)
    _title(pen, progress, city)
    _sums(pen, progress, 0.6, height - 1.45)
    bars = classes.head(BARS)
    deep = 0.3 + 0.2 * len(bars)
    _bars(pen, bars, len(classes) - len(bars), (5.15, height - 1.75 - deep + 0.3, 2.55, deep - 0.3))
    top = height - 1.9 - max(deep, 2.6)
    west, south, east, north = areas.total_bounds
    tall = min(top - 1.55, (width - 1.2) * 1.05 * (north - south) / (east - west))
    _map(pen, communities(progress, areas), areas, (0.6, top - 0.35 - tall, width - 1.2, tall))
    _key(pen, 0.6, top - 0.35 - tall - 0.12)
    foot = [letters.both(*period(progress), "  ·  "), f"EPSG:{city.srid}  ·  Wanmi"]
    foot += [letters.both(None, city.attribution)] if city.attribution else []
    for row, line in enumerate(piece for text in foot for piece in wrapped(text, 150)):
        pen(0.6, 0.72 - 0.13 * row, line, 6.5, color=PALE_INK)
    save(figure, path)
    return letters.notice


def _title(pen: Pen, progress: Progress, city: City) -> None:
    letters, (width, height) = pen.letters, A4_IN
    if letters.chinese:
        pen(0.6, height - 0.4, f"{city.name_zh}部件普查进度", 18, weight="bold")
    en = f"{city.name_en}: progress of the component census since {progress.since_on}"
    pen(0.6, height - (0.8 if letters.chinese else 0.5), letters.both(None, en), 10 if letters.chinese else 15)
    if city.simulated:
        box = {"boxstyle": "round,pad=0.4", "fc": "#fff4f2", "ec": ALARM}
        text = letters.both("模拟数据", "simulated data", "  ")
        pen(width - 0.65, height - 0.45, text, 11, weight="bold", ha="right", color=ALARM, bbox=box)


def _sums(pen: Pen, progress: Progress, x: float, y: float) -> None:
    """The counts of the whole city, and the share surveyed."""
    total = progress.by().iloc[0]
    pen.heading(x, y, "合计", "Sums")
    y -= 0.36
    for name in COUNTS:
        en, zh = NAMES[name]
        pen(x + (0.15 if name in ("new", "changed") else 0), y, pen.letters.both(zh, en, "  "), 9)
        pen(x + 2.7, y, f"{total[name]:,}", 9.5, ha="right", weight="bold")
        y -= 0.245
    share = shares(progress.by())[0]
    pen(x, y - 0.06, "–" if np.isnan(share) else percent(share), 26, weight="bold", color=TONES[-1])


def _bars(pen: Pen, classes: pd.DataFrame, more: int, box: tuple[float, float, float, float]) -> None:
    """A bar for each class, as long as it has components, in the colours of where these stand."""
    left, low, wide, tall = box
    width, height = A4_IN
    pen.heading(left - 1.5, low + tall + 0.3, "各类别", "By class")
    if classes.empty:
        return
    ax = pen.figure.add_axes((left / width, low / height, wide / width, tall / height))
    y, start = np.arange(len(classes))[::-1], np.zeros(len(classes))
    for name, tone in STANDINGS:
        part = classes[name].to_numpy(dtype=np.float64)
        en, zh = NAMES[name]
        ax.barh(y, part, 0.7, left=start, color=tone, label=pen.letters.both(zh, en, " "))
        start = start + part
    for at, row in enumerate(classes.to_dict("records")):
        zh, en = str(row["class_zh"]), row["class_en"]
        name = pen.letters.both(zh if pen.letters.chinese else None, en, " ")
        name = name if len(name) <= 26 else (zh if pen.letters.chinese else name[:25] + "…")
        style: dict[str, Any] = {"va": "center", "family": pen.letters.families}
        ax.text(-0.01 * start.max(), y[at], name, ha="right", size=6.5, color=INK, **style)
        done = percent(row["surveyed"] / row["components"]) if row["components"] else ""
        ax.text(start[at] + 0.01 * start.max(), y[at], done, size=6, color=PALE_INK, **style)
    ax.set(yticks=[], ylim=(-0.6, len(classes) - 0.4), xlim=(0, max(float(start.max()), 1.0) * 1.1))
    ax.xaxis.set_major_locator(_whole())
    ax.tick_params(axis="x", labelsize=6)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.legend(loc="lower right", frameon=False, prop={"family": pen.letters.families, "size": 6.5}, handlelength=1.0)
    if more > 0:
        pen(
            left - 1.5,
            low - 0.17,
            pen.letters.both(f"另有 {more} 类", f"and {more} more classes", "  "),
            6.5,
            color=PALE_INK,
        )


def _whole() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4, integer=True)


def _map(pen: Pen, places: gpd.GeoDataFrame, areas: gpd.GeoDataFrame, box: tuple[float, float, float, float]) -> None:
    """The communities in the colour of their share."""
    left, low, wide, tall = box
    width, height = A4_IN
    pen.heading(left, low + tall + 0.3, "各社区已普查占比", "Share surveyed, by community")
    ax: Axes = pen.figure.add_axes((left / width, low / height, wide / width, tall / height))
    ax.set(xticks=[], yticks=[], facecolor="white")
    for edge in ax.spines.values():
        edge.set(color="#b5aea2", linewidth=0.8)
    west, south, east, north = areas.total_bounds
    unit = 1.05 * max((east - west) / wide, (north - south) / tall) / 2
    x, y = (west + east) / 2, (south + north) / 2
    drawn = places[places.geometry.notna()]
    tones = np.array([tone_of(share) for share in drawn["share"]], dtype=object)
    for tone in dict.fromkeys(tones):
        fill(ax, drawn.geometry[tones == tone], 1, facecolor=tone, edgecolor="#8a7590", linewidth=0.3)
    streets = areas[areas["code"].str.len() == 9]
    fill(ax, streets.geometry, 2, facecolor="none", edgecolor=BORDER, linewidth=0.8)
    ax.set(xlim=(x - unit * wide, x + unit * wide), ylim=(y - unit * tall, y + unit * tall))
    scale_and_north(ax, shapely.box(west, south, east, north), pen.letters, halved=wide > 5)
    _street_names(ax, streets, pen.letters)


def _street_names(ax: Axes, streets: gpd.GeoDataFrame, letters: Lettering) -> None:
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.2, foreground="white", alpha=0.9)]
    for row in streets.itertuples() if len(streets) <= 12 else ():
        spot = shapely.point_on_surface(row.geometry)
        text = letters.both(name_of(row, True) if letters.chinese else None, name_of(row, False))
        label = ax.text(spot.x, spot.y, text, size=7.5, ha="center", va="center", family=letters.families, zorder=4)
        label.set(path_effects=halo, color=BORDER)


def _key(pen: Pen, x: float, y: float) -> None:
    """What the colours mean, in one line."""
    from matplotlib.patches import Rectangle

    for tone, (zh, en) in legend_steps():
        sign = Rectangle((x, y - 0.13), 0.2, 0.13, transform=pen.figure.dpi_scale_trans, fc=tone, ec="#8a7590", lw=0.4)
        pen.figure.add_artist(sign)
        pen(x + 0.26, y, zh if zh == en else pen.letters.both(zh, en, " "), 7, color=PALE_INK)
        x += 0.78 if tone == TONES[-1] else 1.0
