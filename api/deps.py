"""What every HTTP request has: the house it enters, who asks, and the filters, each parsed once."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from datetime import time as clock
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import Depends, Query, Request
from fastapi.security import APIKeyCookie, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from sqlalchemy import Connection, Engine

from api.bell import Bell
from api.layers import LAYERS
from cases.acts import Case
from cases.clocks import Clockwork, read_clockwork
from cases.photo import PhotoStore
from cases.standing import Standing
from gis.crs import box_in
from gis.db import query
from gis.errors import Forbidden, Invalid, NotAuthenticated
from gis.layer import Bounds, Given
from gis.tiles import Cache
from grids.city import City
from layers.accounts import ROLES, Actor, Cookies, actor_of_session, actor_of_token, units_of

COOKIE = "wanmi_session"
CSRF = "X-CSRF-Token"
EDITORS = ("gis_editor", "administrator")  #: who edits grid and components
VERSION_S = 0.5  #: how old a version may be that nobody asked to be newer
TILES_BYTES = 96_000_000


@dataclass(kw_only=True)
class House:
    """What all requests of one process share: the city, the pool, the caches."""

    city: City
    engine: Engine
    reading: Literal["open", "accounts"]
    photos: PhotoStore
    outside_map: str | None = None
    outside_map_credit: str = ""
    tiles: Cache = field(default_factory=lambda: Cache(TILES_BYTES))
    surfaces: dict[Any, Any] = field(default_factory=dict)  #: heat, see api/heat.py
    standing_kept: tuple[str, Standing] | None = None  #: see api/manyplaces.py
    lock: threading.Lock = field(default_factory=threading.Lock)
    _versions: tuple[float, dict[str, int]] = (0.0, {})
    _cookies: Cookies | None = None
    _bell: Bell | None = None

    @contextmanager
    def begin_reading(self) -> Iterator[Connection]:
        """A connection whose transaction writes nothing.

        It ends with a commit: on a rollback psycopg forgets every statement it has prepared, and each request would
        have all of its statements planned anew.
        """
        with self.engine.begin() as conn:
            yield conn

    @contextmanager
    def begin_asking(self) -> Iterator[Connection]:
        """A connection for single questions, each a transaction of its own: none is begun and ended beside it."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            yield conn

    @contextmanager
    def begin_writing(self) -> Iterator[Connection]:
        """A transaction that is committed when the block ends; only then may success be answered."""
        with self.engine.begin() as conn:
            yield conn

    @property
    def zone(self) -> ZoneInfo:
        """The city's time zone."""
        return ZoneInfo(self.city.timezone)

    def clockwork(self, conn: Connection, *, hold: bool = False) -> Clockwork:
        """What the clocks of cases go by; ``hold``: kept as it is until the transaction ends."""
        return read_clockwork(conn, self.city, hold=hold)

    @property
    def bell(self) -> Bell:
        """By which desks hear that cases changed."""
        if self._bell is None:
            self._bell = Bell(self.engine)
        return self._bell

    def ring(self, case: Case) -> None:
        """Tell desks that a case changed; nothing depends on it."""
        self.bell.ring({"no": case.no, "stage": case.stage, "seq": case.last_seq, "unit_id": case.unit_id})

    def cookies(self, conn: Connection) -> Cookies:
        """The signer of session cookies."""
        if self._cookies is None:
            self._cookies = Cookies.read(conn)
        return self._cookies

    def versions(self, conn: Connection, *, at_least: int | None = None, of: str = "") -> dict[str, int]:
        """The version of each layer. One that is VERSION_S old may be answered unless the asker has another
        (``at_least``) for the layer ``of``."""
        read_at, known = self._versions
        newer = at_least is not None and at_least != known.get(of)
        if newer or time.monotonic() - read_at > VERSION_S:
            now = time.monotonic()
            known = {row.layer: row.version for row in conn.execute(query("gis", "versions"))}
            known = {name: known.get(layer.version or name, 0) for name, layer in LAYERS.items()}
            self._versions = (now, known)
        return known

    def at(self, instant: datetime | None) -> str | None:
        """An instant as text in the city's zone."""
        return None if instant is None else instant.astimezone(self.zone).isoformat(timespec="seconds")


