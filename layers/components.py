"""Components (部件) through time: manholes, lamps, bins, trees …, what they are, were, and how two instants differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import geopandas as gpd
import pandas as pd
import shapely
from sqlalchemy import Connection

from gis.crs import snap
from gis.db import copy_frame, query
from gis.errors import Invalid, NotFound
from gis.history import Version
from gis.layer import Layer
from layers.merge import FIELDS, differing, moved_m
from layers.units import refuse_unknown, unit_ids

COMPONENTS = Layer(
    name="components",
    relation="component",
    key="code",
    geometry=("Point", "LineString", "Polygon"),
    columns=(
        *("code", "class_code", "class_zh", "class_en", "cell_code", "state", "supervising_zh", "owner_zh"),
        *("maintainer_zh", "surveyed_on", "changed_on", "data_source", "attrs", "simulated"),
    ),
    title_zh="部件",
    title_en="Components",
    min_zoom=16,
    gathered=True,
    tile_columns=("code", "class_code", "state"),
    filters={"class": ("prefix", "class_code"), "area": ("prefix", "cell_code")},
)
ROLES = {
    "supervising_unit": "supervising_unit_id",
    "owner_unit": "owner_unit_id",
    "maintainer_unit": "maintainer_unit_id",
}
COLUMNS = ["code", "class_code", "name_zh", "state", "surveyed_on", "data_source", "attrs"]
NOW = "infinity"  #: the instant at which everything holds that holds now
MOST_COUNTED = 100_000  #: a count goes no further


def load_components(
    conn: Connection,
    components: gpd.GeoDataFrame,
    edition: str,
    version: Version,
    *,
    progress: Callable[[float], None] | None = None,
) -> int:
    """Write components (columns of COLUMNS, source_key if it has one, unit codes, geometry in the city's CRS).

    The cell is found by spatial join in PostGIS: of a point itself, of lines and polygons a point on them; on a
    shared border the lowest code. Returns the rows. Raises Invalid that names an unknown unit.
    """
    ids = unit_ids(conn)
    keyed = ["source_key"] if "source_key" in components else []
    frame = components[[*COLUMNS, *keyed]].assign(geom=snap(components.geometry), edition=edition)
    for role, column in ROLES.items():
        refuse_unknown(components[role], ids, "components", role)
        frame[column] = pd.array([ids.get(code) for code in components[role]], dtype="Int64")
    conn.execute(query("layers", "stage_components"))
    rows = copy_frame(conn, version.stamp(frame), "staged_component", progress=progress)
    conn.execute(query("layers", "hold_grid"))  # not while a grid is being published: its cells are just ending
    conn.execute(query("layers", "place_components"))
    return rows


# ── through time ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Change:
    """Who, why, resting on what."""

    id: int
    actor: str
    reason: str
    source: str | None


@dataclass(frozen=True, kw_only=True)
class ComponentVersion:
    """What a component was from one instant to another."""

    id: int  #: number of the version: an edit says from which it started
    code: str
    edition: str  #: of the catalogue that class_code is from
    fields: Mapping[str, Any]  #: layers.merge.FIELDS; units by code, days as dates, the shape in the city's system
    cell_code: str | None
    since: datetime | None  #: None: from the beginning
    until: datetime | None  #: None: it holds today
    change: Change  #: that made it
    ended: Change | None  #: that ended it


@dataclass(frozen=True, kw_only=True)
class Narrowing:
    """Which components: beginnings of class codes, codes of areas, a shape that they touch; None is all."""

    classes: Sequence[str] | None = None
    areas: Sequence[str] | None = None
    box: shapely.Geometry | None = None  #: in the city's system

    def parameters(self, srid: int) -> dict[str, Any]:
        """As the named queries take it."""
        box = None if self.box is None else shapely.to_wkb(self.box)
        return {"classes": _listed(self.classes), "areas": _listed(self.areas), "box": box, "srid": srid}


ALL = Narrowing()


def _listed(codes: Sequence[str] | None) -> list[str] | None:
    return list(codes) if codes else None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What became of one component between two instants."""

    code: str
    what: Literal["added", "changed", "moved", "retired"]  #: moved: its shape differs, other fields may as well
    fields: tuple[str, ...]  #: that differ, attributes as attrs.NAME; none for added and retired
    moved_m: float | None  #: metres, of moved
    before: ComponentVersion | None
    after: ComponentVersion | None


def component_pasts(conn: Connection, codes: Sequence[str]) -> dict[str, list[ComponentVersion]]:
    """All versions of components by code, in the order of time; codes that never were are left out."""
    pasts: dict[str, list[ComponentVersion]] = {}
    for version in _versions(conn.execute(query("layers", "versions_of_components"), {"codes": list(codes)})):
        pasts.setdefault(version.code, []).append(version)
    return pasts


def component_past(conn: Connection, code: str) -> list[ComponentVersion]:
    """All versions of a component in the order of time. NotFound for a code that never was."""
    versions = component_pasts(conn, [code]).get(code)
    if versions is None:
        raise NotFound(
            f"there is no component {code}",
            f"没有部件 {code}",
            mend="check its code",
            mend_zh="请核对部件编码",
            code=code,
        )
    return versions


def read_component(conn: Connection, code: str, at: datetime | None = None) -> ComponentVersion:
    """What a component is, or was at an instant. NotFound for a code that never was, or when it was not there then."""
    versions = component_past(conn, code)
    for version in reversed(versions):
        if version.until is None if at is None else holds(version, at):
            return version
    last = versions[-1]
    if at is None and last.ended is not None:
        raise NotFound(
            f"component {code} was retired by {last.ended.actor}: {last.ended.reason}",
            f"部件 {code} 已由 {last.ended.actor} 注销：{last.ended.reason}",
            mend="its versions are still there; name an instant at which it was",
            mend_zh="历史版本仍可查询；请给出其有效期内的时间",
            code=code,
            version=last.id,
            retired_at=last.until,
        )
    raise NotFound(
        f"component {code} was not there at {at}",
        f"部件 {code} 在 {at} 不存在",
        mend="its versions tell when it was",
        mend_zh="历史版本列出其有效期",
        code=code,
    )


def holds(version: ComponentVersion, at: datetime) -> bool:
    """Whether a version held at an instant."""
    return (version.since is None or version.since <= at) and (version.until is None or at < version.until)


def components_within(
    conn: Connection, srid: int, narrowing: Narrowing = ALL, *, at: datetime | None = None, after: str | None = None,
    most: int = 1000,
) -> list[ComponentVersion]:  # fmt: skip
    """A page of the components that hold today, or held at an instant, by code: the first ``most`` after a code."""
    row = {**narrowing.parameters(srid), "at": at or NOW, "after": after, "most": most}
    return _versions(conn.execute(query("layers", "components_within"), row))


def count_within(
    conn: Connection, srid: int, narrowing: Narrowing = ALL, *, at: datetime | None = None
) -> tuple[int, bool]:
    """How many components that are, and whether that is all of them (counting ends at MOST_COUNTED)."""
    row = {**narrowing.parameters(srid), "at": at or NOW, "most": MOST_COUNTED + 1}
    many = int(conn.execute(query("layers", "count_components_within"), row).scalar_one())
    return min(many, MOST_COUNTED), many <= MOST_COUNTED


def difference(
    conn: Connection, srid: int, first: datetime, last: datetime, narrowing: Narrowing = ALL, *,
    after: str | None = None, most: int | None = None,
) -> tuple[list[Difference], str | None]:  # fmt: skip
    """What differs between two instants, by code, narrowed by what a component was at either of them.

    Looks at ``most`` components after a code, at all if none is said. Returns the differences and the code after which
    the next page begins (None: that was all). A component that was changed and changed back does not differ. Raises
    Invalid when the second instant lies before the first.
    """
    if last < first:
        raise Invalid(
            f"the second instant ({last}) lies before the first ({first})",
            f"终止时间（{last}）早于起始时间（{first}）",
            mend="exchange them",
            mend_zh="请调换两个时间",
            field="from",
        )
    row = {**narrowing.parameters(srid), "first": first, "last": last, "after": after}
    pairs = conn.execute(query("layers", "codes_between"), {**row, "most": None if most is None else most + 1}).all()
    page = pairs if most is None else pairs[:most]
    pasts = component_pasts(conn, [pair.code for pair in page])
    found = []
    for pair in page:
        by_id = {version.id: version for version in pasts[pair.code]}
        differs = _difference(pair.code, by_id.get(pair.old_id), by_id.get(pair.new_id))
        if differs is not None:
            found.append(differs)
    return found, page[-1].code if len(pairs) > len(page) else None


def _difference(code: str, before: ComponentVersion | None, after: ComponentVersion | None) -> Difference | None:
    facts: dict[str, Any] = {"code": code, "before": before, "after": after}
    if before is None or after is None:
        return Difference(what="added" if before is None else "retired", fields=(), moved_m=None, **facts)
    fields = tuple(differing(before.fields, after.fields))
    if not fields:
        return None
    if "geometry" not in fields:
        return Difference(what="changed", fields=fields, moved_m=None, **facts)
    metres = moved_m(before.fields["geometry"], after.fields["geometry"])
    return Difference(what="moved", fields=fields, moved_m=metres, **facts)


def _versions(rows: Any) -> list[ComponentVersion]:
    """Versions of rows that have the columns of versions_of_components."""
    found = rows.all()
    shapes = shapely.set_srid(shapely.from_wkb([row.geom for row in found]), 0)  # the system is the city's, not the shape's
    names = [name for name in FIELDS if name != "geometry"]
    versions = []
    for row, shape in zip(found, shapes, strict=True):
        known = row._mapping
        ended = None
        if row.ended_change_id is not None:
            ended = Change(
                id=row.ended_change_id, actor=row.ended_by, reason=row.ended_reason, source=row.ended_source
            )
        versions.append(
            ComponentVersion(
                id=row.id,
                code=row.code,
                edition=row.edition,
                fields={**{name: known[name] for name in names}, "geometry": shape},
                cell_code=row.cell_code,
                since=row.since,
                until=row.until,
                change=Change(id=row.change_id, actor=row.actor, reason=row.reason, source=row.source),
                ended=ended,
            )
        )
    return versions
