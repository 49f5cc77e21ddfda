"""Drafts: the cells of some communities, drawn anew where nobody else sees it, checked at every save.

Every act locks the draft, changes its cells, puts the vertices that come with it into the neighbours inside the draft,
and returns the findings of the check of the whole draft. Errors are kept too: a draft may be wrong for a while, the
grid may not (grids/editions.py publishes). Each act may name the revision it was made on: if somebody has saved since,
it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection

from gis.crs import reproject, snap
from gis.db import copy_frame, query
from gis.errors import Conflict, Invalid, NotFound
from gis.layer import read_geoframe
from grids import redraw
from grids.check import check
from grids.codes import AreaCode, CellCode
from grids.findings import Finding
from grids.redraw import (
    classes_from,
    divide,
    keep_codes,
    next_codes,
    noded_together,
    refuse_unfit,
    unite,
)

MOST_DRAFTS = 200  #: in a list
MOST_COMMUNITIES = 300  #: in one draft


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A draft as lists show it."""

    id: int
    communities: list[str]
    note: str | None
    state: str  #: draft, published, dropped
    revision: int
    opened_by: str
    opened_at: datetime
    saved_by: str
    saved_at: datetime
    ended_by: str | None
    ended_at: datetime | None
    cells: int


def city_srid(conn: Connection) -> int:
    """The EPSG code of the city's system."""
    return int(conn.execute(query("grids", "ground_of_drafts")).one().srid)


def open_draft(conn: Connection, communities: Sequence[str], *, actor: str, note: str | None = None) -> int:
    """A new draft with today's cells of the communities (12 digits each); its number.

    Raises NotFound for a community that is none, Conflict when another open draft holds one of them.
    """
    wanted = sorted({AreaCode(code).at("community") for code in communities})
    if not 0 < len(wanted) <= MOST_COMMUNITIES or any(len(code) != 12 for code in communities):
        raise Invalid(
            f"a draft is of 1 to {MOST_COMMUNITIES} communities, 12 digits each",
            f"草稿须包含 1 至 {MOST_COMMUNITIES} 个社区(12 位编码)",
            mend="give the codes of the communities to be redrawn",
            mend_zh="请给出需调整的社区编码",
            field="communities",
        )
    known = set(conn.scalars(query("grids", "known_communities"), {"communities": wanted}))
    missing = [code for code in wanted if code not in known]
    if missing:
        raise NotFound(
            f"there is no community {missing[0]}",
            f"没有社区 {missing[0]}",
            mend="codes of communities have 12 digits; the map and /search show them",
            mend_zh="社区编码为 12 位,可在地图或搜索中查到",
            community=missing[0],
        )
    conn.execute(query("grids", "lock_publishing"))  # nothing is published between reading and copying the versions
    row = {"communities": wanted, "note": (note or "").strip() or None, "actor": actor}
    number = int(conn.execute(query("grids", "open_draft"), row).scalar_one())
    here = {"communities": wanted, "edition": number}
    held = set(conn.scalars(query("grids", "hold_communities"), here))
    if len(held) < len(wanted):
        other = conn.execute(query("grids", "holders_of_communities"), here).all()
        words = "; ".join(f"{row.community_code}: {row.edition_id}" for row in other[:5])
        raise Conflict(
            f"another draft holds {len(wanted) - len(held)} of these communities (community: draft): {words}",
            f"有 {len(wanted) - len(held)} 个社区已在其他草稿中(社区: 草稿):{words}",
            mend="work in that draft, or publish or drop it first",
            mend_zh="请在该草稿中编辑,或先发布、放弃它",
            draft=other[0].edition_id if other else "?",
        )
    conn.execute(query("grids", "copy_into_draft"), {"edition": number})
    return number


def list_drafts(conn: Connection, *, ended: bool = False) -> list[Draft]:
    """The open drafts, newest first; with ``ended`` also those that were published or dropped."""
    rows = conn.execute(query("grids", "list_drafts"), {"edition": None, "ended": ended, "most": MOST_DRAFTS})
    return [Draft(**row) for row in rows.mappings()]


def show_draft(conn: Connection, edition: int) -> Draft:
    """One draft or ended edition. Raises NotFound."""
    row = conn.execute(query("grids", "list_drafts"), {"edition": edition, "ended": True, "most": 1}).mappings().first()
    if row is None:
        raise _no_draft(edition)
    return Draft(**row)


