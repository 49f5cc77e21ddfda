"""The unit grid and files: check it, take one over, give it out, print it. What the commands of api/grid.py do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import geopandas as gpd
import pandas as pd
from sqlalchemy import Connection

from api.gridsheets import Words, community_sheet, quality_sheet
from api.legend import Pair
from api.lettering import Notice
from api.publishing import Published, publish_grid
from gis.db import query
from gis.errors import Invalid, NotFound
from gis.formats import write_vector
from gis.layer import read_geoframe
from grids.areas import AREAS
from grids.check import Finding, check, errors_of
from grids.city import City
from grids.codes import CellCode
from grids.edit import open_draft, put_cells
from grids.exchange import compare, our_fields, read_grid, standard_fields, with_classes
from grids.findings import counts
from grids.ground import GROUND
from grids.heal import WHAT, heal

Progress = Callable[[float], None]
Names = Literal["standard", "ours"]
SHOWN = 12  #: findings and communities that are printed one by one
AROUND_M = 200.0  #: what lies around a community on its map
STANDARD = (".shp", ".zip")  #: formats that get the standard's names unless others are wanted


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What taking a file for the grid of its communities would change."""

    cells: gpd.GeoDataFrame  #: code, area_class, geometry …
    findings: list[Finding]
    moves: pd.DataFrame | None  #: of healing, if it was asked for
    table: pd.DataFrame  #: community, new, changed, same, gone

    @property
    def communities(self) -> list[str]:
        """The communities that the file's codes name."""
        return [str(code) for code in self.table["community"]]


def cells_at(
    conn: Connection, city: City, at: datetime | None = None, communities: Collection[str] = ()
) -> gpd.GeoDataFrame:
    """The cells that held at an instant (None: today's), of some communities or of all.

    Columns code, area_class, first_since (of the code), since, until (instants in the city's zone), geometry.
    """
    frame = read_geoframe(
        conn, query("grids", "cells_with_history"), city.srid, at=at, communities=sorted(communities) or None
    )
    for name in ("first_since", "since", "until"):
        frame[name] = pd.to_datetime(frame[name], utc=True).dt.tz_convert(ZoneInfo(city.timezone))
    return frame


def check_city(
    conn: Connection, city: City, progress: Progress | None = None
) -> tuple[gpd.GeoDataFrame, list[Finding]]:
    """Today's grid and what is wrong with it."""
    cells = cells_at(conn, city)
    return cells, _checked(conn, city, cells, retired=(), covered=None, progress=progress)


def read_file(
    conn: Connection,
    city: City,
    path: Path,
    *,
    mapping: dict[str, str],
    layer: str | None = None,
    srid: int | None = None,
    heal_m: float | None = None,
    progress: Progress | None = None,
) -> Imported:
    """A grid from a file, healed if ``heal_m`` is given, checked, and compared with today's grid; writes nothing.

    The communities that its codes name must be covered by it; codes that were retired may not come back.
    """
    areas = AREAS.read(conn, city.srid)
    cells, seen = read_grid(path, srid_city=city.srid, mapping=mapping, layer=layer, srid=srid, areas=areas)
    moves = None
    if heal_m is not None:
        cells, moves = heal(cells, areas, tolerance_m=heal_m)
    today = cells_at(conn, city)
    cells = with_classes(cells, today)
    table = compare(today, cells)
    retired = set(conn.execute(query("grids", "retired_cell_codes")).scalars())
    known = set(areas["code"])
    covered = [str(code) for code in table["community"] if code in known]
    found = _checked(conn, city, cells, retired=retired, covered=covered, progress=progress)
    return Imported(cells=cells, findings=seen + found, moves=moves, table=table)


def commit_file(conn: Connection, imported: Imported, *, actor: str, note: str) -> Published:
    """Make the file's cells the grid of its communities, as one edition; returns what was published.

    Raises Invalid when the check has errors; whatever the edition itself refuses comes from there.
    """
    errors = errors_of(imported.findings)
    if errors:
        old = any(error.rule == "code_retired" for error in errors)
        raise Invalid(
            f"the grid has {len(errors):,} errors and was not taken over; the first: {errors[0].en}",
            f"网格有 {len(errors):,} 处错误，未予接收；首个：{errors[0].zh}",
            mend="the file is older than the grid: export it anew, or empty the retired codes for new numbers"
            if old
            else "write the findings with --out findings.gpkg, mend them in QGIS, or try --heal 0.1",
            mend_zh="该文件早于现行网格：请重新导出"
            if old
            else "请用 --out findings.gpkg 输出检查结果，在 QGIS 中修改，或尝试 --heal 0.1",
        )
    edition = open_draft(conn, imported.communities, actor=actor, note=note)
    put_cells(conn, edition, imported.cells[["code", "area_class", "geometry"]], actor=actor)
    return publish_grid(conn, edition, actor=actor, commit=True)


