"""What if (推演): the same cases assigned before and after a draft, compared; nothing of it stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import pandas as pd
from sqlalchemy import Connection

from gis.db import query
from gis.layer import read_geoframe

BATCH = 4_000
DAYS = 365

#: What the frame of :func:`differences` holds for each case.
COLUMNS = ("no", "open", "class_code", "from_cell", "to_cell", "from_unit", "to_unit", "from_rule", "to_rule", "what")


@dataclass(frozen=True)
class Compared:
    """How the cases of a year fare under a draft."""

    cases: int  #: that were looked at
    open: int  #: of these still open
    decided: int  #: left as they are, since a dispatcher decided
    differing: gpd.GeoDataFrame  #: COLUMNS and the place; what: unit, area, cell, outside: the gravest difference


def stage_before(conn: Connection, *, days: int = DAYS, progress: Callable[[float], None]) -> int:
    """Take the cases of the last ``days`` (and all open ones) and assign them as things are now; returns how many."""
    conn.execute(query("cases", "stage_what_if"))
    total = int(conn.execute(query("cases", "take_what_if"), {"days": days}).scalar_one())
    _assign(conn, "before", total, progress)
    return total


def compare_after(conn: Connection, srid: int, total: int, *, progress: Callable[[float], None]) -> Compared:
    """Assign the same cases again, after the draft was applied in this transaction, and compare."""
    _assign(conn, "after", total, progress)
    counts = conn.execute(query("cases", "what_if_counts")).one()
    differing = read_geoframe(conn, query("cases", "what_if_differing"), srid)
    return Compared(cases=counts.cases, open=counts.open, decided=counts.decided, differing=differing)


def _assign(conn: Connection, side: str, total: int, progress: Callable[[float], None]) -> None:
    for first in range(0, total, BATCH):
        conn.execute(query("cases", "assign_what_if"), {"side": side, "low": first, "high": first + BATCH})
        progress(min(1.0, (first + BATCH) / total))


def by_units(differing: gpd.GeoDataFrame) -> pd.DataFrame:
    """How many cases go from which unit to which, open ones apart: from_unit, to_unit, cases, open; most first."""
    moved: Any = differing[differing["what"] == "unit"]
    if moved.empty:
        return pd.DataFrame(columns=["from_unit", "to_unit", "cases", "open"])
    groups = moved.fillna({"from_unit": "", "to_unit": ""}).groupby(["from_unit", "to_unit"])["open"]
    table = groups.agg(cases="count", open="sum").reset_index()
    order = table.sort_values(["cases", "from_unit", "to_unit"], ascending=[False, True, True], ignore_index=True)
    return pd.DataFrame(order)