def drop_draft(conn: Connection, edition: int, *, actor: str) -> None:
    """End a draft; nothing comes of it. Raises NotFound, or Conflict when it has ended already."""
    lock_draft(conn, edition)
    conn.execute(query("grids", "end_draft"), {"edition": edition, "actor": actor})
    conn.execute(query("grids", "free_communities"), {"edition": edition})
    conn.execute(query("grids", "empty_draft"), {"edition": edition})


def read_draft(conn: Connection, edition: int) -> gpd.GeoDataFrame:
    """The cells of a draft (code, area_class, geometry in the city's system). NotFound when there is no such draft."""
    show_draft(conn, edition)
    return read_geoframe(conn, query("grids", "draft_cells"), city_srid(conn), edition=edition)


def check_draft(conn: Connection, edition: int) -> list[Finding]:
    """What the check finds in a draft, beside today's borders of its communities.

    NotFound when there is none, Conflict when it has ended: then it holds no cells.
    """
    about = show_draft(conn, edition)
    if about.state != "draft":
        raise Conflict(
            f"draft {edition} has ended: it was {about.state}",
            f"草稿 {edition} 已{'发布' if about.state == 'published' else '放弃'}",
            mend="'wanmi grid check' checks the grid of today",
            mend_zh="检查现行网格请用 wanmi grid check",
            draft=edition,
        )
    return _findings(conn, edition, about.communities)


def new_codes(conn: Connection, edition: int) -> list[str]:
    """The codes in a draft that no cell of its base has."""
    base = read_geoframe(conn, query("grids", "base_cells"), city_srid(conn), edition=edition)
    return sorted(set(read_draft(conn, edition)["code"]) - set(base["code"]))


def put_cells(
    conn: Connection, edition: int, cells: gpd.GeoDataFrame, *, actor: str, revision: int | None = None
) -> list[Finding]:
    """Replace the cells of a draft (code or "" for new ones, area_class if known, geometry); returns the findings.

    Codes are kept as grids.redraw.keep_codes says; the others get the next numbers never used, in reading order.
    Raises Invalid for a shape or code that cannot be a cell's, and for a new cell that lies in none of the communities.
    """
    draft = lock_draft(conn, edition, revision)
    before = read_geoframe(conn, query("grids", "base_cells"), city_srid(conn), edition=edition)
    frame = _in_city(cells, before.crs.to_epsg())
    for code, shape in zip(frame["code"], frame.geometry, strict=True):
        refuse_unfit(str(code or ""), shape)
    codes = [code if code is None else CellCode(code) for code in keep_codes(frame, before)]
    frame["area_class"] = classes_from(frame, before)
    frame["code"] = _numbered(conn, draft.communities, frame, codes)
    frame = frame[["code", "area_class", "geometry"]].sort_values("code", ignore_index=True)
    return _keep(conn, draft, frame, actor)


def split(
    conn: Connection,
    edition: int,
    code: str,
    line: BaseGeometry,
    *,
    srid: int | None = None,
    actor: str,
    revision: int | None = None,
) -> list[Finding]:
    """Split a cell by a line (in ``srid``, the city's if None): the pieces get new numbers, the old one is retired."""
    draft, cells = _open(conn, edition, revision)
    cell = _cell(cells, code, edition)
    with _naming(code=code):
        pieces = divide(cell.geometry, _line_in_city(line, srid, cells))
    return _replace(conn, draft, cells, [code], [(None, cell.area_class, piece) for piece in pieces], actor)


def merge(
    conn: Connection, edition: int, codes: Sequence[str], *, actor: str, revision: int | None = None
) -> list[Finding]:
    """Make one cell of neighbours of one community: it gets a new number and the class of most of its ground."""
    draft, cells = _open(conn, edition, revision)
    chosen = [_cell(cells, code, edition) for code in dict.fromkeys(codes)]
    if len(chosen) < 2 or len({cell.code[:12] for cell in chosen}) > 1:
        raise Invalid(
            "a merge needs two or more cells of one community",
            "合并须选择同一社区的两个或更多网格",
            mend="no cell crosses the border of a community",
            mend_zh="网格不得跨越社区边界",
            codes=", ".join(codes),
        )
    with _naming(codes=", ".join(codes)):
        whole = unite([cell.geometry for cell in chosen])
    ground: dict[str, float] = {}
    for cell in chosen:
        ground[cell.area_class] = ground.get(cell.area_class, 0.0) + cell.geometry.area
    area_class = max(sorted(ground), key=lambda name: ground[name])
    return _replace(conn, draft, cells, [cell.code for cell in chosen], [(None, area_class, whole)], actor)


