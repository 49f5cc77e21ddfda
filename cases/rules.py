"""The rules of responsibility as a table: read it, compare it with what holds, take it over from an instant on.

A table has one rule a row (COLUMNS); a file of polygons has the responsibility red line (责任红线) as its geometry.
Rules that a file does not name stay, unless it is said to be complete. Nothing takes effect backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from sqlalchemy import Connection

from cases.duty import load_rules
from cases.rule_check import Duty, Fault, check_rules, errors_of
from gis.crs import snap
from gis.db import query
from gis.errors import Conflict, Invalid, UnfitFile
from gis.formats import read_vector
from gis.history import record_change
from gis.written import write_vector
from grids.city import City
from layers.sheet_file import TABLES, WRITTEN, read_file, write_file

#: The columns of a table and how else people call them; the first is what is written.
COLUMNS = {
    "code": ("code", "规则编号", "编号"),
    "class_prefix": ("class_prefix", "class", "类别", "类别代码"),
    "condition_no": ("condition_no", "condition", "立案条件", "条件序号"),
    "area_prefix": ("area_prefix", "area", "区域", "区域编码"),
    "roles": ("roles", "责任主体", "责任角色"),
    "zone": ("zone", "责任区"),
    "source_document": ("source_document", "document", "依据", "依据文件"),
    "source_on": ("source_on", "依据日期", "文件日期"),
}
NEEDED = ("code", "roles", "source_document")
LEAST_ZONE_M2 = 1.0  #: less is no ground
UNSAID = object()  #: the table has no column of polygons: what a rule has stays
POLYGON = "polygon"  #: what a table says in the column zone: the rule has a polygon, which stays as it is
FIELDS = ("class_prefix", "condition_no", "area_prefix", "roles", "zone", "source_document", "source_on")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A rule that a file changes."""

    fate: str  #: new, changed, ended
    code: str
    fields: tuple[str, ...]  #: of a changed one
    before: dict[str, str]
    after: dict[str, str]


@dataclass(kw_only=True)
class RuleReport:
    """What taking over a table of rules would do, or did."""

    rows: int
    same: int = 0
    differences: list[Difference] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    since: datetime | None = None  #: from when on, where it was committed
    committed: bool = False

    def total(self, fate: str) -> int:
        """How many rules are new, changed or ended."""
        return sum(one.fate == fate for one in self.differences)


# ── files ────────────────────────────────────────


def read_rules_file(path: Path, srid: int) -> list[dict[str, Any]]:
    """The rows of a table (.csv, .xlsx) or of a file of polygons: COLUMNS as texts, ``zone`` a geometry in the city's
    system, a text or None, and ``row``, its number in the file.

    Raises UnfitFile for a file that is none of these or lacks a column.
    """
    if path.suffix.lower() in TABLES:
        sheets = [sheet for sheet in read_file(path) if not sheet.hidden and sheet.rows]
        if not sheets:
            raise _unfit(path, "holds no rows", "没有任何记录")
        head, *lines = sheets[0].rows.items()
        names = [cell.text for cell in head[1]]
        lines = [(n, cells) for n, cells in lines if any(cell.text.strip() for cell in cells)]
        texts = [[*(cell.text for cell in cells), *[""] * len(names)][: len(names)] for _, cells in lines]
        rows = _named(path, names, texts)
        for (n, _), row in zip(lines, rows, strict=True):
            row |= {"row": n, "zone": row["zone"] if row["zone"] is UNSAID else row["zone"] or None}
        if not rows:
            raise _unfit(path, "holds no rules", "没有任何规则")
        return rows
    shapes = read_vector(path)
    shapes = shapes if shapes.crs is None else shapes.to_crs(srid)
    names = [name for name in shapes.columns if name != shapes.geometry.name]
    rows = _named(path, names, list(zip(*(shapes[name].tolist() for name in names), strict=True)))
    for n, (row, zone) in enumerate(zip(rows, shapes.geometry.array, strict=True), start=1):
        row |= {"row": n, "zone": "no polygon" if zone is None else zone}
    return rows


def _named(path: Path, names: Sequence[str], lines: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """The columns by our names, as texts; missing ones empty."""
    plain = {str(name).strip().lower(): n for n, name in enumerate(names)}
    found = {
        ours: next((plain[name.lower()] for name in called if name.lower() in plain), None)
        for ours, called in COLUMNS.items()
    }
    lacking = [name for name in NEEDED if found[name] is None]
    if lacking:
        have = ", ".join(map(str, names)) or "none"
        raise _unfit(path, f"has no column {lacking[0]}; it has {have}", f"没有 {lacking[0]} 列")
    unsaid = {"zone": UNSAID} if found["zone"] is None else {}
    return [{ours: "" if n is None else _text(line[n]) for ours, n in found.items()} | unsaid for line in lines]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple | np.ndarray):
        return ";".join(_text(one) for one in value)
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _unfit(path: Path, en: str, zh: str) -> UnfitFile:
    needed = ", ".join(COLUMNS)
    return UnfitFile(
        f"{path.name} {en}",
        f"{path.name} {zh}",
        mend=f"the columns of a table of rules are {needed}; wanmi rules export writes one",
        mend_zh=f"规则表的列为 {needed}；wanmi rules export 可输出样表",
        file=path,
    )


