"""Import of a component census: read → check → compare with the inventory → promote at one instant, or nothing.

A dry run is the default and leaves nothing behind. Rows are matched by code, else by the source's own key, else one to
one with the nearest of the class; what cannot be decided is shown, not decided. An import is one change and can be
undone as one. Everything that grows with the file is done batch by batch or in the database.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from sqlalchemy import Connection

from gis.crs import city_crs, diagnose
from gis.db import copy_frame, query
from gis.errors import Conflict, Invalid, UnfitCoordinates, unfit
from gis.formats import VectorFile, open_vector
from gis.history import record_change
from gis.layer import read_geoframe
from gis.reference import Reference
from grids.areas import AREAS, CELLS
from grids.city import City
from grids.ground import GROUND
from layers.catalogue import class_table, edition_in_force
from layers.census_mapping import ROLES, CensusMapping, LayerMapping
from layers.census_match import Progress, Rows, Run, compare, match, match_by_place, near
from layers.census_places import ACCURACY_M, Classes, Places
from layers.census_report import FATES, CensusReport
from layers.census_rows import Known, attribute_fields, component_rows
from layers.census_rules import MOST_KEPT, RULES, Findings

BATCH = 50_000
MET = 0.5  #: of a layer's first rows must lie in the city's box, else it is read in a wrong way
FOUND = ("fate", "layer", "row", "code", "class_code", "fields", "before", "after", "moved_m", "geometry")
STAGED = (
    *("n", "layer", "row", "code", "class_code", "name_zh", "cell_code", "district", "state", "supervising_unit_id"),
    *(
        "owner_unit_id",
        "maintainer_unit_id",
        "surveyed_on",
        "changed_on",
        "data_source",
        "source_key",
        "base",
        "attrs",
        "geom",
        "error",
    ),
)


def silent(text: str, fraction: float) -> None:
    """Tell nobody."""


def import_census(
    conn: Connection,
    city: City,
    path: Path,
    mapping: CensusMapping,
    *,
    actor: str,
    reason: str | None = None,
    commit: bool = False,
    skip_errors: bool = False,
    progress: Progress = silent,
) -> CensusReport:
    """Read, check and compare a census file; with ``commit`` make it the inventory from now on.

    The transaction is the caller's; without ``commit`` all that was written is taken back. With ``commit`` an error
    refuses everything, unless ``skip_errors`` leaves the rows that have one out. The same file twice changes nothing.
    Raises UnfitFile, UnfitCoordinates (the file as a whole), Invalid (errors and commit), Conflict (somebody edited
    meanwhile).
    """
    with conn.begin_nested() as savepoint:
        conn.execute(query("layers", "hold_grid"))  # the cells that rows fall into stay those of this run
        if commit:
            conn.execute(query("layers", "hold_census"))
        conn.execute(query("layers", "stage_census"))
        run = _prepare(conn, city, mapping, progress)
        with run.stage("read"):
            rows, sha256 = _read(run, path)
        with run.stage("check"):
            match(run, rows)
            own, inventory = near(run, rows)
            ambiguous, unsure = match_by_place(run, rows, own, inventory)
        with run.stage("compare"):
            surveyed = compare(run, rows, path, ambiguous, unsure, inventory)
            report = _report(run, path, rows, ambiguous, surveyed)
        if not commit:
            savepoint.rollback()
            return report
        if report.errors and not skip_errors:
            first = report.findings.iloc[0]
            rule = RULES[first["rule"]]
            raise Invalid(
                f"{path.name} has {report.errors:,} errors and was not imported; row {first['row']}: {rule.en}",
                f"{path.name} 有 {report.errors:,} 处错误，未导入；首个：第 {first['row']} 行，{rule.zh}",
                mend=f"{rule.mend}; --skip-errors leaves such rows out, --out findings.gpkg lists them",
                mend_zh=f"{rule.mend_zh}；--skip-errors 可略去这些行，--out findings.gpkg 可列出全部",
                file=path,
                row=first["row"],
                field=first["field"],
            )
        with run.stage("promote"):
            _promote(run, report, path, sha256, ambiguous, surveyed, actor, reason)
    return report


# ── preparing ────────────────────────────────────────


def _prepare(conn: Connection, city: City, mapping: CensusMapping, progress: Progress) -> Run:
    edition = edition_in_force(conn)
    table = class_table(conn, edition)
    table = table[table["kind"] == "component"].set_index("code", drop=False)
    units: dict[str, int] = {}
    rows = conn.execute(query("layers", "unit_names")).all()
    names = pd.Series([name for row in rows for name in {row.name_zh, row.name_en}])
    single = set(names[~names.duplicated(keep=False)])
    for row in rows:
        units |= {name: row.id for name in (row.name_zh, row.name_en) if name in single}
    units |= {row.code: row.id for row in rows}
    kinds: list[Any] = list(table.itertuples(index=False))
    known = Known(
        classes=frozenset(table["code"]),
        unit_ids=units,
        unit_values=mapping.units,
        schemas={kind.code: kind.attribute_schema for kind in kinds if kind.attribute_schema},
        srid=city.srid,
        today=datetime.now(ZoneInfo(city.timezone)).date(),
    )
    classes = Classes(
        geometry={kind.code: kind.geometry_type for kind in kinds},
        accuracy_m={kind.code: ACCURACY_M.get(kind.accuracy_class, ACCURACY_M["B"]) for kind in kinds},
        never_on={kind.code: frozenset(kind.never_on) for kind in kinds},
    )
    places = Places(AREAS.read(conn, city.srid), CELLS.read(conn, city.srid), GROUND.read(conn, city.srid), city.srid)
    return Run(conn, city, mapping, edition, table, known, classes, places, Findings(city.srid), progress)


# ── reading ────────────────────────────────────────


def _read(run: Run, path: Path) -> tuple[Rows, str]:
    """Stage all layers of the file; what is kept of each row, and the file's hash."""
    parts: list[tuple[Any, ...]] = []
    n = 0
    run.codes = sorted(run.known.classes)
    numbers = {code: at for at, code in enumerate(run.codes)}
    for number, layer in enumerate(run.mapping.layers):
        with open_vector(path, layer=layer.name, encoding=layer.encoding) as file:
            crs = _system(path, file, layer)
            _want_fields(path, file, layer)
            run.found.layer = layer.name or file.layer or ""
            _stage_layer(run, number, layer, file)
            met = False
            for batch in file.batches(BATCH):
                rows = component_rows(batch.frame, batch.flags, layer, crs, run.known, run.found)
                if not met:
                    met = _meets(run, path, file, crs, rows, batch.frame["geometry"].to_numpy(dtype=object))
                run.places.judge(rows, run.classes, run.found)
                error = run.found.end(rows)
                rows["n"], rows["layer"], rows["error"] = np.arange(n, n + len(rows)), number, error
                rows["geom"] = gpd.GeoSeries(rows["geometry"], crs=city_crs(run.city.srid))
                copy_frame(run.conn, rows[list(STAGED)], "staged_census")
                kind = rows["class_code"].map(numbers).fillna(-1).to_numpy(np.int32)
                parts.append(
                    (
                        np.full(len(rows), number, np.int16),
                        rows["row"].to_numpy(np.int64),
                        kind,
                        *(rows[axis].to_numpy(float) for axis in ("x", "y")),
                        rows["source_key"].notna().to_numpy(),
                        rows["code"].notna().to_numpy(),
                        error,
                    )
                )
                n += len(rows)
                share = (number + min(1.0, int(batch.frame.index[-1]) / file.rows)) if file.rows else number + 0.5
                run.progress(f"{n:,} rows | {n:,} 行", 0.6 * share / len(run.mapping.layers))
    if not n:
        raise unfit(path, "holds no rows", "没有任何记录", mend="choose another file", mend_zh="请选择其他文件")
    run.conn.execute(query("layers", "stage_census_rows"))
    run.conn.execute(query("layers", "set_census_cells"))
    return Rows(*(np.concatenate(column) for column in zip(*parts, strict=True))), sha256_of(path)