def move_border(
    conn: Connection,
    edition: int,
    code: str,
    other: str,
    line: BaseGeometry,
    *,
    srid: int | None = None,
    actor: str,
    revision: int | None = None,
) -> list[Finding]:
    """The line becomes the border between two neighbours of one community; both keep their codes."""
    draft, cells = _open(conn, edition, revision)
    one, two = _cell(cells, code, edition), _cell(cells, other, edition)
    if code[:12] != other[:12] or code == other:
        raise Invalid(
            "a border is moved between two cells of one community",
            "只能移动同一社区两个网格之间的边界",
            mend="the border of a community is moved with its areas, not with its cells",
            mend_zh="社区边界须随行政区域调整",
            codes=f"{code}, {other}",
        )
    with _naming(codes=f"{code}, {other}"):
        first, second = redraw.move_border(one.geometry, two.geometry, _line_in_city(line, srid, cells))
    drawn = [(code, one.area_class, first), (other, two.area_class, second)]
    return _replace(conn, draft, cells, [code, other], drawn, actor)


def recode(
    conn: Connection, edition: int, code: str, new: str | None = None, *, actor: str, revision: int | None = None
) -> list[Finding]:
    """Give a cell another number of its community: the next free one, or ``new``. Conflict when it was ever used."""
    draft, cells = _open(conn, edition, revision)
    cell = _cell(cells, code, edition)
    if new is not None:
        digits = _ground(conn).digits
        if CellCode(new)[:12] != code[:12] or len(new) != digits:
            raise Invalid(
                f"{new} is no code for a cell of community {code[:12]}: that is its 12 digits and {digits - 12} more",
                f"{new} 不是社区 {code[:12]} 的网格编码:应为该社区 12 位编码加 {digits - 12} 位序号",
                mend="leave the new code out: the next free number is taken",
                mend_zh="不填新编码则取下一个可用序号",
                code=new,
            )
        used = {*_ever_used(conn, draft.communities), *cells["code"]}
        following = CellCode.next_free(code[:12], used, digits=digits)
        if new > following:
            raise Invalid(
                f"{new} would leave numbers out: the next of this community is {following}",
                f"{new} 会跳过序号:该社区下一个可用编码为 {following}",
                mend=f"take {following} or a lower number that was never used; numbers left out are lost for good",
                mend_zh=f"请使用 {following} 或更小的未用序号;跳过的序号将无法再用",
                code=new,
            )
        if new in used:
            raise Conflict(
                f"{new} is or was the number of another cell; numbers are never used again",
                f"{new} 已被使用过,编码不得重复使用",
                mend="leave the new code out: the next free number is taken",
                mend_zh="不填新编码则取下一个可用序号",
                code=new,
            )
    return _replace(conn, draft, cells, [code], [(new, cell.area_class, cell.geometry)], actor)


def set_area_class(
    conn: Connection, edition: int, code: str, area_class: str, *, actor: str, revision: int | None = None
) -> list[Finding]:
    """Give a cell another management class: A, B or C."""
    draft, cells = _open(conn, edition, revision)
    cell = _cell(cells, code, edition)
    if area_class not in ("A", "B", "C"):
        raise Invalid(
            f"{area_class!r} is no area class", f"{area_class!r} 不是管理等级", mend="A, B or C", mend_zh="A、B 或 C"
        )
    return _replace(conn, draft, cells, [code], [(code, area_class, cell.geometry)], actor)


# ── what the acts share ────────────────────────────────────────


def _no_draft(edition: int) -> NotFound:
    return NotFound(
        f"there is no draft {edition}",
        f"没有草稿 {edition}",
        mend="'wanmi grid draft list' shows all",
        mend_zh="wanmi grid draft list 可列出全部草稿",
        draft=edition,
    )


