"""``wanmi …``: the door for people. Parse, open a transaction, call one function, print."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from gis.errors import Interrupted, Unavailable, WanmiError
from gis.settings import Settings, default_language, read_settings

if TYPE_CHECKING:  # kept out of the start: they bring pandas and GEOS
    from sqlalchemy import Engine

    from api.progress import Stages
    from grids.city import City


class Door(TyperGroup):
    """The group of all commands: whatever goes wrong inside one is answered in one place."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; errors become messages in the language of the settings."""
        with answering(ctx):
            return super().invoke(ctx)


app = typer.Typer(
    name="wanmi",
    cls=Door,
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


def show(lines: Iterable[tuple[str, str]], settings: Settings) -> None:
    """Print the lines in the settings' language on standard output."""
    for en, zh in lines:
        print(zh if settings.language == "zh" else en)


def speaker(settings: Settings) -> Callable[[str, str], None]:
    """A function that says one line in the settings' language on standard error."""

    def say(en: str, zh: str) -> None:
        screen.print(f"wanmi: {zh if settings.language == 'zh' else en} …", markup=False)

    return say


CityOption = Annotated[str | None, typer.Option(help="Folder name of the city under data/.")]


@app.command()
def demo(
    context: typer.Context,
    city: CityOption = None,
    once: Annotated[
        bool, typer.Option("--once", help="Do not stay when done (there is no server to stay yet).")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for the heat maps.")] = Path("out"),
) -> None:
    """Set up everything, load a city, assign its cases, print a summary, write a heat map (PNG and HTML).

    准备一切,载入城市,确定案件归属,打印汇总,绘制热力图。

    Example: wanmi demo --city washington --out maps
    """
    from api.city import load_city
    from api.demo import chinese_font, write_maps
    from api.summary import read_numbers, summary

    settings: Settings = context.obj
    with opened(context, city) as (engine, profile, stages):
        load_city(engine, profile, stages=stages, say=speaker(settings))
        with engine.connect() as conn:
            numbers = read_numbers(conn)
            with stages.stage("map", "drawing the heat map", "绘制热力图"):
                paths, notice = write_maps(conn, profile, out, chinese_font(settings.cache))
    show(summary(profile, numbers, stages.seconds), settings)
    for path in paths:
        print(f"  {'热力图' if settings.language == 'zh' else 'heat map   '} {path}")
    if notice is not None:
        print(f"  {notice.zh if settings.language == 'zh' else notice.en}")


@app.command()
def load(
    context: typer.Context,
    city: Annotated[str, typer.Argument(help="Folder name of the city under data/.")],
    source: Annotated[Path | None, typer.Option("--from", help="Folder with the city's files.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Load anew what is loaded already.")] = False,
) -> None:
    """Load a city into its database and open a case for each of its reports.

    将城市数据载入数据库,并为每件上报立案。

    Example: wanmi load washington --from ../shared/data/washington
    """
    from api.city import load_city
    from api.summary import read_numbers, summary

    settings: Settings = context.obj
    with opened(context, city) as (engine, profile, stages):
        load_city(engine, profile, source=source, replace=replace, stages=stages, say=speaker(settings))
        with engine.connect() as conn:
            numbers = read_numbers(conn)
    show(summary(profile, numbers, stages.seconds), settings)


@app.command(name="layers")
def list_layers(context: typer.Context, city: CityOption = None) -> None:
    """List the layers that QGIS and others can open, with their views and rows.

    列出可在 QGIS 等软件中打开的图层、视图与行数。

    Example: wanmi layers --city washington
    """
    from api.layers import LAYERS

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _), engine.connect() as conn:
        for layer in LAYERS.values():
            title = layer.title_zh if settings.language == "zh" else layer.title_en
            print(f"{layer.name:<12}served.{layer.relation:<11}{layer.count(conn):>10,}  EPSG:{profile.srid}  {title}")


@app.command()
def unassigned(
    context: typer.Context,
    city: CityOption = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to write; default: standard output.")] = None,
) -> None:
    """List as CSV every report without a case or a unit, with the reason why not.

    以 CSV 列出未立案或无责任单位的上报及原因。

    Example: wanmi unassigned --city ankang --out unassigned.csv
    """
    from api.locate import readings
    from gis.db import query, read_frame

    with opened(context, city, loaded=True) as (engine, profile, _), engine.connect() as conn:
        frame = read_frame(conn, query("cases", "unassigned"))
        frame["would_fit_as"] = readings(conn, profile, frame)
    frame = frame.astype({"case_no": "Int64", "condition_no": "Int64", "srid": "Int64"})
    if out is None:
        frame.to_csv(sys.stdout, index=False)
    else:
        with out.open("w", encoding="utf-8", newline="") as file:
            frame.to_csv(file, index=False)


@app.command(context_settings={"ignore_unknown_options": True})  # -77.03 is a longitude
def locate(
    context: typer.Context,
    x: Annotated[float, typer.Argument(help="East in metres, or longitude.")],
    y: Annotated[float, typer.Argument(help="North in metres, or latitude.")],
    class_code: Annotated[str, typer.Option("--class", help="Class of the problem, such as E0102.")],
    city: CityOption = None,
    crs: Annotated[int, typer.Option(help="EPSG code of the numbers; 910002 GCJ-02, 910009 BD-09.")] = 4326,
    condition: Annotated[int | None, typer.Option(help="Number of the filing condition.", min=1, max=9999)] = None,
    component: Annotated[str | None, typer.Option(help="Code of the component concerned.")] = None,
) -> None:
    """Say where a place lies, who is responsible there for a class of problem, and why.

    查询一个位置所在网格与区域、责任单位及理由。

    Example: wanmi locate 109.0235 32.698 --class E0102
    """
    from api.locate import answer

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _), engine.connect() as conn:
        lines = answer(
            conn, profile, x, y, crs, class_code=class_code, condition_no=condition, component_code=component
        )
    show(lines, settings)