def _system(path: Path, file: VectorFile, layer: LayerMapping) -> Reference:
    """In which system the numbers are: what the mapping says, else what the file says."""
    if layer.crs is not None:
        return layer.crs
    if file.crs is None:
        raise unfit(
            path,
            "does not say its coordinate system, nor does the mapping",
            "与映射文件均未说明坐标系",
            mend='write crs = 4545 (or "gcj02", "bd09") in the mapping; wanmi census look FILE proposes one',
            mend_zh="请在映射文件中写明 crs = 4545（或 gcj02、bd09）；wanmi census look FILE 会给出建议",
            field="crs",
            **({"layer": layer.name} if layer.name else {}),
        )
    return Reference.of_file(file.crs)


def _want_fields(path: Path, file: VectorFile, layer: LayerMapping) -> None:
    have = {name for name, _ in file.fields}
    lacking = [name for name in layer.fields if name not in have]
    if lacking:
        shown = ", ".join(sorted(have)) or "none"
        raise unfit(
            path,
            f"has no field {lacking[0]}" + (f" in layer {layer.name}" if layer.name else ""),
            f"没有字段 {lacking[0]}" + (f"（图层 {layer.name}）" if layer.name else ""),
            mend=f"correct the mapping; the fields are: {shown}",
            mend_zh=f"请更正映射文件；可用字段：{shown}",
            field=lacking[0],
        )


