"""Editions of the grid: a draft is published at one instant; the grid of any past instant; what came from what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import geopandas as gpd
from sqlalchemy import Connection

from gis.db import copy_frame, query
from gis.errors import Invalid, NotFound
from gis.layer import read_geoframe
from grids.codes import CellCode
from grids.edit import check_draft, city_srid, lock_draft
from grids.findings import Finding
from grids.redraw import noded_together

What = Literal["new", "changed", "noded", "retired"]


class UnsoundGrid(Invalid):
    """A grid with errors cannot be published."""

    title_zh = "网格存在错误,不能发布"

    findings: tuple[Finding, ...] = ()  #: the errors, and what else the check found


@dataclass(frozen=True, kw_only=True)
class Kin:
    """Ground that two cells share through an edition."""

    code: str  #: of the other cell
    share_of_old: float
    share_of_new: float


@dataclass(frozen=True, kw_only=True)
class ChangedCell:
    """One cell that an edition changed."""

    what: What  #: noded: its border got vertices of a neighbour, nothing else
    code: str
    old_id: int | None  #: the version that ended
    new_id: int | None  #: the version that began
    successors: tuple[Kin, ...] = ()  #: of the version that ended


@dataclass(frozen=True, kw_only=True)
class Edition:
    """What became of a draft."""

    id: int
    cells: list[ChangedCell] = field(default_factory=list)

    @property
    def ended_ids(self) -> list[int]:
        """Versions of cells that ended."""
        return sorted(cell.old_id for cell in self.cells if cell.old_id is not None)

    @property
    def begun_ids(self) -> list[int]:
        """Versions of cells that began."""
        return sorted(cell.new_id for cell in self.cells if cell.new_id is not None)

    @property
    def retired(self) -> list[str]:
        """Codes that are no more."""
        return [cell.code for cell in self.cells if cell.what == "retired"]

    def predecessors(self, code: str) -> list[Kin]:
        """What a cell that began came from, the largest share first."""
        kin = [
            Kin(code=cell.code, share_of_old=son.share_of_old, share_of_new=son.share_of_new)
            for cell in self.cells
            for son in cell.successors
            if son.code == code
        ]
        return sorted(kin, key=lambda found: (-found.share_of_new, found.code))


def publish(conn: Connection, edition: int, *, actor: str, revision: int | None = None) -> Edition:
    """Make a draft the grid, at one instant; returns the cells that changed.

    Neighbours outside the draft get the vertices that it put on their border, as new versions of the same code.
    Unchanged cells keep their version. The caller lets components and cases follow in the same transaction.
    Raises NotFound, Conflict when the draft has ended or its cells got newer versions, UnsoundGrid with the findings.
    """
    conn.execute(query("grids", "lock_publishing"))
    draft = lock_draft(conn, edition, revision)
    findings = check_draft(conn, edition)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise _unsound(edition, findings, errors)
    srid = city_srid(conn)
    cells = read_geoframe(conn, query("grids", "draft_cells"), srid, edition=edition)
    around = read_geoframe(
        conn, query("grids", "cells_around"), srid, edition=edition, communities=list(draft.communities)
    )
    inside, outside = noded_together(cells, around)
    conn.execute(query("grids", "empty_draft"), {"edition": edition})
    for frame, is_outside in ((inside, False), (outside, True)):
        rows = frame[["code", "area_class"]].assign(geom=frame.geometry, edition_id=edition, outside=is_outside)
        copy_frame(conn, rows, "grids.draft_cell")
    changed: dict[str, ChangedCell] = {}
    for row in conn.execute(query("grids", "publish_draft"), {"edition": edition, "actor": actor}):
        cell = changed.get(row.code)
        kin = cell.successors if cell is not None else ()
        if row.successor is not None:
            kin = (*kin, Kin(code=row.successor, share_of_old=row.share_of_old, share_of_new=row.share_of_new))
        changed[row.code] = ChangedCell(
            what=row.what, code=row.code, old_id=row.old_id, new_id=row.new_id, successors=kin
        )
    return Edition(id=edition, cells=list(changed.values()))


def _unsound(edition: int, findings: Sequence[Finding], errors: Sequence[Finding]) -> UnsoundGrid:
    first = errors[0]
    there = first.place is not None and not first.place.is_empty
    place = f"{first.place.centroid.x:.2f} {first.place.centroid.y:.2f}" if there else ""
    error = UnsoundGrid(
        f"draft {edition} has {len(errors)} errors, the first: {first.en}",
        f"草稿 {edition} 有 {len(errors)} 处错误,首个:{first.zh}",
        mend=f"'wanmi grid draft check {edition} --out FILE.gpkg' writes all findings for QGIS: mend them first",
        mend_zh=f"请用 wanmi grid draft check {edition} --out 文件.gpkg 导出全部问题,修正后再发布",
        draft=edition,
        rule=first.rule,
        code=first.code or "",
        place=place,
    )
    error.findings = tuple(findings)
    return error


# ── the past ────────────────────────────────────────


def read_cells(
    conn: Connection, at: datetime | None = None, communities: Sequence[str] | None = None
) -> gpd.GeoDataFrame:
    """The grid as it was at an instant (None: as it is): code, community_code, area_class, area_m2, since, geometry."""
    if at is not None and at.tzinfo is None:
        raise Invalid(
            f"{at} has no time zone",
            f"时间 {at} 没有时区",
            mend="give the instant with its offset: 2026-03-02T12:00:00+08:00",
            mend_zh="请带时区给出时间,如 2026-03-02T12:00:00+08:00",
            field="at",
        )
    wanted = None if communities is None else list(communities)
    return read_geoframe(conn, query("grids", "cells_at"), city_srid(conn), at=at, communities=wanted)


@dataclass(frozen=True, kw_only=True)
class CellVersion:
    """One version of a cell: how long it held, who made it and why."""

    id: int
    code: str
    since: datetime | None  #: None: from the beginning
    until: datetime | None  #: None: it holds today
    area_m2: float
    area_class: str
    actor: str
    reason: str
    source: str | None


@dataclass(frozen=True, kw_only=True)
class Descent:
    """That ground of one version of a cell went over to another."""

    at: datetime
    old_id: int
    old_code: str
    new_id: int
    new_code: str
    edition_id: int | None
    share_of_old: float
    share_of_new: float


def cell_history(conn: Connection, code: str) -> tuple[list[CellVersion], list[Descent]]:
    """All versions of a code in order of time, and what it came from and became. NotFound when it was never used."""
    code = CellCode.parse(code)
    versions = [
        CellVersion(**row) for row in conn.execute(query("grids", "versions_of_cell"), {"code": code}).mappings()
    ]
    if not versions:
        raise NotFound(
            f"there is no cell {code}, and there never was",
            f"没有网格 {code},也从未使用过该编码",
            mend="check the digits; the map shows the codes of today's cells",
            mend_zh="请核对编码;地图上可查看当前网格编码",
            code=code,
        )
    descent = conn.execute(query("grids", "lineage_of_cell"), {"code": code}).mappings()
    return versions, [Descent(**row) for row in descent]
