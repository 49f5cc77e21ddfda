"""Components follow a redrawn grid: they get the code of the cell that now covers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from gis.db import query


@dataclass(frozen=True, kw_only=True)
class MovedComponent:
    """A component whose cell is another than before."""

    code: str
    from_code: str | None
    to_code: str | None  #: None: no cell covers it any more


@dataclass(frozen=True, kw_only=True)
class NamingUnit:
    """A unit that is the body of a cell which is no more."""

    code: str
    name_zh: str
    name_en: str
    cell_code: str


def replace_cells(conn: Connection, ended_ids: Sequence[int], begun_ids: Sequence[int]) -> list[MovedComponent]:
    """After grids.publish: give components the cell that now covers them; those whose code changed.

    ended_ids, begun_ids : versions of cells, as grids.editions.publish returns them. A component that no cell covers
    any more is named with to_code None.
    """
    row = {"ended_ids": list(ended_ids), "begun_ids": list(begun_ids)}
    return [MovedComponent(**found) for found in conn.execute(query("layers", "replace_cells"), row).mappings()]


def components_in_cells(conn: Connection) -> tuple[int, int]:
    """How many components of today have a cell, and how many there are."""
    row = conn.execute(query("layers", "components_in_cells")).one()
    return int(row.in_a_cell), int(row.components)


def units_naming(conn: Connection, codes: Sequence[str]) -> list[NamingUnit]:
    """Units whose territory is one of these cells, by code."""
    rows = conn.execute(query("layers", "units_naming_cells"), {"codes": list(codes)}).mappings()
    return [NamingUnit(**row) for row in rows]
