"""What both maps say in words: names, the hottest cells, the period, what the surface is, whose the data are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from geopandas import GeoDataFrame

LEVELS = {"district": 6, "street": 9, "community": 12}  #: digits of an area's code
NUMBERED = 5  #: hottest cells that are outlined, numbered and listed

Pair = tuple[str, str]  #: Chinese, English


@dataclass(frozen=True, kw_only=True)
class Said:
    """What must stand on a map beside its geometry; what is unknown stays away."""

    title_zh: str
    title_en: str
    note_zh: str | None = None  #: e.g. 模拟数据
    note_en: str | None = None  #: e.g. simulated
    attribution_zh: str | None = None  #: the words that the licence of the data asks for
    attribution_en: str | None = None
    first_on: date | None = None  #: day of the first case in the city's zone
    last_on: date | None = None
    cases: int | None = None  #: how many the surface counts
    bandwidth_m: float | None = None  #: standard deviation of the Gaussian kernel

    @property
    def period(self) -> Pair:
        """First and last day and the number of cases; empty texts where nothing is known."""
        days = f"{self.first_on:%Y-%m-%d} – {self.last_on:%Y-%m-%d}" if self.first_on and self.last_on else ""
        zh = [f"统计期 {days}"] if days else []
        en = [days] if days else []
        if self.cases is not None:
            zh.append(f"案件 {self.cases:,} 件")
            en.append(f"{self.cases:,} case" + ("s" if self.cases != 1 else ""))
        return "，".join(zh), ", ".join(en)

    @property
    def surface(self) -> list[Pair]:
        """What the colours are, line by line."""
        lines = [("每平方公里案件数，统计期内", "cases per km² over the period")]
        if self.bandwidth_m is not None:
            lines.append(
                (
                    f"核密度：高斯核，带宽 {self.bandwidth_m:g} 米",
                    f"kernel density: Gaussian, bandwidth {self.bandwidth_m:g} m",
                )
            )
        return lines

    @property
    def texts(self) -> list[str]:
        """Every text, for the choice of a font."""
        lines = [(self.title_zh, self.title_en), (self.note_zh, self.note_en), self.period, *self.surface]
        return [text or "" for line in (*lines, (self.attribution_zh, self.attribution_en)) for text in line]


def at_level(areas: GeoDataFrame, level: str) -> GeoDataFrame:
    """The areas of one level, told by the length of their code."""
    return areas[areas["code"].str.len() == LEVELS[level]]


def name_of(row: Any, chinese: bool) -> str:
    """A person's name for an area or a barrier: Chinese if wanted and there, else English, else its code."""
    fields = ("name_zh", "name_en", "code") if chinese else ("name_en", "code")
    values = (getattr(row, column, None) for column in fields)
    return next((str(value) for value in values if isinstance(value, str) and value), "")


def hot_list(top_cells: GeoDataFrame, areas: GeoDataFrame, count: int = NUMBERED) -> list[tuple[str, str, str, int]]:
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