def _house(request: Request) -> House:
    house: House = request.app.state.house
    return house


async def _in_house(request: Request) -> House:  # async: no thread is needed to hand it over
    return _house(request)


InHouse = Annotated[House, Depends(_in_house)]

# ── who asks ────────────────────────────────────────

by_cookie = APIKeyCookie(name=COOKIE, scheme_name="session", auto_error=False, description="POST /session sets it")
by_token = HTTPBearer(scheme_name="token", auto_error=False, description="a token made by `wanmi account token`")
ByToken = Annotated[HTTPAuthorizationCredentials | None, Depends(by_token)]
ByCookie = Annotated[str | None, Depends(by_cookie)]


@dataclass(frozen=True)
class Credentials:
    """What a request brings to prove who asks; looked at in the transaction that needs to know."""

    house: House
    token: str | None
    cookie: str | None
    csrf: str | None
    writes: bool

    def actor(self, conn: Connection) -> Actor | None:
        """Who asks. None: nobody says. NotAuthenticated for a token or, on writes, a session that is not taken;
        Forbidden for a write with a session's cookie but without its CSRF token."""
        if self.token is not None:
            found = actor_of_token(conn, self.token)
            if found is None:
                raise NotAuthenticated(
                    "this token is not taken: it is none, has ended, or its account is disabled",
                    "令牌无效、已过期或其账号已停用",
                    mend="'wanmi account token NAME' makes a new one",
                    mend_zh="可用 wanmi account token 名称 重新生成",
                )
            return found
        if self.cookie is None:
            return None
        cookies = self.house.cookies(conn)
        session = cookies.token(self.cookie)
        found = None if session is None else actor_of_session(conn, session)
        if found is None or session is None:
            if not self.writes:
                return None
            raise NotAuthenticated("this session has ended", "会话已失效", mend="log in again", mend_zh="请重新登录")
        if self.writes and not _same(self.csrf or "", cookies.csrf(session)):
            raise Forbidden(
                f"a write with a session needs its CSRF token in the header {CSRF}",
                f"使用会话写入时须在请求头 {CSRF} 中附带 CSRF 令牌",
                mend="GET /session tells it; programs use a token instead",
                mend_zh="GET /session 可取得;程序请改用令牌",
                header=CSRF,
            )
        return found

    def reader(self, conn: Connection) -> tuple[int, ...] | None:
        """Ids of the units whose work may be shown, None for all. NotAuthenticated when reading needs an account."""
        actor = self.actor(conn)
        if actor is None and self.house.reading == "accounts":
            raise NotAuthenticated(
                "reading here needs an account",
                "查看数据须先登录",
                mend="log in, or send a token",
                mend_zh="请登录,或附带令牌",
            )
        if actor is not None and actor.roles == {"channel"}:
            raise Forbidden(
                "a channel may only report",
                "渠道账号只能上报",
                mend="use the account of a person",
                mend_zh="请使用人员账号",
            )
        return units_of(conn, actor)

    def writer(self, conn: Connection) -> Actor:
        """Who writes. NotAuthenticated when nobody says."""
        actor = self.actor(conn)
        if actor is None:
            raise NotAuthenticated(
                "every write needs an account",
                "写入操作须先登录",
                mend="log in, or send a token as 'Authorization: Bearer …'",
                mend_zh="请登录,或以 'Authorization: Bearer …' 附带令牌",
            )
        return actor


def editor(who: Credentials, conn: Connection) -> Actor:
    """Who edits grid or components. NotAuthenticated, or Forbidden for other roles."""
    actor = who.writer(conn)
    if not actor.roles & set(EDITORS):
        raise Forbidden(
            f"the account {actor.name} ({', '.join(sorted(actor.roles))}) may not edit the grid or components",
            f"账号 {actor.name} 无权编辑网格与部件",
            mend=f"these roles may: {', '.join(EDITORS)}",
            mend_zh=f"可编辑的角色:{'、'.join(ROLES[role][1] for role in EDITORS)}",
        )
    return actor


