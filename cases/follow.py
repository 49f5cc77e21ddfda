"""Open cases follow a redrawn grid: they get its cell and are assigned anew; closed ones keep the cell they had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from gis.db import query


@dataclass(frozen=True, kw_only=True)
class MovedCase:
    """An open case that a redrawn grid touched."""

    no: int
    from_code: str
    to_code: str | None
    from_unit: str | None  #: code of the unit that led
    to_unit: str | None
    noted: bool  #: cell, unit, basis or rule are others than before: an event says so
    lost: bool  #: no cell is near any more; it keeps the version it had


@dataclass(frozen=True, kw_only=True)
class NamingRule:
    """A rule for a cell which is no more."""

    code: str
    cell_code: str


def reassign(
    conn: Connection, ended_ids: Sequence[int], begun_ids: Sequence[int], *, actor: str, edition: int
) -> list[MovedCase]:
    """After grids.publish and layers.replace_cells: open cases get the new cells and are assigned anew.

    An event with the act ``assign`` is written where cell, unit, basis or rule changed. Returns the cases touched.
    """
    row = {"ended_ids": list(ended_ids), "begun_ids": list(begun_ids), "actor": actor, "edition": edition}
    return [MovedCase(**found) for found in conn.execute(query("cases", "reassign"), row).mappings()]


def open_cases(conn: Connection) -> int:
    """How many cases are open."""
    return int(conn.execute(query("cases", "open_cases_count")).scalar_one())


def rules_naming(conn: Connection, codes: Sequence[str]) -> list[NamingRule]:
    """Rules of today whose area is one of these cells, by code."""
    rows = conn.execute(query("cases", "rules_naming_cells"), {"codes": list(codes)}).mappings()
    return [NamingRule(**row) for row in rows]
