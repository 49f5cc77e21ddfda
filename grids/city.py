"""A city is data: the profile ``data/<city>/city.toml`` and its one row in the database."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import Connection

from gis.crs import city_crs
from gis.db import query
from gis.errors import Invalid, NotFound, UnfitCoordinates, UnfitFile


@dataclass(frozen=True, kw_only=True)
class City:
    """What distinguishes one city from another, as far as the program must know it."""

    id: str  #: folder and database name
    code: str  #: division code of the city, 4 digits
    name_zh: str
    name_en: str
    srid: int  #: EPSG code of its projected system, metres
    timezone: str
    edition: str  #: edition of the catalogue
    simulated: bool  #: geometry, components and cases are simulated and labelled so
    tolerance_m: float  #: a place in no cell goes to the nearest cell within this
    border_tolerance_m: float  #: nearer than this to another community: flagged
    folder: Path  #: where its files are
    profile: dict[str, Any]  #: all of city.toml

    @property
    def attribution(self) -> str | None:
        """The words that the data's licence asks for, if any."""
        words = [self.profile.get("attribution_en"), self.profile.get("attribution_zh")]
        return " ".join(word for word in words if word) or None

    def instant(self, at: datetime, field: str) -> datetime:
        """The instant, in the city's zone unless it says another. Invalid for a year that no city's history has."""
        if not 1900 <= at.year <= 2999:
            raise Invalid(
                f"{field}: {at} is out of range",
                f"{field}：{at} 超出范围",
                mend="years 1900 to 2999",
                mend_zh="年份须在 1900 至 2999 之间",
                field=field,
            )
        return at if at.tzinfo else at.replace(tzinfo=ZoneInfo(self.timezone))


def list_cities(home: Path) -> list[str]:
    """The cities that have a profile."""
    return sorted(path.parent.name for path in (home / "data").glob("*/city.toml"))


def read_city(home: Path, name: str) -> City:
    """The profile of a city. Raises NotFound for an unknown one, UnfitFile for a broken file."""
    folder = home / "data" / name
    file = folder / "city.toml"
    if not file.exists():
        known = ", ".join(list_cities(home))
        raise NotFound(
            f"there is no city {name!r}",
            f"没有名为 {name!r} 的城市",
            mend=f"choose one of: {known}; docs/cities.md says how to add one",
        )
    try:
        profile = tomllib.loads(file.read_text(encoding="utf-8"))
        ZoneInfo(profile["timezone"])
        city_crs(int(profile["srid"]))
        if min(float(profile["tolerance_m"]), float(profile["border_tolerance_m"])) < 0:
            raise ValueError("tolerance_m and border_tolerance_m cannot be negative")
        if not re.fullmatch("[0-9]{4}", str(profile["code"])):
            raise ValueError(f"code is the city's division code, four digits, not {profile['code']!r}")
        return City(
            id=name,
            code=str(profile["code"]),
            name_zh=profile["name_zh"],
            name_en=profile["name_en"],
            srid=int(profile["srid"]),
            timezone=profile["timezone"],
            edition=profile["edition"],
            simulated=bool(profile["simulated"]),
            tolerance_m=float(profile["tolerance_m"]),
            border_tolerance_m=float(profile["border_tolerance_m"]),
            folder=folder,
            profile=profile,
        )
    except (
        tomllib.TOMLDecodeError,
        UnicodeDecodeError,
        ValueError,
        TypeError,
        ZoneInfoNotFoundError,
        UnfitCoordinates,
    ) as error:
        raise UnfitFile(
            f"{file}: {error}", f"城市配置 {file} 有误", mend="correct the line it names", file=file
        ) from None
    except KeyError as error:
        raise UnfitFile(
            f"{file} lacks {error}",
            f"城市配置缺少 {error}",
            mend="docs/cities.md lists what a profile holds",
            file=file,
        ) from None


def insert_city(conn: Connection, city: City, findings: list[dict[str, Any]]) -> None:
    """Write the one row of the city's database, with the defects met in its source."""
    conn.execute(
        query("grids", "insert_city"),
        {
            "id": city.id,
            "name_zh": city.name_zh,
            "name_en": city.name_en,
            "timezone": city.timezone,
            "simulated": city.simulated,
            "attribution": city.attribution,
            "tolerance_m": city.tolerance_m,
            "border_tolerance_m": city.border_tolerance_m,
            "profile": json.dumps(city.profile, ensure_ascii=False, default=str),
            "findings": json.dumps(findings, ensure_ascii=False, default=int),
        },
    )


def is_loaded(conn: Connection) -> bool:
    """Whether this database holds its city."""
    return conn.execute(query("grids", "city_is_loaded")).scalar_one_or_none() is not None