def _same(one: str, other: str) -> bool:
    return hashlib.sha256(one.encode()).digest() == hashlib.sha256(other.encode()).digest()


async def _credentials(request: Request, bearer: ByToken, cookie: ByCookie) -> Credentials:
    writes = request.method not in ("GET", "HEAD", "OPTIONS")
    token = bearer.credentials if bearer is not None else None
    return Credentials(_house(request), token, cookie, request.headers.get(CSRF), writes)


Who = Annotated[Credentials, Depends(_credentials)]

# ── filters ────────────────────────────────────────

CLASS = "Classes by code or prefix, comma separated: E01 is all of a major class, C all components."
SOURCE = "Sources, comma separated: collector, public, video, leader, web, other."
STAGE = "Stages, comma separated; open and ended stand for groups."
DAY = "A day in the city's time zone, YYYY-MM-DD; both ends are included."
AREA = "Code of an area: 4 (city), 6, 9 or 12 digits, or of a cell."


@dataclass(frozen=True, kw_only=True)
class Filter:
    """The filters of cases and components, parsed; hashable, so that caches can go by it."""

    classes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    first_on: date | None = None
    last_on: date | None = None

    @property
    def words(self) -> str:
        """The filters as one would write them in an address; empty: none."""
        lists = {
            "class": self.classes,
            "source": self.sources,
            "stage": self.stages,
            "unit": self.units,
            "area": self.areas,
        }
        parts = [f"{name}={','.join(values)}" for name, values in lists.items() if values]
        parts += [f"{name}={day}" for name, day in (("from", self.first_on), ("to", self.last_on)) if day is not None]
        return "&".join(parts)

    def given(self, zone: ZoneInfo, seen_units: tuple[int, ...] | None) -> dict[str, Any]:
        """For Layer.narrowing; ``seen_units`` are those whose work the reader may see."""
        start = None if self.first_on is None else datetime.combine(self.first_on, clock(), zone)
        end = None if self.last_on is None else datetime.combine(self.last_on + timedelta(days=1), clock(), zone)
        given: Given = {
            "class": self.classes,
            "source": self.sources,
            "stage": self.stages,
            "unit": self.units,
            "area": self.areas,
            "from": start,
            "before": end,
            "units": seen_units,
        }
        return dict(given)


def _listed(text: str | None, pattern: str, field_name: str, words: str, words_zh: str) -> tuple[str, ...]:
    """The parts of a comma-separated list, sorted, each once. Invalid for one that cannot be."""
    parts = sorted({part.strip() for part in (text or "").split(",") if part.strip()})
    for part in parts:
        if not re.fullmatch(pattern, part):
            raise Invalid(
                f"{field_name}: {part!r} is none",
                f"{field_name}:{part!r} 无效",
                mend=words,
                mend_zh=words_zh,
                field=field_name,
            )
    return tuple(parts)


def _class_list(text: str | None) -> tuple[str, ...]:
    return _listed(text, "[CE]([0-9]{2}([0-9]{2,3})?)?", "class", "C, E, E01 or E0102", "如 C、E、E01 或 E0102")


def _area_list(text: str | None) -> tuple[str, ...]:
    digits = "[0-9]{4}|[0-9]{6}|[0-9]{9}|[0-9]{12}|[0-9]{14,15}"
    return _listed(text, digits, "area", AREA, "4、6、9、12 位区划代码或网格编码")