def _ground(conn: Connection) -> Any:
    return conn.execute(query("grids", "ground_of_drafts")).one()


def lock_draft(conn: Connection, edition: int, revision: int | None = None) -> Any:
    """The draft's row (id, communities, note, state, revision), which nobody else changes until the transaction ends.

    Raises NotFound, Conflict when it has ended or is not at ``revision`` any more.
    """
    draft = conn.execute(query("grids", "lock_draft"), {"edition": edition}).first()
    if draft is None:
        raise _no_draft(edition)
    if draft.state != "draft":
        raise Conflict(
            f"draft {edition} is {draft.state} already",
            f"草稿 {edition} {'已发布' if draft.state == 'published' else '已放弃'}",
            mend="open a new draft",
            mend_zh="请新建草稿",
            draft=edition,
        )
    if revision is not None and revision != draft.revision:
        raise Conflict(
            f"draft {edition} was saved since: it is at revision {draft.revision}, this was made on {revision}",
            f"草稿 {edition} 已被他人保存:当前版次 {draft.revision},本次基于 {revision}",
            mend="read it again, then do it on what is there now",
            mend_zh="请重新读取后再操作",
            draft=edition,
            revision=draft.revision,
        )
    return draft


def _open(conn: Connection, edition: int, revision: int | None) -> tuple[Any, gpd.GeoDataFrame]:
    draft = lock_draft(conn, edition, revision)
    return draft, read_geoframe(conn, query("grids", "draft_cells"), city_srid(conn), edition=edition)


def _cell(cells: gpd.GeoDataFrame, code: str, edition: int) -> Any:
    found = cells[cells["code"] == code]
    if found.empty:
        raise NotFound(
            f"draft {edition} has no cell {code!r}",
            f"草稿 {edition} 中没有网格 {code!r}",
            mend=f"'wanmi grid draft show {edition}' lists its cells; it may have been split or merged since",
            mend_zh=f"wanmi grid draft show {edition} 可列出其网格;它可能已被分割或合并",
            code=code,
        )
    return next(found.itertuples())


class _naming:
    """Errors raised inside say which cells they are about."""

    def __init__(self, **where: object) -> None:
        self._where = where

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Invalid):
            error.where = {**self._where, **{name: value for name, value in error.where.items() if value != "(new)"}}


def _line_in_city(line: BaseGeometry, srid: int | None, cells: gpd.GeoDataFrame) -> BaseGeometry:
    own = cells.crs.to_epsg()
    moved: BaseGeometry = line if srid is None or srid == own else reproject(line, srid, own)
    return moved


def _in_city(cells: gpd.GeoDataFrame, srid: int) -> gpd.GeoDataFrame:
    """The cells in the city's system, on the lattice, each a single polygon where it is one."""
    if cells.empty or cells.crs is None:
        raise Invalid(
            "there are no cells" if cells.empty else "the cells do not say their coordinate system",
            "没有网格" if cells.empty else "网格未声明坐标系",
            mend="export the draft, edit it, and bring that file back",
            mend_zh="请先导出草稿,编辑后再导入",
        )
    frame = cells.copy()
    if frame.crs.to_epsg() != srid:
        frame = frame.to_crs(srid)
    shapes = np.asarray(shapely.force_2d(np.asarray(frame.geometry, dtype=object)), dtype=object)
    for row, shape in enumerate(shapes):
        if shape is not None and shape.geom_type == "MultiPolygon" and len(shape.geoms) == 1:
            shapes[row] = shape.geoms[0]
    present = np.array([shape is not None and not shape.is_empty for shape in shapes], dtype=bool)
    shapes[present] = shapely.remove_repeated_points(snap(shapes[present]))
    if "code" not in frame:
        frame["code"] = None
    return frame.set_geometry(gpd.GeoSeries(shapes, index=frame.index, crs=srid)).reset_index(drop=True)


def _ever_used(conn: Connection, communities: Sequence[str]) -> set[str]:
    return {row.code for row in conn.execute(query("grids", "codes_ever_used"), {"communities": list(communities)})}