def rules_at(conn: Connection, at: datetime | None = None) -> list[Duty]:
    """The rules that hold now, or at an instant, by code."""
    return [
        Duty(**{**row, "zone": None if row["zone"] is None else shapely.from_wkb(row["zone"])})
        for row in conn.execute(query("cases", "rules_at"), {"at": at}).mappings()
    ]


def write_rules_file(conn: Connection, city: City, path: Path, *, at: datetime | None = None, overwrite: bool) -> int:
    """Write the rules to a table, or those with a polygon to a GIS file; read again it changes nothing.

    Returns the rows. Invalid where the file is there and ``overwrite`` is not said.
    """
    rules = rules_at(conn, at)
    if path.suffix.lower() not in WRITTEN:
        zones = [rule for rule in rules if rule.zone is not None]
        if not zones:
            raise Invalid(
                "no rule has a polygon", "没有带责任区多边形的规则", mend="write a table: .csv or .xlsx", field="file"
            )
        said = pd.DataFrame([{name: text for name, text in _said(rule).items() if name != "zone"} for rule in zones])
        said.insert(0, "code", [rule.code for rule in zones])
        shapes = gpd.GeoDataFrame(said, geometry=[rule.zone for rule in zones], crs=city.srid)
        write_vector(shapes, path, overwrite=overwrite)
        return len(zones)
    if path.exists() and not overwrite:
        raise Invalid(f"{path} is there already", f"{path} 已存在", mend="give --overwrite", field="file")
    rows = [[*COLUMNS]]
    for rule in rules:
        said_of = {"code": rule.code, **_said(rule), "zone": "" if rule.zone is None else POLYGON}
        rows.append([said_of[name] for name in COLUMNS])
    write_file(path, [("rules", rows)])
    return len(rows) - 1


# ── taking over ────────────────────────────────────────


def import_rules(
    conn: Connection,
    city: City,
    path: Path,
    *,
    since: datetime | None = None,
    complete: bool = False,
    commit: bool = False,
    actor: str,
    reason: str,
) -> RuleReport:
    """Compare a file of rules with what holds, check what would hold then, and with ``commit`` make it hold.

    since    : the instant from which on it holds, not before now; None: now
    complete : rules that the file does not name end
    Nothing is written where a fault is an error. Raises UnfitFile, Invalid.
    """
    conn.execute(query("cases", "hold_rules"))
    now = conn.execute(query("cases", "rules_instant")).scalar_one()
    if since is not None and since < now:
        passed = since.astimezone(ZoneInfo(city.timezone)).isoformat(timespec="seconds")
        raise Invalid(
            f"rules do not take effect backwards: {passed} has passed",
            f"规则不能追溯生效：{passed} 已过",
            mend="give a later instant, or none for now",
            mend_zh="请给出将来的时间，或省略表示即时生效",
            field="from",
        )
    held = rules_at(conn, since or now)
    faults: list[Fault] = []
    file = _meant(read_rules_file(path, city.srid), held, faults)
    named = {rule.code for rule in file}
    report = RuleReport(rows=len(file), faults=faults, since=since)
    _compare(report, file, held, complete)
    if not errors_of(faults):
        stay = [] if complete else [rule for rule in held if rule.code not in named]
        report.faults = check_rules(conn, [*file, *stay], only=named)
        for later in conn.scalars(query("cases", "rules_to_come"), {"at": since or now}):
            coming = [*file, *(rule for rule in rules_at(conn, later) if rule.code not in named)]
            known = {(fault.rule, fault.code, fault.other) for fault in report.faults}
            report.faults += [
                fault
                for fault in errors_of(check_rules(conn, coming, only=named))
                if (fault.rule, fault.code, fault.other) not in known
            ]
    if commit and not errors_of(report.faults) and report.differences:
        at = since or now
        codes = [one.code for one in report.differences]
        _refuse_scheduled(conn, city, codes, at)
        change = record_change(conn, since=at, actor=actor, reason=reason, source=path.name)
        conn.execute(query("cases", "withdraw_rules"), {"codes": codes, "at": at, "change_id": change.change_id})
        conn.execute(query("cases", "end_rules"), {"codes": codes, "at": at, "change_id": change.change_id})
        fresh = {one.code for one in report.differences if one.fate != "ended"}
        if fresh:
            frame = pd.DataFrame([vars(rule) for rule in file if rule.code in fresh])
            frame["condition_no"] = frame["condition_no"].astype("Int64")
            load_rules(conn, frame, city.srid, change)
        report.since, report.committed = at, True
    return report


