"""Settings: read once at the door from the environment (``WANMI_*``), frozen, handed down."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from gis.errors import UnfitSetting

CITY_NAME = "[a-z][a-z0-9_]{0,30}"  #: folder under data/ and part of the database's name


def _home() -> Path:
    """The user's home; never a place that somebody else could have made."""
    home = Path(os.environ.get("HOME") or Path("~").expanduser())
    if not home.is_absolute():
        raise UnfitSetting(
            "this user has no home folder to keep data and caches in",
            "当前用户没有主目录,无法存放数据与缓存",
            mend="set HOME, or WANMI_DATA and WANMI_CACHE",
            setting="HOME",
        )
    return home


def _default_data() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/wanmi/data")
    return Path(os.environ.get("XDG_DATA_HOME") or _home() / ".local" / "share") / "wanmi"


def _default_cache() -> Path:
    if os.geteuid() == 0:  # the server runs as another user and must be able to read its programs
        return Path("/var/lib/wanmi/cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "wanmi"


def default_language() -> Literal["en", "zh"]:
    """The language of the shell: zh when its locale is Chinese, else en."""
    spoken = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return "zh" if spoken.startswith("zh") else "en"


class Settings(BaseSettings):
    """What a person may set; each field is the environment variable ``WANMI_<FIELD>``."""

    model_config = SettingsConfigDict(env_prefix="WANMI_", frozen=True, env_ignore_empty=True)

    database_url: SecretStr | None = Field(None, description="a PostgreSQL server to use, libpq URL")
    data: Path = Field(default_factory=_default_data, description="folder of the private server's data")
    cache: Path = Field(default_factory=_default_cache, description="folder of what can be made again")
    photos: Path | None = Field(None, description="folder of the photos of cases; default: in the data folder")
    city: str = Field("ankang", pattern=f"^{CITY_NAME}$", description="the city to work on")
    language: Literal["en", "zh"] = Field(default_factory=default_language, description="en or zh")
    reading: Literal["open", "accounts"] | None = Field(
        None, description="who may read: open or accounts; default: accounts, in a demo on this machine open"
    )
    outside_map: str | None = Field(
        None,
        pattern=r"^https?://[^\s'\"]+\{z\}[^\s'\"]*$",
        description="address of an outside raster map below our own, with {z}, {x}, {y}",
    )
    outside_map_credit: str = Field("", description="whose the outside map is, shown on the page")
    home: Path = Field(default_factory=lambda: Path(__file__).resolve().parents[1], description="folder of the project")
    python: str | None = Field(None, description="the Python for the door to build its environment with")

    def photos_of(self, city: str) -> Path:
        """The folder of a city's photos."""
        return (self.photos or self.data / "photos") / city


def read_settings(**given: object) -> Settings:
    """The settings: ``given`` (from the command line) before the environment before the defaults.

    Raises UnfitSetting that names the variable.
    """
    try:
        return Settings(**{key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = "WANMI_" + str(first["loc"][0]).upper()
        raise UnfitSetting(
            f"{name}: {first['msg']} (it is {first['input']!r})",
            f"设置 {name} 不可用",
            mend=f"correct or unset {name}; docs/settings.md lists all settings",
            setting=name,
        ) from None