@app.command()
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    city: Annotated[list[str] | None, typer.Option(help="Only this city; may be given again.")] = None,
) -> None:
    """Write the databases of all cities to one file that any later PostgreSQL can read.

    将所有城市的数据库备份到一个文件。

    Example: wanmi backup wanmi-2026-11-23.tar
    """
    from api.backup import backup as write
    from gis.db import access

    settings: Settings = context.obj
    with access(settings, speaker(settings)) as server:
        cities = write(server, file, city or [], speaker(settings))
    print(f"{file}: {', '.join(cities)}")


@app.command()
def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file written by 'wanmi backup'.")],
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite cities that are there.")] = False,
) -> None:
    """Bring the cities of a backup back, also into another folder or a newer PostgreSQL.

    从备份文件恢复城市。

    Example: wanmi --data /srv/wanmi restore wanmi-2026-11-23.tar
    """
    from api.backup import restore as read
    from gis.db import access

    settings: Settings = context.obj
    with access(settings, speaker(settings)) as server:
        cities = read(server, file, replace=replace, say=speaker(settings))
    print(f"{file}: {', '.join(cities)}")


@app.command(
    "test",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False},
)
def run_tests(context: typer.Context) -> None:
    """Run ruff, mypy and pytest on the project; further words go to pytest.

    运行代码检查与测试;其余参数交给 pytest。

    Example: wanmi test tests/test_codes.py -x
    """
    settings: Settings = context.obj
    checks = [] if context.args else [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]]
    failed = False
    for words in [*checks, ["pytest", *context.args]]:
        speaker(settings)(" ".join(words), " ".join(words))
        done = subprocess.run([sys.executable, "-m", *words], cwd=settings.home)
        failed = failed or done.returncode != 0
    raise typer.Exit(1 if failed else 0)


@app.command(
    "python",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False},
)
def run_python(context: typer.Context) -> None:
    """Run the environment's Python with the database's address in WANMI_DATABASE_URL.

    运行私有环境的 Python,数据库地址在 WANMI_DATABASE_URL 中。

    Example: wanmi python -c "import geopandas; print(geopandas.__version__)"
    """
    from gis.db import access, database_name

    settings: Settings = context.obj
    with access(settings, speaker(settings)) as server:
        environment = {**os.environ, "WANMI_DATABASE_URL": server.url(database_name(settings.city))}
        if server.server is not None:  # the lease goes over to the program that takes this one's place
            os.set_inheritable(server.server.lease, True)
        os.execve(sys.executable, [sys.executable, *context.args], environment)


@contextmanager
def opened(context: typer.Context, city: str | None, *, loaded: bool = False) -> Iterator[tuple[Engine, City, Stages]]:
    """The engine and profile of a city, for a command that works on it; with ``loaded`` it must hold its city."""
    from api.city import city_engine, loaded_engine
    from api.progress import Stages
    from gis.db import access
    from grids.city import read_city

    settings: Settings = context.obj
    profile = read_city(settings.home, city or settings.city)
    with access(settings, speaker(settings)) as server:
        engine = loaded_engine(server, profile) if loaded else city_engine(server, profile)
        try:
            yield engine, profile, Stages(settings.language, screen)
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


def main() -> None:
    """The entry of ``./wanmi``."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `wanmi unassigned | head` ends quietly
    app(prog_name="wanmi")


if __name__ == "__main__":
    main()