def _numbered(
    conn: Connection, communities: Sequence[str], frame: gpd.GeoDataFrame, codes: Sequence[str | None]
) -> list[str]:
    """The codes, with numbers for those that have none: in the community that holds most of the cell."""
    done = list(codes)
    missing = [row for row, code in enumerate(codes) if code is None]
    if not missing:
        return [code for code in done if code is not None]
    ground = _ground(conn)
    areas = read_geoframe(conn, query("grids", "areas_around"), ground.srid, communities=list(communities))
    areas = areas[areas["code"].isin(communities)]
    used = _ever_used(conn, communities) | {code for code in codes if code is not None}
    shapes = np.asarray(frame.geometry)[missing]
    homes = np.asarray(areas.geometry)
    shared = np.array([shapely.area(shapely.intersection(shape, homes)) for shape in shapes])
    if not (shared.max(axis=1) > 0).all():
        stray = shapes[int(np.argmin(shared.max(axis=1)))]
        raise Invalid(
            "a new cell lies in none of the draft's communities",
            "新网格不在草稿的任何社区内",
            mend="draw it inside one of the communities, or take it out",
            mend_zh="请在草稿所含社区内绘制",
            place=f"{stray.centroid.x:.1f} {stray.centroid.y:.1f}",
        )
    home = shared.argmax(axis=1)
    for number in np.unique(home):
        rows = np.flatnonzero(home == number)
        given = next_codes(areas["code"].iloc[int(number)], list(shapes[rows]), used, digits=ground.digits)
        for row, code in zip(rows, given, strict=True):
            done[missing[int(row)]] = code
    return [code for code in done if code is not None]


def _replace(
    conn: Connection,
    draft: Any,
    cells: gpd.GeoDataFrame,
    gone: Sequence[str],
    drawn: Sequence[tuple[str | None, str, BaseGeometry]],
    actor: str,
) -> list[Finding]:
    """Put cells (code or None, class, shape) in the place of others of one community."""
    codes = [code for code, _, _ in drawn]
    if any(code is None for code in codes):
        used = _ever_used(conn, draft.communities) | set(cells["code"])
        shapes: list[Any] = [shape for code, _, shape in drawn if code is None]
        fresh = iter(next_codes(gone[0][:12], shapes, used, digits=_ground(conn).digits))
        codes = [code or next(fresh) for code in codes]
    rest = cells[~cells["code"].isin(gone)]
    every = {
        "code": [*rest["code"], *codes],
        "area_class": [*rest["area_class"], *(area_class for _, area_class, _ in drawn)],
    }
    shapes = [*rest.geometry, *(shape for _, _, shape in drawn)]
    frame = gpd.GeoDataFrame(every, geometry=shapes, crs=cells.crs).sort_values("code", ignore_index=True)
    return _keep(conn, draft, frame, actor)


def _keep(conn: Connection, draft: Any, frame: gpd.GeoDataFrame, actor: str) -> list[Finding]:
    """Write the cells of a draft, noded on each other and on the neighbours outside, and check them."""
    twice = frame["code"][frame["code"].duplicated()]
    if not twice.empty:
        raise Conflict(
            f"two cells have the code {twice.iloc[0]}", f"两个网格的编码均为 {twice.iloc[0]}", code=twice.iloc[0]
        )
    frame, _ = noded_together(frame, frame.iloc[:0])
    conn.execute(query("grids", "empty_draft"), {"edition": draft.id})
    rows = frame[["code", "area_class"]].assign(geom=frame.geometry, edition_id=draft.id)
    copy_frame(conn, rows, "grids.draft_cell")
    conn.execute(query("grids", "save_draft"), {"edition": draft.id, "actor": actor})
    return _findings(conn, draft.id, draft.communities)


def _findings(conn: Connection, edition: int, communities: Sequence[str]) -> list[Finding]:
    ground = _ground(conn)
    here = {"communities": list(communities)}
    areas = read_geoframe(conn, query("grids", "areas_around"), ground.srid, **here)
    buildings = read_geoframe(conn, query("grids", "buildings_around"), ground.srid, **here)
    cells = read_geoframe(conn, query("grids", "draft_cells"), ground.srid, edition=edition)
    used = conn.execute(query("grids", "codes_ever_used"), here)
    return check(
        cells,
        areas,
        target_m2=ground.target_m2,
        digits=ground.digits,
        buildings=None if buildings.empty else buildings,
        retired=[row.code for row in used if not row.is_now],
        covered=list(communities),
    )
