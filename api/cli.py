"""``wanmi …``: the door for people. Parse, open a transaction, call one function, print."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from gis.errors import Interrupted, Unavailable, WanmiError
from gis.settings import Settings, default_language, read_settings


class Door(TyperGroup):
    """The group of all commands: whatever goes wrong inside one is answered in one place."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; errors become messages in the language of the settings."""
        with answering(ctx):
            return super().invoke(ctx)


app = typer.Typer(
    name="wanmi",
    cls=Door,
    help="Digital city management (数字城管): grid, components and cases of a city in PostGIS.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
screen = Console(stderr=True, highlight=False, soft_wrap=True)


@app.callback()
def door(
    context: typer.Context,
    data: Annotated[Path | None, typer.Option(help="Folder of the private server's data.")] = None,
    language: Annotated[str | None, typer.Option(help="Language of messages: en or zh.")] = None,
) -> None:
    """Digital city management (数字城管): grid, components and cases of a city in PostGIS.

    Example: wanmi demo --once
    """
    context.obj = read_settings(data=data.absolute() if data else None, language=language)


def speaker(settings: Settings) -> Callable[[str, str], None]:
    """A function that says one line in the settings' language on standard error."""

    def say(en: str, zh: str) -> None:
        screen.print(f"wanmi: {zh if settings.language == 'zh' else en} …", markup=False)

    return say


@app.command(
    "python",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def run_python(context: typer.Context) -> None:
    """Run the environment's Python with the database's address in WANMI_DATABASE_URL.

    Example: wanmi python -c "import geopandas; print(geopandas.__version__)"
    """
    from gis.db import access, database_name

    settings: Settings = context.obj
    with access(settings, speaker(settings)) as server:
        environment = {**os.environ, "WANMI_DATABASE_URL": server.url(database_name(settings.city))}
        done = subprocess.run([sys.executable, *context.args], env=environment)
    raise typer.Exit(done.returncode)


@contextmanager
def answering(context: typer.Context) -> Iterator[None]:
    """Turn every error into one clear message and an exit code; nothing shows a traceback but our own defects."""
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
    except DBAPIError as error:
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


def main() -> None:
    """The entry of ``./wanmi``."""
    app(prog_name="wanmi")


if __name__ == "__main__":
    main()
