"""How far a census is: by community and class, what was seen, what changed, what is still to confirm, what is stale."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from datetime import time as clock
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Connection

from gis.db import query, read_frame
from gis.errors import Invalid
from grids.city import City

#: months after which a visit says nothing any more, unless the city's profile ([census] stale_months) says another
STALE_MONTHS = 24
LONGEST_MONTHS = 1200
COUNTS = ("components", "surveyed", "new", "changed", "to_confirm", "stale", "gone")
#: what the counts are called, English and Chinese
NAMES = {
    "components": ("components", "部件"),
    "surveyed": ("surveyed", "已普查"),
    "new": ("new", "其中新增"),
    "changed": ("changed", "其中变更"),
    "to_confirm": ("to confirm", "待核实"),
    "stale": ("stale", "过期"),
    "gone": ("gone", "已注销"),
}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a census is."""

    since_on: date  #: the census began on this day: who was seen from it on is surveyed
    fresh_on: date  #: who was seen before this day, or never, is stale
    stale_months: int
    #: community (12 digits; empty: in no cell), class_code, class_zh, class_en and COUNTS, a row for each pair
    rows: pd.DataFrame

    def by(self, *columns: str) -> pd.DataFrame:
        """The counts added up by some of the columns; without columns one row of all."""
        if not columns:
            return pd.DataFrame([self.rows[list(COUNTS)].sum().astype(int)])
        return self.rows.groupby(list(columns), as_index=False)[list(COUNTS)].sum()


def census_progress(
    conn: Connection,
    city: City,
    *,
    since_on: date | None = None,
    stale_months: int | None = None,
    classes: Collection[str] = (),
    areas: Collection[str] = (),
    now: datetime | None = None,
) -> Progress:
    """How far a census is that began on a day; a component that stands is surveyed, to confirm, or stale.

    since_on : first day of the census; default [census] since of the profile, else 1 January of this year
    stale_months : default [census] stale_months of the profile, else STALE_MONTHS
    classes, areas : beginnings of codes (classes, areas of the grid)

    surveyed: its field visit is of that day or later; of these, new: it was not there on that day, changed: a field,
    its shape or its place is not what it was then. To confirm: seen before, within the months; stale: longer ago, or
    never. Gone: stood on that day and does not now. components = surveyed + to_confirm + stale.
    Raises Invalid for a day or a number of months that cannot be.
    """
    today = (now or datetime.now(ZoneInfo(city.timezone))).astimezone(ZoneInfo(city.timezone)).date()
    settings = city.profile.get("census", {})
    since = since_on or settings.get("since") or today.replace(month=1, day=1)
    months = int(stale_months if stale_months is not None else settings.get("stale_months", STALE_MONTHS))
    if not date(1900, 1, 1) <= since <= today:
        raise Invalid(
            f"a census cannot have begun on {since}",
            f"普查不可能始于 {since}",
            mend="name a day from 1900 on that is not in the future",
            mend_zh="请给出 1900 年以后、不晚于今天的日期",
            field="since",
        )
    if not 1 <= months <= LONGEST_MONTHS:
        raise Invalid(
            f"{months} months is no age of a survey",
            f"{months} 个月不是有效的期限",
            mend=f"1 to {LONGEST_MONTHS} months",
            mend_zh=f"请给出 1 至 {LONGEST_MONTHS} 个月",
            field="stale_months",
        )
    fresh = (pd.Timestamp(today) - pd.DateOffset(months=months)).date()
    rows = read_frame(
        conn,
        query("layers", "census_progress"),
        since_on=since,
        since_at=datetime.combine(since, clock(), ZoneInfo(city.timezone)),
        fresh_on=fresh,
        classes=list(classes) or None,
        areas=list(areas) or None,
    )
    return Progress(since_on=since, fresh_on=fresh, stale_months=months, rows=rows)
