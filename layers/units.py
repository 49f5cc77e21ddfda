"""Organisations (责任单位) and collectors."""

from __future__ import annotations

import pandas as pd
from sqlalchemy import Connection

from gis.db import copy_frame, query
from gis.errors import Invalid

COLUMNS = ["code", "name_zh", "name_en", "kind", "area_code"]


def load_units(conn: Connection, units: pd.DataFrame) -> dict[str, int]:
    """Write units (code, names, kind, parent_code, area_code); returns their ids by code.

    Raises Invalid when a parent is not among them.
    """
    copy_frame(conn, units[COLUMNS], "layers.unit")
    ids = unit_ids(conn)
    children = units[units["parent_code"].notna()]
    refuse_unknown(children["parent_code"], ids, "units", "parent_code")
    pairs = [
        {"id": ids[code], "parent_id": ids[parent]}
        for code, parent in zip(children["code"], children["parent_code"], strict=True)
    ]
    if pairs:
        conn.execute(query("layers", "set_parent"), pairs)
    return ids


def unit_ids(conn: Connection) -> dict[str, int]:
    """The ids of all units by code."""
    return {row.code: row.id for row in conn.execute(query("layers", "unit_ids"))}


def load_collectors(conn: Connection, collectors: pd.DataFrame) -> int:
    """Write collectors (code, names, unit_code); returns the rows."""
    if collectors.empty:
        return 0
    ids = unit_ids(conn)
    refuse_unknown(collectors["unit_code"], ids, "collectors", "unit_code")
    frame = collectors[["code", "name_zh", "name_en"]]
    return copy_frame(conn, frame.assign(unit_id=collectors["unit_code"].map(ids)), "layers.collector")


def refuse_unknown(codes: pd.Series, known: dict[str, int], table: str, column: str) -> None:
    """Raise Invalid that names the first code which is not known; missing ones pass."""
    strange = codes[codes.notna() & ~codes.isin(list(known))]
    if not strange.empty:
        raise Invalid(
            f"{table}: {column} {strange.iloc[0]!r} is no unit ({strange.nunique()} such codes)",
            f"{table}:{column} {strange.iloc[0]!r} 不是已知单位",
            mend="add the unit to units.csv or correct the code",
            table=table,
            row=strange.index[0],
            field=column,
        )