async def _filter(
    request: Request,
    class_: Annotated[str | None, Query(alias="class", description=CLASS, examples=["E01"], max_length=400)] = None,
    source: Annotated[str | None, Query(description=SOURCE, examples=["public,web"], max_length=100)] = None,
    stage: Annotated[str | None, Query(description=STAGE, examples=["open"], max_length=300)] = None,
    unit: Annotated[str | None, Query(description="Code of the leading unit.", max_length=100)] = None,
    area: Annotated[str | None, Query(description=AREA, examples=["610902001"], max_length=200)] = None,
    from_: Annotated[date | None, Query(alias="from", description=DAY, examples=["2026-01-01"])] = None,
    to: Annotated[date | None, Query(description=DAY, examples=["2026-03-31"])] = None,
) -> Filter:
    if from_ is not None and to is not None and from_ > to:
        raise Invalid(
            f"the period ends ({to}) before it begins ({from_})",
            f"统计期起于 {from_},止于 {to},先后颠倒",
            mend="exchange from and to",
            mend_zh="请调换起止日期",
            field="from",
        )
    for day, name in ((from_, "from"), (to, "to")):
        if day is not None and not 1900 <= day.year <= 2999:
            raise Invalid(
                f"{name}: {day} is out of range",
                f"{name}:{day} 超出范围",
                mend="1900 … 2999",
                mend_zh="年份须在 1900 至 2999 之间",
                field=name,
            )
    stages = _listed(stage, "[a-z_]{1,40}", "stage", "GET /city lists the stages", "GET /city 列出全部环节")
    groups = {group: codes for group, codes in request.app.state.stage_groups.items() if group in stages}
    expanded = {code for group in groups.values() for code in group} | {code for code in stages if code not in groups}
    return Filter(
        classes=_class_list(class_),
        sources=_listed(source, "[a-z_]{1,40}", "source", SOURCE, "来源代码,以逗号分隔"),
        stages=tuple(sorted(expanded)),
        units=_listed(unit, r"[\w.-]{1,40}", "unit", "the unit's code", "单位代码"),
        areas=_area_list(area),
        first_on=from_,
        last_on=to,
    )


Filters = Annotated[Filter, Depends(_filter)]


async def _classes(
    class_: Annotated[str | None, Query(alias="class", description=CLASS, examples=["C01"], max_length=400)] = None,
) -> tuple[str, ...]:
    return _class_list(class_)


async def _areas(
    area: Annotated[str | None, Query(description=AREA, examples=["610902001"], max_length=200)] = None,
) -> tuple[str, ...]:
    return _area_list(area)


Classes = Annotated[tuple[str, ...], Depends(_classes)]
Areas = Annotated[tuple[str, ...], Depends(_areas)]


def read_stage_groups(conn: Connection) -> dict[str, tuple[str, ...]]:
    """The stages that are open and those that are ended, by group."""
    rows = conn.execute(query("cases", "stages")).all()
    ended = tuple(row.code for row in rows if row.is_end)
    return {"open": tuple(row.code for row in rows if not row.is_end), "ended": ended}


At = Annotated[
    datetime | None,
    Query(description="instant, the city's time without an offset; none: now", examples=["2026-03-02T12:00:00+08:00"]),
]


def parse_bbox(text: str) -> tuple[float, float, float, float]:
    """west,south,east,north in degrees. Invalid when it is not that."""
    try:
        west, south, east, north = (float(part) for part in text.split(","))
        good = -180 <= west < east <= 180 and -85.05 <= south < north <= 85.05
    except ValueError:
        good = False
    if not good:
        raise Invalid(
            f"bbox {text[:80]!r} is no box",
            f"bbox {text[:80]!r} 不是有效范围",
            mend="west,south,east,north in degrees, west < east, south < north (within ±85.05)",
            mend_zh="西,南,东,北,单位为度",
            field="bbox",
        )
    return west, south, east, north


def city_box(degrees: Bounds, srid: int) -> Bounds:
    """A box in degrees as the box around it in the city's system. Invalid when it lies where that means nothing."""
    box = box_in(degrees, srid)
    if box is None:
        raise Invalid(
            "bbox lies too far from the city",
            "bbox 距城市过远",
            mend="GET /city tells where the city is",
            mend_zh="城市范围见 GET /city",
            field="bbox",
        )
    return box


BBox = Annotated[
    str | None,
    Query(
        description="west,south,east,north in degrees (EPSG:4326).",
        examples=["109.0,32.66,109.06,32.72"],
        max_length=120,
    ),
]
