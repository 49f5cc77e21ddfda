"""The frame of every command: how it opens a city, what it says, and how whatever goes wrong is answered."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from gis.errors import Interrupted, Unavailable, WanmiError
from gis.settings import Settings, default_language

if TYPE_CHECKING:  # kept out of the start: they bring pandas and GEOS
    from sqlalchemy import Engine

    from api.progress import Stages
    from gis.db import Access
    from grids.city import City

screen = Console(stderr=True, highlight=False, soft_wrap=True)
ActorOption = Annotated[str | None, typer.Option(help="Who does it; your user name if not said.")]
CityOption = Annotated[str | None, typer.Option(help="Folder name of the city under data/.")]


class Door(TyperGroup):
    """The group of all commands: whatever goes wrong inside one is answered in one place."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; errors become messages in the language of the settings."""
        with answering(ctx):
            return super().invoke(ctx)


def user_name() -> str:
    """The name of the operating system's user."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no name for this user number
        return "wanmi"


def show(lines: Iterable[tuple[str, str]], settings: Settings) -> None:
    """Print the lines in the settings' language on standard output."""
    for en, zh in lines:
        print(zh if settings.language == "zh" else en)


def speaker(settings: Settings) -> Callable[[str, str], None]:
    """A function that says one line in the settings' language on standard error."""

    def say(en: str, zh: str) -> None:
        screen.print(f"wanmi: {zh if settings.language == 'zh' else en} …", markup=False)

    return say


@contextmanager
def opened(
    context: typer.Context, city: str | None, *, loaded: bool = False
) -> Iterator[tuple[Engine, City, Stages, Access]]:
    """Engine, profile, progress and server, for work on a city; with ``loaded`` the database must hold its city."""
    from api.city import city_engine, loaded_engine
    from api.progress import Stages
    from gis.db import access
    from grids.city import read_city

    settings: Settings = context.obj
    profile = read_city(settings.home, city or settings.city)
    with access(settings, speaker(settings)) as server:
        engine = loaded_engine(server, profile) if loaded else city_engine(server, profile)
        try:
            yield engine, profile, Stages(settings.language, screen), server
        finally:
            engine.dispose()


@contextmanager
def answering(context: typer.Context) -> Iterator[None]:
    """Turn every error into one clear message and an exit code; nothing shows a traceback but our own defects."""
    import psycopg
    from sqlalchemy.exc import DBAPIError

    from gis.db import translated

    try:
        yield
    except WanmiError as error:
        _tell(error, context)
    except KeyboardInterrupt:
        _tell(
            Interrupted(
                "interrupted; nothing is half done",
                "已中断,没有留下未完成的内容",
                mend="run the same command again: it carries on",
            ),
            context,
        )
    except (DBAPIError, psycopg.Error) as error:
        known = translated(error)
        if known is None:
            raise
        _tell(known, context)
    except OSError as error:
        if error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _tell(
            Unavailable(
                f"{where}{error.strerror}",
                f"{where}{error.strerror}",
                mend="free some space or correct the rights, then run the command again",
            ),
            context,
        )


def _tell(error: WanmiError, context: typer.Context) -> NoReturn:
    chinese = (context.obj.language if isinstance(context.obj, Settings) else default_language()) == "zh"
    title = error.title_zh if chinese else (type(error).__doc__ or "").strip()
    lines = [f"wanmi: {error.zh if chinese else error.en}", f"  ({title})"]
    lines += [f"  {key}: {value}" for key, value in error.where.items()]
    mend = error.mend_zh if chinese else error.mend
    if mend:
        lines.append(f"  {'解决办法' if chinese else 'mend'}: {mend}")
    print("\n".join(lines), file=sys.stderr)
    sys.exit(130 if isinstance(error, Interrupted) else 1)
