"""``wanmi …``: the door for people. Parse, open a transaction, call one function, print."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from api.accounts import accounts
from api.bulk import assign
from api.calendar import calendar
from api.catalogue import catalogue
from api.census import census
from api.collectors import collectors
from api.component import component
from api.door import CityOption, Door, opened, show, speaker
from api.export import export
from api.grid import grid
from api.placenames import places
from api.rules import rules
from api.upkeep import upkeep
from gis.settings import Settings, read_settings

app = typer.Typer(
    name="wanmi",
    cls=Door,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(accounts, name="account")
app.add_typer(grid, name="grid")
app.add_typer(calendar, name="calendar")
app.add_typer(catalogue, name="catalogue")
app.add_typer(census, name="census")
app.add_typer(component, name="component")
app.add_typer(collectors, name="collectors")
app.add_typer(places, name="places")
app.add_typer(rules, name="rules")
app.command()(export)
app.command()(assign)
app.command()(upkeep)


@app.callback()
def frame(
    context: typer.Context,
    data: Annotated[Path | None, typer.Option(help="Folder of the private server's data.")] = None,
    language: Annotated[str | None, typer.Option(help="Language of messages: en or zh.")] = None,
) -> None:
    """Digital city management (数字城管): grid, components and cases of a city in PostGIS.

    Example: wanmi demo --once
    """
    context.obj = read_settings(data=data.absolute() if data else None, language=language)


@app.command()
def demo(
    context: typer.Context,
    city: CityOption = None,
    once: Annotated[bool, typer.Option("--once", help="Do not serve the map page when done.")] = False,
    port: Annotated[int, typer.Option(help="Port of the map page on this machine.", min=1, max=65535)] = 8000,
    out: Annotated[Path, typer.Option(help="Folder for the heat maps.")] = Path("out"),
) -> None:
    """Set up everything, load a city, assign its cases, print a summary, draw a heat map, serve the map page.

    准备一切,载入城市,确定案件归属,打印汇总,绘制热力图,并提供地图页面。

    Example: wanmi demo --city washington --port 8001
    """
    from api.city import load_city
    from api.demo import chinese_font, write_maps
    from api.logins import demo_accounts
    from api.serve import Serving, bind, serve
    from api.summary import read_numbers, summary

    settings: Settings = context.obj
    listening = nullcontext() if once else bind("127.0.0.1", port)  # before the work: a taken port is said at once
    with listening as door, opened(context, city) as (engine, profile, stages, running):
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
        with engine.begin() as conn:
            logins = list(demo_accounts(conn, profile))
        show(logins, settings)  # after the commit: what is shown can be used
        engine.dispose()
        if door is not None:
            address = f"http://127.0.0.1:{port}"
            show(
                [(f"\n  map page    {address}   (Ctrl-C ends it)", f"\n  地图页面    {address}(按 Ctrl-C 结束)")],
                settings,
            )
            sys.stdout.flush()
            serving = Serving(settings=settings, city=profile, port=port, log=False, demo=True)
            serve(running, serving, door, speaker(settings))


@app.command("serve")
def serve_city(
    context: typer.Context,
    city: CityOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(help="Processes that answer.", min=1, max=12)] = 1,
) -> None:
    """Serve the map page and the HTTP interface of a loaded city; one line of JSON per request on standard output.

    提供已载入城市的地图页面与 HTTP 接口;每个请求在标准输出上记一行 JSON。

    Example: wanmi serve --port 8080 --workers 2
    """
    from api.serve import Serving, bind, serve

    settings: Settings = context.obj
    with bind(host, port) as listening, opened(context, city, loaded=True) as (engine, profile, _, running):
        engine.dispose()
        serving = Serving(settings=settings, city=profile, host=host, port=port, workers=workers)
        words = {"open": "open to everybody", "accounts": "for accounts"}[serving.reading]
        words_zh = {"open": "对所有人开放", "accounts": "须登录"}[serving.reading]
        speaker(settings)(
            f"serving {profile.name_en} on http://{host}:{port}, reading {words}",
            f"正在 http://{host}:{port} 提供{profile.name_zh}的服务,读取{words_zh}",
        )
        serve(running, serving, listening, speaker(settings))


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
    with opened(context, city) as (engine, profile, stages, _):
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
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
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
    from api.jurisdiction import readings
    from gis.db import query, read_frame

    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
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
    accuracy: Annotated[float | None, typer.Option(help="How far the place may be wrong, metres.")] = None,
    at: Annotated[str | None, typer.Option(help="ISO instant: the answer as it was then.")] = None,
) -> None:
    """Say where a place lies, who is responsible there for a class of problem, and why.

    查询一个位置所在网格与区域、责任单位及理由。

    Example: wanmi locate 109.0235 32.698 --class E0102
    """
    from api.gridfiles import instant
    from api.locate import answer

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
        lines = answer(
            conn,
            profile,
            x,
            y,
            crs,
            class_code=class_code,
            condition_no=condition,
            component_code=component,
            accuracy_m=accuracy,
            at=instant(at, profile) if at else None,
        )
    show(lines, settings)


@app.command("what-if")
def what_if(
    context: typer.Context,
    draft: Annotated[str, typer.Argument(help="Number of a draft of the grid, or a file of rules or of communities.")],
    days: Annotated[int, typer.Option(help="Cases of so many days.", min=1, max=36500)] = 365,
    complete: Annotated[
        bool, typer.Option("--complete", help="Rules or communities that the file does not name end.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="GeoPackage of what would change.")] = None,
    page: Annotated[Path | None, typer.Option("--map", help="HTML page with a map of it.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    city: CityOption = None,
) -> None:
    """Say what a draft would change: components, open cases and those of the last year; nothing is changed.

    推演:按草案(网格、区划或规则)哪些部件与案件会更换网格、区域或责任单位;不作任何更改。

    Example: wanmi what-if rules.xlsx --out what-if.gpkg --map what-if.html
    """
    from api.whatif import lines_of, write_layer_file, write_map
    from api.whatif import what_if as compare
    from grids.areas import AREAS

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, stages, _), engine.connect() as conn:
        with stages.stage("what-if", "comparing", "比对"):
            found = compare(conn, profile, draft, days=days, complete=complete, progress=stages)
        areas = AREAS.read(conn, profile.srid)
        conn.rollback()
    show(list(lines_of(found)), settings)
    if out is not None:
        write_layer_file(found, out, overwrite=overwrite)
    if page is not None:
        write_map(found, profile, areas, page)


@app.command()
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    city: Annotated[list[str] | None, typer.Option(help="Only this city; may be given again.")] = None,
) -> None:
    """Write the databases of all cities and their photos to one file that any later PostgreSQL can read.

    将所有城市的数据库备份到一个文件。

    Example: wanmi backup wanmi-2026-11-23.tar
    """
    from api.backup import backup as write
    from gis.db import access

    settings: Settings = context.obj
    with access(settings, speaker(settings)) as server:
        cities = write(server, file, city or [], speaker(settings), settings.photos_of)
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
        cities = read(server, file, replace=replace, say=speaker(settings), photos=settings.photos_of)
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


def main() -> None:
    """The entry of ``./wanmi``."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `wanmi unassigned | head` ends quietly
    app(prog_name="wanmi")


if __name__ == "__main__":
    main()