def _stage_layer(run: Run, number: int, layer: LayerMapping, file: VectorFile) -> None:
    """Tell the database which of a component's fields the layer speaks of."""
    blank = pd.DataFrame({name: pd.Series(dtype=object) for name, _ in file.fields})
    flags = {f"has_{role}": [layer.units[role] != (None, None)] for role in ROLES}
    frame = pd.DataFrame(
        {
            "layer": [number],
            "name": [layer.name or file.layer],
            "source": [layer.source],
            "has_name": [layer.name_zh is not None or layer.name_zh_value is not None],
            "has_changed": [layer.changed_field is not None],
            "has_source": [layer.source_field is not None],
            **flags,
            "attr_names": [_array(list(attribute_fields(blank, layer)))],
        }
    )
    copy_frame(run.conn, frame, "census_layer")


def _array(texts: list[str]) -> str:
    """As PostgreSQL writes an array of texts: a backslash takes the next character as it is."""
    return "{" + ",".join('"' + re.sub(r'(["\\])', r"\\\1", text) + '"' for text in texts) + "}"


def _meets(run: Run, path: Path, file: VectorFile, crs: Reference, rows: pd.DataFrame, given: Any) -> bool:
    """Refuse a layer whose first rows do not lie in the city, with the reading that would bring them there."""
    bounds = shapely.bounds(rows["geometry"].to_numpy(dtype=object))
    bounds = bounds[~np.isnan(bounds).any(axis=1)]
    if not len(bounds):
        return False
    x, y = (bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2
    if shapely.intersects_xy(run.places.box, x, y).mean() >= MET:
        return True
    numbers = shapely.bounds(given)
    there = ~np.isnan(numbers).any(axis=1)
    at_x, at_y = (np.median((numbers[there, axis] + numbers[there, axis + 2]) / 2) for axis in (0, 1))
    readings = diagnose(float(at_x), float(at_y), crs.srid or run.city.srid, run.places.extent)
    fit, fit_zh = (
        (f"; it would fit as: {readings[0].en}", f"；若按“{readings[0].zh}”读取则相符") if readings else ("", "")
    )
    raise UnfitCoordinates(
        f"{path.name} lies around ({at_x:.10g}, {at_y:.10g}), outside of the city{fit}",
        f"{path.name} 位于（{at_x:.10g}，{at_y:.10g}）附近，不在本市范围内{fit_zh}",
        mend="write the right system as crs in the mapping; wanmi census look FILE proposes one",
        mend_zh="请在映射文件的 crs 中写明正确的坐标系；wanmi census look FILE 会给出建议",
        file=path,
        layer=file.layer,
    )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file; of a folder, of its files in the order of their names; of a shapefile, of its parts."""
    digest = hashlib.sha256()
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
    elif path.suffix.lower() == ".shp":
        files = sorted(file for file in path.parent.iterdir() if file.stem == path.stem)
    for file in files:
        with file.open("rb") as content:
            while part := content.read(1 << 20):
                digest.update(part)
    return digest.hexdigest()


# ── reporting ────────────────────────────────────────


def _report(run: Run, path: Path, rows: Rows, ambiguous: list[int], surveyed: Any) -> CensusReport:
    conn, srid = run.conn, run.city.srid
    counted = conn.execute(query("layers", "census_counts"), {"ambiguous": ambiguous}).all()
    gone = {row.class_code: row.rows for row in conn.execute(query("layers", "census_gone_counts"))}
    table: dict[tuple[str, str | None], dict[str, int]] = {}
    for row in counted:
        name = run.mapping.layers[row.layer].name or ""
        table.setdefault((name, row.class_code), {})[row.fate] = row.rows
    for key in table:
        if key[1] in gone:
            table[key]["gone"] = gone.pop(key[1])
    names = run.table[["name_zh", "name_en"]].to_dict("index")
    lines = [
        {
            "layer": layer,
            "class_code": code,
            "class_zh": names.get(code, {}).get("name_zh"),
            "class_en": names.get(code, {}).get("name_en"),
            **{fate: fates.get(fate, 0) for fate in FATES},
        }
        for (layer, code), fates in table.items()
    ]
    parts = [
        read_geoframe(conn, query("layers", "census_differences"), srid, most=MOST_KEPT),
        read_geoframe(conn, query("layers", "census_news"), srid, most=MOST_KEPT, ambiguous=ambiguous),
        read_geoframe(conn, query("layers", "census_gone_rows"), srid, most=MOST_KEPT),
    ]
    differences = pd.concat([part.reindex(columns=list(FOUND)).astype(object) for part in parts], ignore_index=True)
    extent = None if surveyed is None else gpd.GeoDataFrame({"name": ["surveyed"]}, geometry=[surveyed], crs=srid)
    return CensusReport(
        file_name=path.name,
        city=(run.city.name_zh, run.city.name_en),
        srid=srid,
        simulated=run.city.simulated,
        committed=False,
        census_id=None,
        rows=len(rows.x),
        counts=pd.DataFrame(lines),
        rules=RULES,
        tally=dict(run.found.counts),
        findings=run.found.frame(),
        differences=gpd.GeoDataFrame(differences, geometry="geometry", crs=city_crs(srid)),
        surveyed=extent,
        seconds=run.seconds,
    )


# ── promoting ────────────────────────────────────────


def _promote(
    run: Run,
    report: CensusReport,
    path: Path,
    sha256: str,
    ambiguous: list[int],
    surveyed: Any,
    actor: str,
    reason: str | None,
) -> None:
    """Close and open versions at one instant, by one change; nothing at all when nothing differs."""
    conn = run.conn
    report.committed = True
    if not report.changes:
        return
    conn.execute(query("layers", "number_census_rows"), {"ambiguous": ambiguous})
    over = conn.execute(query("layers", "census_serials_over")).scalars().all()
    if over:
        rule = RULES["serials_full"]
        raise Invalid(rule.en, rule.zh, mend=rule.mend, mend_zh=rule.mend_zh, rows=len(over), file=path)
    at = conn.execute(query("layers", "census_instant")).scalar_one()
    words = reason or f"census {path.name}"
    change = record_change(conn, since=at, actor=actor, reason=words, source=f"{path.name} sha256 {sha256}").change_id
    touched = sum(report.total(fate) for fate in ("changed", "moved", "confirmed", "gone"))
    which = {"at": at, "change_id": change}
    ended = conn.execute(query("layers", "end_census_versions"), which).rowcount
    if ended != touched:
        raise Conflict(
            f"{touched - ended} components were edited by others while the file was compared; nothing was imported",
            f"比对期间有 {touched - ended} 个部件被他人编辑，未导入任何内容",
            mend="run it again: it compares with what is there now",
            mend_zh="请重新运行，将与最新部件比对",
        )
    run.progress("ended versions | 已结束旧版本", 0.88)
    conn.execute(query("layers", "begin_census_versions"), which)
    new = {**which, "edition": run.edition, "file_name": path.name, "ambiguous": ambiguous}
    conn.execute(query("layers", "begin_census_components"), new)
    counts = {**{fate: report.total(fate) for fate in FATES}, "findings": report.tally}
    row = {
        "file_name": path.name,
        "sha256": sha256,
        "mapping": json.dumps(run.mapping.table, ensure_ascii=False),
        "surveyed": None if surveyed is None else shapely.to_wkb(surveyed, include_srid=True),
        "class_codes": sorted(set(report.counts["class_code"].dropna())),
        "counts": json.dumps(counts),
        "change_id": change,
        "at": at,
        "actor": actor,
    }
    report.census_id = int(conn.execute(query("layers", "record_census"), row).scalar_one())
    run.progress("promoted | 已入库", 1.0)