def export_file(
    conn: Connection,
    city: City,
    path: Path,
    *,
    communities: Collection[str] = (),
    at: datetime | None = None,
    names: Names | None = None,
    overwrite: bool = False,
) -> int:
    """Write the grid to a file by its extension; returns the cells. NotFound when none held there and then."""
    cells = cells_at(conn, city, at, communities)
    if cells.empty:
        where, where_zh = (
            (", ".join(communities), "、".join(communities)) if communities else (city.name_en, city.name_zh)
        )
        raise NotFound(
            f"there are no cells of {where}" + (f" at {at.isoformat()}" if at else ""),
            f"{where_zh} " + (f"在 {at.isoformat()} " if at else "") + "没有网格",
            mend="give 12-digit codes of communities, and an instant since the city was loaded",
            mend_zh="请给出 12 位社区编码，以及城市载入之后的时间",
        )
    standard = names == "standard" or (names is None and path.suffix.lower() in STANDARD)
    write_vector(
        standard_fields(cells) if standard else our_fields(cells),
        path,
        layer=None if path.suffix.lower() != ".gpkg" else "cells",
        overwrite=overwrite,
    )
    return len(cells)


def print_community(conn: Connection, city: City, code: str, path: Path, font: Path | None) -> Notice | None:
    """Draw the map of one community; NotFound for a code that is none."""
    areas = AREAS.read(conn, city.srid)
    own = areas[areas["code"] == code]
    west, south, east, north = own.total_bounds if len(own) else areas.total_bounds
    reach = AROUND_M + 0.5 * max(east - west, north - south)
    barriers = GROUND.read(conn, city.srid, within=(west - reach, south - reach, east + reach, north + reach))
    cells = cells_at(conn, city, communities=[code])
    return community_sheet(
        path, code, cells=cells, areas=areas, barriers=barriers, words=_words(city, cells), font=font
    )


def print_report(
    conn: Connection, city: City, path: Path, font: Path | None, progress: Progress | None = None
) -> Notice | None:
    """Check today's grid and draw its one-page report."""
    cells, findings = check_city(conn, city, progress)
    areas = AREAS.read(conn, city.srid)
    words, target = _words(city, cells), _target(city)
    return quality_sheet(path, cells=cells, areas=areas, findings=findings, words=words, target_m2=target, font=font)


def _words(city: City, cells: gpd.GeoDataFrame) -> Words:
    """What the sheets say of the city; the grid is as of its latest change."""
    latest = cells["since"].max() if len(cells) else datetime.now(ZoneInfo(city.timezone))
    return Words(
        city=(city.name_zh, city.name_en),
        srid=city.srid,
        as_of=f"{latest:%Y-%m-%d}",
        simulated=city.simulated,
        attribution=city.attribution,
    )


def _target(city: City) -> float:
    return float(city.profile.get("target_cell_m2", 10_000))


def _checked(
    conn: Connection,
    city: City,
    cells: gpd.GeoDataFrame,
    *,
    retired: Collection[str],
    covered: Collection[str] | None,
    progress: Progress | None,
) -> list[Finding]:
    areas = AREAS.read(conn, city.srid)
    ground = GROUND.read(conn, city.srid)
    return check(
        cells,
        areas,
        target_m2=_target(city),
        digits=_digits(city),
        buildings=ground[ground["kind"] == "building"],
        retired=retired,
        covered=covered,
        progress=progress,
    )


def _digits(city: City) -> int:
    """The number of digits of the city's cell codes: 15 unless its profile says 14 (CJ/T 213-2005)."""
    return int(city.profile.get("cell_digits", max(CellCode.EDITIONS)))


