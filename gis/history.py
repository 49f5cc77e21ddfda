"""History: every versioned row holds from one instant on and points to the change that made it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import pandas as pd
from sqlalchemy import Connection

from gis.db import query
from gis.errors import Invalid

Frame = TypeVar("Frame", bound=pd.DataFrame)


@dataclass(frozen=True)
class Version:
    """What all rows written by one change have in common."""

    since: datetime  #: the instant from which they hold
    change_id: int

    def __post_init__(self) -> None:
        if self.since.tzinfo is None:
            raise Invalid(
                f"{self.since} has no time zone", f"时间 {self.since} 没有时区", mend="give the time with its offset"
            )

    def stamp(self, frame: Frame) -> Frame:
        """The frame with the columns ``valid`` (from then on, without an end) and ``change_id``."""
        return frame.assign(valid=f"[{self.since.isoformat()},)", change_id=self.change_id)


def record_change(conn: Connection, *, since: datetime, actor: str, reason: str, source: str | None = None) -> Version:
    """A new change: who, why, resting on which source; its rows hold from ``since`` on."""
    for name, text in (("actor", actor), ("reason", reason)):
        if not text.strip() or "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise Invalid(
                f"{name}: must be words in UTF-8",
                f"{name}：应为非空的 UTF-8 文本",
                mend="say who does it and why",
                mend_zh="请写明操作人与原因",
                field=name,
            )
    row = conn.execute(query("gis", "record_change"), {"actor": actor, "reason": reason, "source": source})
    return Version(since, int(row.scalar_one()))
