"""Imports that were promoted: which there were, and undoing one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from gis.db import query
from gis.errors import Conflict, NotFound
from gis.history import record_change


@dataclass(frozen=True, kw_only=True)
class Census:
    """An import that was promoted."""

    id: int
    file_name: str
    sha256: str
    class_codes: list[str]
    counts: dict[str, Any]  #: rows by fate, findings by rule
    change_id: int
    imported_at: datetime
    imported_by: str
    undone_at: datetime | None
    undone_by: str | None
    reason: str


def list_censuses(conn: Connection) -> list[Census]:
    """The imports that were promoted, by number."""
    return [Census(**row) for row in conn.execute(query("layers", "list_censuses")).mappings()]


def undo_census(conn: Connection, id: int, *, actor: str, reason: str | None = None, keep_edited: bool = False) -> int:
    """Undo an import as one change: what it began ends, what it ended holds again. Returns the components concerned.

    Raises NotFound; Conflict when it is undone already, or when components were edited since (they are named; with
    ``keep_edited`` they stay as they are). Codes that it gave out are not used again.
    """
    conn.execute(query("layers", "hold_grid"))
    conn.execute(query("layers", "hold_census"))
    row = conn.execute(query("layers", "lock_census"), {"id": id}).one_or_none()
    if row is None:
        raise NotFound(
            f"there is no import {id}",
            f"没有编号为 {id} 的导入",
            mend="wanmi census list shows all",
            mend_zh="可用 wanmi census list 查看",
        )
    if row.undone_at is not None:
        raise Conflict(
            f"import {id} was undone already, by {row.undone_by}",
            f"导入 {id} 已由 {row.undone_by} 撤销",
            mend="import the file again to have it back",
            mend_zh="如需恢复，请重新导入文件",
        )
    which = {"change_id": row.change_id}
    edited = list(conn.execute(query("layers", "census_edited_since"), which).scalars())
    if edited and not keep_edited:
        raise Conflict(
            f"{len(edited):,} components of import {id} were edited since: {', '.join(edited[:10])}",
            f"导入 {id} 的 {len(edited):,} 个部件此后被编辑：{'、'.join(edited[:10])}",
            mend="--keep-edited leaves these as they are and undoes the rest",
            mend_zh="--keep-edited 可保留这些部件，撤销其余部分",
            components=len(edited),
        )
    at = conn.execute(query("layers", "undo_instant"), which).scalar_one()
    words = reason or f"import {id} of {row.file_name} undone"
    undo = record_change(conn, since=at, actor=actor, reason=words, source=f"census {id}").change_id
    facts = {**which, "at": at, "undo_id": undo, "kept": edited}
    ended = conn.execute(query("layers", "undo_end"), facts).rowcount
    begun = conn.execute(query("layers", "undo_begin"), facts).rowcount
    conn.execute(query("layers", "mark_census_undone"), {"id": id, "at": at, "undo_id": undo, "actor": actor})
    return int(max(ended, begun))