def instant(text: str, city: City) -> datetime:
    """An ISO instant; without an offset it is the city's time. Invalid when it is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"{text!r} is no instant",
            f"{text!r} 不是有效的时间",
            mend="write it as 2026-11-23T08:00, with +08:00 behind it for another zone than the city's",
            mend_zh="请写作 2026-11-23T08:00；如非本市时区，后加时差，如 +08:00",
        ) from None
    return city.instant(at, "at").astimezone(UTC)


def pairs(words: Sequence[str]) -> dict[str, str]:
    """Words of the form NAME=FIELD as a mapping; Invalid for others."""
    found = {}
    for word in words:
        name, sign, field = word.partition("=")
        if not (name and sign and field):
            raise Invalid(
                f"{word!r} is not of the form NAME=FIELD",
                f"{word!r} 应写作 名称=字段名",
                mend="for instance --map code=BGCode",
                mend_zh="例如 --map code=BGCode",
            )
        found[name] = field
    return found


def names_of(word: str | None) -> Names | None:
    """The field names wanted; Invalid for another word."""
    known: dict[str | None, Names | None] = {None: None, "standard": "standard", "ours": "ours"}
    if word in known:
        return known[word]
    raise Invalid(
        f"{word!r} are no field names",
        f"{word!r} 不是可用的字段命名",
        mend="--names standard (BGCode …) or --names ours (code …)",
        mend_zh="请用 --names standard（BGCode 等）或 --names ours（code 等）",
    )


# ── in words ────────────────────────────────────────

_GRAVITY = {"error": "错误", "warning": "警告", "note": "提示"}


def said_of_findings(cells: gpd.GeoDataFrame, findings: Sequence[Finding]) -> Iterator[Pair]:
    """Lines (English, Chinese): how many cells, findings by rule, the first errors, the verdict."""
    communities = cells["code"].dropna().str[:12].nunique()
    area = cells.area.sum() / 1e6
    yield (
        f"{len(cells):,} cells in {communities:,} communities, {area:,.3f} km²",
        f"{communities:,} 个社区，{len(cells):,} 个网格，{area:,.3f} 平方公里",
    )
    for row in counts(findings).itertuples():
        yield (
            f"  {row.severity:<8}{row.findings:>8,}  {row.en}",
            f"  {_GRAVITY[str(row.severity)]}{row.findings:>8,}  {row.zh}",
        )
    errors = errors_of(findings)
    for finding in errors[:SHOWN]:
        yield f"  ! {finding.en}", f"  ! {finding.zh}"
    if len(errors) > SHOWN:
        more = len(errors) - SHOWN
        yield (
            f"  ! … and {more:,} more; --out FILE.gpkg has all",
            f"  ! …… 另有 {more:,} 处；见 --out",
        )
    if errors:
        yield f"{len(errors):,} errors: not fit to publish", f"{len(errors):,} 处错误：不可发布"
    else:
        yield "no errors: fit to publish", "无错误：可以发布"


def said_of_import(imported: Imported) -> Iterator[Pair]:
    """Lines (English, Chinese): what healing moved and what would change, by community."""
    if imported.moves is not None:
        for what, mine in imported.moves.groupby("what"):
            most, area = mine["moved_m"].max(), mine["area_m2"].sum()
            yield (
                f"healed: {what} {len(mine):,} times, by {most:.3f} m at most, {area:,.2f} m² in all",
                f"修补：{WHAT[str(what)]} {len(mine):,} 处，最多移动 {most:.3f} 米，共 {area:,.2f} 平方米",
            )
        if imported.moves.empty:
            yield "healed: nothing had to be moved", "修补：无需移动"
    table = imported.table
    new, changed, same, gone = table[["new", "changed", "same", "gone"]].sum().tolist()
    yield (
        f"cells: {new:,} new, {changed:,} changed, {same:,} the same, {gone:,} gone",
        f"网格：新增 {new:,}，变更 {changed:,}，不变 {same:,}，消失 {gone:,}",
    )
    if imported.cells[["name", "note"]].notna().any(axis=None):
        yield "names and notes of the file are not kept: the grid has no place for them", "文件中的名称与备注不予保存"
    touched = table[(table[["new", "changed", "gone"]] > 0).any(axis=1)]
    for row in touched.head(SHOWN).itertuples():
        yield (
            f"  {row.community}  new {row.new:>5,}  changed {row.changed:>4,} same {row.same:>4,}  gone {row.gone:>4,}",
            f"  {row.community}  新增 {row.new:>5,}  变更 {row.changed:>5,}  不变 {row.same:>4,}  消失 {row.gone:>5,}",
        )
    if len(touched) > SHOWN:
        more = len(touched) - SHOWN
        yield f"  … and {more:,} more communities", f"  …… 另有 {more:,} 个社区"