def _refuse_scheduled(conn: Connection, city: City, codes: list[str], at: datetime) -> None:
    """What was decided for later stands: a file is taken over before it only by naming that very instant."""
    later = conn.execute(query("cases", "rules_scheduled"), {"codes": codes, "at": at}).first()
    if later is not None:
        when = later.since.astimezone(ZoneInfo(city.timezone)).isoformat(timespec="seconds")
        raise Conflict(
            f"rule {later.code} is to be another, or to end, from {when} on",
            f"规则 {later.code} 已定于 {when} 起变更或停用",
            mend="take the file over from that instant or later (--from)",
            mend_zh="请以该时间或更晚的时间生效（--from）",
            rule=later.code,
        )


def _meant(rows: list[dict[str, Any]], held: list[Duty], faults: list[Fault]) -> list[Duty]:
    """What the rows mean; a polygon that a table only mentions is that of the rule that holds."""
    zones = {rule.code: rule.zone for rule in held}
    rules: list[Duty] = []
    seen: set[str] = set()
    for row in rows:
        where = {"row": row["row"], "code": row["code"] or None}
        for name, rule in (("code", "code_missing"), ("source_document", "document_missing")):
            if not row[name]:
                faults.append(Fault(rule=rule, field=name, **where))
        if row["code"] and row["code"] in seen:
            faults.append(Fault(rule="code_repeated", field="code", **where))
        seen.add(row["code"])
        zone = zones.get(row["code"]) if row["zone"] is UNSAID else row["zone"]
        if isinstance(zone, str):
            zone = zones.get(row["code"]) if zone.lower() == POLYGON else None
            if zone is None:
                faults.append(Fault(rule="zone_missing", field="zone", value=row["zone"], **where))
        elif zone is not None and row["zone"] is not UNSAID:
            zone = _polygon(zone)
            if zone is None:
                faults.append(Fault(rule="zone_unfit", field="zone", value=row["zone"].geom_type, **where))
        rules.append(
            Duty(
                code=row["code"],
                class_prefix=row["class_prefix"].upper(),
                condition_no=_number(row["condition_no"], where, faults),
                area_prefix=row["area_prefix"],
                roles="|".join(part.strip() for part in row["roles"].split("|")),
                zone=zone,
                source_document=row["source_document"],
                source_on=_day(row["source_on"], where, faults),
                row=row["row"],
            )
        )
    return rules


def _polygon(zone: Any) -> Any:
    """A valid multipolygon without heights on the grid of the city's coordinates; None where there is none."""
    zone = shapely.force_2d(zone)
    if zone.geom_type not in ("Polygon", "MultiPolygon") or zone.is_empty or not zone.is_valid:
        return None
    snapped = snap(shapely.MultiPolygon([zone]) if zone.geom_type == "Polygon" else zone)
    return snapped if snapped.is_valid and snapped.area >= LEAST_ZONE_M2 else None


def _day(text: str, where: dict[str, Any], faults: list[Fault]) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text[:10].replace("/", "-"))
    except ValueError:
        faults.append(Fault(rule="day", field="source_on", value=text, **where))
        return None


def _number(text: str, where: dict[str, Any], faults: list[Fault]) -> int | None:
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) < 5:
        return int(text)
    faults.append(Fault(rule="condition_unknown", field="condition_no", value=text, **where))
    return None


def _compare(report: RuleReport, file: list[Duty], held: list[Duty], complete: bool) -> None:
    before = {rule.code: rule for rule in held}
    after = {rule.code: rule for rule in reversed(file) if rule.code}
    for code, rule in after.items():
        new = _said(rule)
        old = _said(before[code]) if code in before else {}
        fields = tuple(name for name in FIELDS if old and old[name] != new[name])
        if not old:
            report.differences.append(Difference(fate="new", code=code, fields=(), before={}, after=new))
        elif fields:
            kept = [{name: said[name] for name in fields} for said in (old, new)]
            report.differences.append(
                Difference(fate="changed", code=code, fields=fields, before=kept[0], after=kept[1])
            )
        else:
            report.same += 1
    for code in sorted(before.keys() - after.keys()) if complete else ():
        report.differences.append(Difference(fate="ended", code=code, fields=(), before=_said(before[code]), after={}))
    report.differences.sort(key=lambda one: one.code)


def _said(rule: Duty) -> dict[str, str]:
    """The fields of a rule as texts that can be compared; a polygon by its corners."""
    said = {name: _text(getattr(rule, name)) for name in FIELDS if name != "zone"}
    return said | {"zone": "" if rule.zone is None else shapely.normalize(rule.zone).wkt}


# ── what people decide against them ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Overruled:
    """A rule that dispatchers decided against."""

    rule: str | None  #: None: no rule, the territory or nobody was proposed
    document: str | None
    proposed: int  #: cases that got a unit by it
    overruled: int
    to_unit: str  #: the unit that was chosen most often
    to_unit_many: int
    area: str  #: the smallest area that holds all these cases
    cases: Sequence[int]
    reasons: Sequence[str]


def review(conn: Connection, *, since: datetime | None = None, least: int = 1) -> list[Overruled]:
    """Rules that people overrule, the most often overruled first, with the cases and the unit they chose instead."""
    rows = conn.execute(query("cases", "rules_overruled"), {"since": since, "least": least}).mappings()
    return [Overruled(**row) for row in rows]
