"""``wanmi upkeep``: what becomes due by itself (api/rounds.py)."""

from __future__ import annotations

from typing import Annotated

import typer

from api.door import CityOption, opened, show


def upkeep(
    context: typer.Context,
    every: Annotated[float | None, typer.Option(min=1, help="Do it again every so many seconds, until Ctrl-C.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Tell each case anew from its events and compare.")] = False,
    city: CityOption = None,
) -> None:
    """Do what is due by itself, as `wanmi serve` does while it runs.

    Resumes suspended cases, escalates overdue ones, makes next year's partitions, removes photos that no case names,
    warns before the calendar ends. With --verify each case is told anew from its events and compared.

    处理到期事项:恢复挂账到期案件、升级超时案件、建立下一年分区、清理无主照片、提示工作日历将到期。

    Example: wanmi upkeep
    """
    import time

    from api.deps import House
    from api.rounds import do_upkeep, photo_store, unexplained

    with opened(context, city, loaded=True) as (engine, profile, _, _):
        house = House(city=profile, engine=engine, reading="accounts", photos=photo_store(context.obj, profile))
        while True:
            show(iter([*do_upkeep(house), *(unexplained(house) if verify else ())]), context.obj)
            if every is None:
                return
            time.sleep(every)
