"""The rounds of the clockwork: what becomes due by itself, once (``wanmi upkeep``) or while ``wanmi serve`` runs."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

from api.deps import House
from api.health import WARN_DAYS
from cases.photo import KEPT_S, PhotoStore
from cases.reports import ensure_partition_of_today
from cases.upkeep import keep_up
from gis.db import query
from gis.settings import Settings
from grids.city import City

log = logging.getLogger("wanmi")
EVERY_S = 20.0

Line = tuple[str, str]


def photo_store(settings: Settings, city: City) -> PhotoStore:
    """Where the photos of a city are kept."""
    return PhotoStore(settings.photos_of(city.id))


def sweep_photos(house: House) -> int:
    """Remove photos that no event names and that were sent some hours ago; how many files went."""
    with house.engine.begin() as conn:
        conn.execute(query("cases", "forget_photos"), {"older_than_s": KEPT_S})
        named = set(conn.scalars(query("cases", "named_photos")))
    return len(house.photos.sweep(named))


def do_upkeep(house: House) -> list[Line]:
    """One round; says what was done."""
    done: Counter[str] = Counter()
    with house.engine.begin() as conn:
        clockwork = house.clockwork(conn)
        ensure_partition_of_today(conn)
    for name, acted in keep_up(house.engine, partial(house.clockwork, hold=True)):
        done[name] += 1
        house.ring(acted.case)
    lines = [
        (
            f"resumed {done['resume']}, escalated {done['escalate']}",
            f"恢复计时 {done['resume']} 件，超时升级 {done['escalate']} 件",
        )
    ]
    swept = sweep_photos(house)
    if swept:
        lines.append((f"{swept} photos that no case names removed", f"清理无主照片 {swept} 张"))
    end = datetime.fromtimestamp(clockwork.calendar.known_to / 1e6, UTC)
    days = (end - datetime.now(UTC)).days
    if days < WARN_DAYS:
        lines.append(
            (
                f"the work calendar ends in {days} days ({house.at(end)}): add the next year (wanmi calendar import)",
                f"工作日历将在 {days} 天后到期（{house.at(end)}），请导入下一年（wanmi calendar import）",
            )
        )
    return lines


def unexplained(house: House) -> Iterator[Line]:
    """Cases whose events do not tell what they are, a line each, and how many are whole."""
    wrong = unknown = 0
    with house.begin_reading() as conn:
        for year in conn.scalars(query("cases", "years_of_cases")).all():
            span = {"after": year * 10**10, "upto": (year + 1) * 10**10}
            for row in conn.execute(query("cases", "unexplained"), span):
                unknown, wrong = unknown + bool(row.unknown), wrong + (not row.unknown)
                if not row.unknown:
                    yield f"  case {row.no} is not what its events tell", f"  案件 {row.no} 与其事件不符"
        total = conn.execute(query("cases", "how_many_cases")).scalar_one()
    yield (
        f"{total - wrong - unknown:,} of {total:,} cases are what their events tell; {wrong} are not, {unknown} were "
        "written by an older version without their facts",
        f"{total:,} 件案件中 {total - wrong - unknown:,} 件与事件相符，{wrong} 件不符，{unknown} 件系旧版本写入",
    )


@contextmanager
def kept_up(house: House) -> Iterator[None]:
    """While the block runs, a round every EVERY_S; a failing round is told and tried again."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(EVERY_S):
            try:
                do_upkeep(house)
            except Exception as error:
                log.warning("upkeep failed, trying again: %s", error)

    thread = threading.Thread(target=work, name="upkeep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=5)
