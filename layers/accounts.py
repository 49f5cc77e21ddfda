"""Accounts: people with roles, channels that may only report, their passwords, sessions and tokens.

Passwords are kept as Argon2id, sessions and tokens as SHA-256 of 256 random bits. A session's cookie is signed as
well, so that a forged one is refused before the database is asked. Failed log-ins make the next try with that name
wait; the answer is the same whether the name is unknown, the password wrong or the account disabled.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from functools import cache
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from itsdangerous import BadSignature, Signer
from sqlalchemy import Connection

from gis.db import query
from gis.errors import Conflict, Invalid, NotFound

#: Roles in the words of the manual: English, Chinese.
ROLES = {
    "collector": ("collector", "信息监督员"),
    "acceptor": ("acceptor", "受理员"),
    "duty_chief": ("duty chief", "值班长"),
    "dispatcher": ("dispatcher", "派遣员"),
    "district_dispatcher": ("district dispatcher", "区级派遣员"),
    "unit": ("unit", "专业部门"),
    "leader": ("leader", "领导"),
    "video_operator": ("video operator", "视频操作员"),
    "gis_editor": ("GIS editor", "地理信息编辑"),
    "planner": ("planner", "规划分析"),
    "administrator": ("administrator", "系统管理员"),
    "channel": ("channel", "渠道"),
}
OF_A_UNIT = frozenset({"unit", "district_dispatcher"})  #: these see the work of their unit and the units below it
#: What a role's reports come in as; an acceptor registers what the hotline hears.
REPORTS_AS = {"collector": "collector", "leader": "leader", "video_operator": "video", "acceptor": "public"}
CHANNELS = ("public", "web", "video")

SESSION_S = 12 * 3600  #: a shift
TOKEN_DAYS = 365
SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 200
MOST_WAIT_S = 8.0  #: a try with a name that failed often waits no longer than this


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who asks: an account that was proved by session or token."""

    id: int
    name: str
    display_zh: str
    display_en: str
    roles: frozenset[str]
    channel: str | None
    unit: dict[str, str] | None  #: code, name_zh, name_en, kind
    collector_code: str | None = None  #: which collector the person is

    @property
    def sees_unit_only(self) -> bool:
        """Whether it sees nothing but the work of its unit."""
        return bool(self.roles) and self.roles <= OF_A_UNIT

    @property
    def channels(self) -> tuple[str, ...]:
        """The sources that its reports may come in as; empty: it may not report."""
        if self.channel is not None:
            return (self.channel,)
        return tuple(REPORTS_AS[role] for role in REPORTS_AS if role in self.roles)


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher()  # RFC 9106, second recommended option: 64 MiB, 3 passes


def add_account(
    conn: Connection,
    name: str,
    *,
    roles: list[str],
    display_zh: str | None = None,
    display_en: str | None = None,
    unit_code: str | None = None,
    collector_code: str | None = None,
    channel: str | None = None,
    password: str | None = None,
) -> None:
    """Make an account. Without a password it has none: it can only use tokens.

    Raises Invalid for a name, role, channel, unit or password that cannot be, Conflict when the name was ever used.
    """
    _refuse_unfit(conn, name, roles, unit_code, channel)
    if collector_code is not None:
        _refuse_no_collector(conn, collector_code)
    row = {
        "name": name,
        "display_zh": display_zh or "、".join(ROLES[role][1] for role in roles),
        "display_en": display_en or name,
        "roles": sorted(set(roles)),
        "channel": channel,
        "unit_code": unit_code,
        "collector_code": collector_code,
        "password_hash": None if password is None else hashed(password),
    }
    if conn.execute(query("layers", "add_account"), row).scalar_one_or_none() is None:
        raise Conflict(
            f"there is an account {name} already, or there was one",
            f"账号 {name} 已存在(或曾经存在)",
            mend="choose another name; 'wanmi account password' gives an account a new password",
            mend_zh="请另选名称;重设密码用 wanmi account password",
            field="name",
        )


def set_collector(conn: Connection, name: str, collector_code: str) -> None:
    """Say which collector a person is: tasks on site go to collectors. NotFound for one that is none."""
    _refuse_no_collector(conn, collector_code)
    if conn.execute(query("layers", "set_collector"), {"name": name, "code": collector_code}).first() is None:
        raise NotFound(
            f"there is no account {name}",
            f"没有账号 {name}",
            mend="'wanmi account list' lists them",
            mend_zh="wanmi account list 可列出",
        )


