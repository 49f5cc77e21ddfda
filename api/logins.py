"""Lines about accounts: all of them, and the demo's log-ins, which are told once."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection

from gis.db import query
from grids.city import City
from layers.accounts import CHANNELS, OF_A_UNIT, ROLES, add_account

Line = tuple[str, str]
_CONSONANTS, _VOWELS = "bdfghjkmnprstvwz", "aeiou"


def new_password(groups: int = 4) -> str:
    """A password that can be read aloud: syllables in groups, over 50 bits."""

    def syllable() -> str:
        return secrets.choice(_CONSONANTS) + secrets.choice(_VOWELS) + secrets.choice(_CONSONANTS)

    return "-".join(syllable() + secrets.choice("23456789") for _ in range(groups))


def demo_accounts(conn: Connection, city: City) -> Iterator[Line]:
    """On the first demo of a city that has no account: one log-in for each role, told once, here."""
    if conn.execute(query("layers", "count_accounts")).scalar_one():
        yield (
            "\n  log-ins      as shown the first time; lost? ./wanmi account password collector",
            "\n  登录账号    见首次显示;遗失可用 ./wanmi account password collector 重设",
        )
        return
    unit = _busiest_unit(conn)
    yield (
        "\n  log-ins, one for each role; shown this once, passwords are kept as hashes",
        "\n  各角色的登录账号(仅显示这一次,密码只存散列值)",
    )
    for role, (en, zh) in ROLES.items():
        if role == "channel" or (role in OF_A_UNIT and unit is None):
            continue
        name, password = role.replace("_", "-"), new_password()
        of_unit = unit.code if unit is not None and role in OF_A_UNIT else None
        add_account(
            conn,
            name,
            roles=[role],
            display_zh=f"{zh}（演示）",
            display_en=f"{en} (demo)",
            unit_code=of_unit,
            collector_code=conn.execute(query("cases", "busiest_collector")).scalar() if role == "collector" else None,
            password=password,
        )
        where_en, where_zh = (f"  {unit.name_en}", f"  {unit.name_zh}") if of_unit and unit is not None else ("", "")
        yield f"    {name:<22}{password:<22}{en}{where_en}", f"    {name:<22}{password:<22}{zh}{where_zh}"
    for channel in CHANNELS:
        add_account(
            conn,
            f"channel-{channel}",
            roles=["channel"],
            channel=channel,
            display_zh=f"渠道 {channel}（演示）",
            display_en=f"channel {channel} (demo)",
        )


def _busiest_unit(conn: Connection) -> Any:
    """The unit with the most cases: its people have something to see."""
    return conn.execute(query("cases", "busiest_unit")).first()


def account_lines(conn: Connection) -> Iterator[Line]:
    """All accounts, a line each."""
    for row in conn.execute(query("layers", "list_accounts")):
        roles = ", ".join(row.roles) + (f" ({row.channel})" if row.channel else "")
        unit = f"  {row.unit_code}" if row.unit_code else ""
        many = "token" if row.tokens == 1 else "tokens"
        tokens = (f"  {row.tokens} {many}", f"  {row.tokens} 个令牌") if row.tokens else ("", "")
        ended = ("  DISABLED", "  已停用") if row.disabled_at else ("", "")
        for_zh = "、".join(f"{ROLES[role][1]} {role}" for role in row.roles) + (
            f"({row.channel})" if row.channel else ""
        )
        yield (
            f"{row.name:<24}{roles}{unit}{tokens[0]}{ended[0]}",
            f"{row.name:<24}{for_zh}{unit}{tokens[1]}{ended[1]}",
        )