def _refuse_no_collector(conn: Connection, code: str) -> None:
    if not conn.execute(query("layers", "collector_there"), {"code": code}).scalar_one():
        raise NotFound(
            f"there is no collector {code}",
            f"没有监督员 {code}",
            mend="'wanmi collectors export FILE' lists them",
            mend_zh="wanmi collectors export 可导出名单",
            field="collector",
        )


def _refuse_unfit(conn: Connection, name: str, roles: list[str], unit_code: str | None, channel: str | None) -> None:
    if not re.fullmatch("[a-z][a-z0-9._-]{1,39}", name):
        raise Invalid(
            f"{name!r} is no name of an account",
            f"{name!r} 不能用作账号名",
            mend="2 to 40 of a-z 0-9 . _ - beginning with a letter",
            mend_zh="2 至 40 个小写字母、数字或 . _ -,以字母开头",
            field="name",
        )
    unknown = [role for role in roles if role not in ROLES]
    if unknown or not roles:
        raise Invalid(
            f"there is no role {unknown[0]!r}" if unknown else "an account needs a role",
            f"没有角色 {unknown[0]!r}" if unknown else "账号须有角色",
            mend=f"choose of: {', '.join(ROLES)}",
            mend_zh=f"可选:{'、'.join(ROLES)}",
            field="role",
        )
    if (channel is not None) != (roles == ["channel"]) or (channel is not None and channel not in CHANNELS):
        raise Invalid(
            "the role channel goes with one channel and with no other role",
            "渠道账号须指定渠道,且不能兼有其他角色",
            mend=f"--role channel --channel one of: {', '.join(CHANNELS)} (public is the hotline)",
            mend_zh=f"请用 --role channel --channel,取值:{'、'.join(CHANNELS)}(public 为热线)",
            field="channel",
        )
    if unit_code is None and OF_A_UNIT & set(roles):
        raise Invalid(
            "people of a unit need their unit",
            "专业部门人员须指定所属单位",
            mend="--unit CODE",
            mend_zh="请用 --unit 指定单位代码",
            field="unit",
        )
    if unit_code is not None and conn.execute(query("layers", "unit_exists"), {"code": unit_code}).first() is None:
        raise Invalid(
            f"there is no unit {unit_code!r}",
            f"没有单位 {unit_code!r}",
            mend="codes of units are in data/<city>/units.csv",
            mend_zh="单位代码见 data/<城市>/units.csv",
            field="unit",
        )


def hashed(password: str) -> str:
    """The Argon2id hash of a password; Invalid when it is too short, too long or has no visible sign."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD or not password.strip():
        raise Invalid(
            f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters",
            f"密码须为 {SHORTEST_PASSWORD} 至 {LONGEST_PASSWORD} 个字符",
            mend="take three or four words that nobody connects with you",
            mend_zh="请使用几个互不相关的词组成",
            field="password",
        )
    return _hasher().hash(password)


def set_password(conn: Connection, name: str, password: str) -> None:
    """Give an account a new password; its sessions and tokens end. Raises NotFound for no such person."""
    row = {"name": name, "password_hash": hashed(password)}
    _known(conn.execute(query("layers", "set_password"), row).first(), name)
    conn.execute(query("layers", "end_tokens"), {"name": name})


def disable_account(conn: Connection, name: str) -> None:
    """From now on nothing of this account is taken; what it did keeps its name. Raises NotFound."""
    _known(conn.execute(query("layers", "disable_account"), {"name": name}).first(), name)
    conn.execute(query("layers", "end_tokens"), {"name": name})


def add_token(conn: Connection, name: str, *, days: float = TOKEN_DAYS) -> str:
    """A new token of an account, for a program: shown once, here. Raises NotFound, Conflict for a disabled account."""
    account = conn.execute(query("layers", "read_account"), {"name": name}).first()
    _known(account, name)
    if account is not None and account.disabled_at is not None:
        raise Conflict(
            f"the account {name} is disabled",
            f"账号 {name} 已停用",
            mend="use another account",
            mend_zh="请使用其他账号",
            field="name",
        )
    if not 0 < days <= 3660:
        raise Invalid(
            "a token lasts from a moment to ten years",
            "令牌有效期不超过十年",
            mend="--days 365",
            mend_zh="例如 --days 365 天",
            field="days",
        )
    return _issue(conn, account.id if account is not None else 0, "token", days * 86_400)


def _known(row: Any, name: str) -> None:
    if row is None:
        raise NotFound(
            f"there is no person's or channel's account {name!r} that this can be done to",
            f"没有可执行此操作的账号 {name!r}",
            mend="'wanmi account list' shows all",
            mend_zh="wanmi account list 可列出全部账号",
            field="name",
        )


def _issue(conn: Connection, account_id: int, kind: str, seconds: float) -> str:
    token = secrets.token_urlsafe(32)
    row = {"sha256": _sha256(token), "account_id": account_id, "kind": kind, "seconds": seconds}
    conn.execute(query("layers", "add_token"), row)
    return token


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def actor_of_token(conn: Connection, token: str) -> Actor | None:
    """Whose token it is; None when it is nobody's, has ended, or its account is disabled."""
    return _actor(
        conn.execute(query("layers", "account_of_token"), {"sha256": _sha256(token), "kind": "token"}).first()
    )


def _actor(row: Any) -> Actor | None:
    if row is None:
        return None
    unit = None
    if row.unit_code is not None:
        names = {"name_zh": row.unit_zh or row.unit_code, "name_en": row.unit_en or row.unit_code}
        unit = {"code": row.unit_code, **names, "kind": row.unit_kind or "professional_department"}
    return Actor(
        id=row.id,
        name=row.name,
        display_zh=row.display_zh,
        display_en=row.display_en,
        roles=frozenset(row.roles),
        channel=row.channel,
        unit=unit,
        collector_code=row.collector_code,
    )


# ── sessions ────────────────────────────────────────


def login_turn(conn: Connection, name: str, client: str = "") -> float:
    """Seconds that this try must wait before its password is looked at; tries with one name from one client queue up.

    By client, so that somebody who keeps trying a name elsewhere does not keep its owner out.
    """
    row = {"name_sha256": _sha256(f"{name}\0{client}"), "most_s": MOST_WAIT_S}
    return max(0.0, float(conn.execute(query("layers", "login_turn"), row).scalar_one()))


def log_in(conn: Connection, name: str, password: str, client: str = "") -> tuple[Actor, str] | None:
    """The actor and the token of a new session; None when name and password do not belong together.

    Takes equally long for a name that nobody has.
    """
    row = conn.execute(query("layers", "read_account"), {"name": name}).first()
    known = row is not None and row.password_hash is not None
    try:
        _hasher().verify(row.password_hash if row is not None and known else _nobodys_hash(), password)
        proved = known and row is not None and row.disabled_at is None
    except (Argon2Error, InvalidHashError):
        proved = False
    if not proved or row is None:
        return None
    conn.execute(query("layers", "login_succeeded"), {"name_sha256": _sha256(f"{name}\0{client}")})
    conn.execute(query("layers", "sweep_tokens"))
    token = _issue(conn, row.id, "session", SESSION_S)
    found = actor_of_session(conn, token)
    return None if found is None else (found, token)


@cache
def _nobodys_hash() -> str:
    return _hasher().hash(secrets.token_urlsafe(16))


def actor_of_session(conn: Connection, token: str) -> Actor | None:
    """Whose session it is; None when it is nobody's, has ended, or its account is disabled."""
    row = conn.execute(query("layers", "account_of_token"), {"sha256": _sha256(token), "kind": "session"}).first()
    return _actor(row)


def log_out(conn: Connection, token: str) -> None:
    """End a session."""
    conn.execute(query("layers", "end_token"), {"sha256": _sha256(token)})


class Cookies:
    """Signs what a session's cookie holds, and tells the token that protects its writes (CSRF)."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._signer = Signer(key, salt="wanmi.session", digest_method=hashlib.sha256)

    @classmethod
    def read(cls, conn: Connection) -> Cookies:
        """With the key that all server processes of this database share."""
        return cls(bytes(conn.execute(query("layers", "secret"), {"name": "cookies"}).scalar_one()))

    def sign(self, token: str) -> str:
        """The value of the cookie."""
        return self._signer.sign(token).decode()

    def token(self, cookie: str) -> str | None:
        """The token in a cookie, None when the cookie was not signed here."""
        try:
            return self._signer.unsign(cookie).decode()
        except (BadSignature, UnicodeError):
            return None

    def csrf(self, token: str) -> str:
        """What a page must send along with each write of this session; another site cannot know it."""
        return hmac.new(self._key, b"csrf:" + token.encode(), hashlib.sha256).hexdigest()


def units_of(conn: Connection, actor: Actor | None) -> tuple[int, ...] | None:
    """Ids of the units whose work an actor sees: its own and those below; None: everybody's."""
    if actor is None or not actor.sees_unit_only or actor.unit is None:
        return None
    ids = conn.scalars(query("layers", "units_below"), {"code": actor.unit["code"]})
    return tuple(sorted(ids)) or (0,)  # a unit that is no more has no work, not everybody's
