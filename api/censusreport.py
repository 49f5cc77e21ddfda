"""The reports of a census run: lines for the terminal, one HTML page with a map, a GeoPackage for QGIS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from rich.cells import cell_len, set_cell_size

from api.censuspage import page
from api.censuswords import SEVERITIES, Line, counted, rules_met, shown, standing, steps, title, totals
from gis.written import write_layers
from layers.census_report import FATES, CensusReport

FIRST = 3  #: findings of each rule on the terminal
WIDEST = 26  #: of a name in the table, in letters of half a width

# ── the terminal ────────────────────────────────────────


def report_lines(report: CensusReport) -> Iterator[Line]:
    """The report in words: counts by class and fate, findings by rule with the first of each, what to do next."""
    file, done = title(report), standing(report)
    yield f"{file[0]}: {done[0]}", f"{file[1]}：{done[1]}"
    if report.simulated:
        yield "  simulated data", "  模拟数据"
    yield from zip(_table(report, 0), _table(report, 1), strict=True)
    met = rules_met(report)
    if met:
        many = sum(report.tally[rule] for rule in met)
        yield f"{many:,} findings, {report.errors:,} of them errors", f"发现 {many:,} 处，其中错误 {report.errors:,} 处"
    groups = dict(iter(report.findings.groupby("rule", sort=False))) if len(report.findings) else {}
    for name in met:
        rule = report.rules[name]
        severity = SEVERITIES[rule.severity]
        yield f"  {severity[0]:<8}{report.tally[name]:>9,}  {rule.en}", _zh_rule(severity[1], report, name)
        for row in groups[name].head(FIRST).itertuples() if name in groups else ():
            yield _finding(row, row.detail_en, "row"), _finding(row, row.detail_zh, "行")
        yield f"{'':21}→ {rule.mend}", f"{'':21}→ {rule.mend_zh}"
    for step in steps(report):
        yield f"next: {step[0]}", f"下一步：{step[1]}"
    if report.seconds:
        yield _seconds(report.seconds, 0), _seconds(report.seconds, 1)


def _table(report: CensusReport, language: int) -> list[str]:
    """Counts by class and layer, the columns of the fates that occur, and a sum; aligned in half widths."""
    fates = list(totals(report))
    head = [("class", "类别")[language], ("name", "名称")[language], ("layer", "图层")[language]]
    rows = [
        [
            shown(row["class_code"]) or "?",
            shown(row["class_zh" if language else "class_en"]),
            shown(row["layer"]),
            *(f"{row[fate]:,}" if row[fate] else "·" for fate in fates),
        ]
        for row in counted(report).to_dict("records")
    ]
    total = [("all", "合计")[language], "", "", *(f"{report.total(fate):,}" for fate in fates)]
    lines = [[*head, *(_COLUMNS.get(fate, FATES[fate])[language] for fate in fates)], *rows, total]
    widths = [min(WIDEST, max(cell_len(line[column]) for line in lines)) for column in range(len(head) + len(fates))]
    return ["  " + "  ".join(_cell(text, widths[n], n >= len(head)) for n, text in enumerate(line)) for line in lines]


#: headings of the table where the fate's own words are too wide
_COLUMNS: Mapping[str, Line] = {
    "same": ("same", "不变"),
    "confirmed": ("confirmed", "核实"),
    "ambiguous": FATES["ambiguous"],
}


def _cell(text: str, width: int, right: bool) -> str:
    """A text in so many half widths; Chinese characters have two."""
    wide = cell_len(text)
    if wide > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - wide) + text if right else text + " " * (width - wide)


def _zh_rule(severity: str, report: CensusReport, name: str) -> str:
    return f"  {_cell(severity, 8, False)}{report.tally[name]:>9,}  {report.rules[name].zh}"


def _finding(row: Any, detail: str | None, word: str) -> str:
    """Layer, row, field, value and detail of one finding on one line."""
    at = "" if row.row is None or row.row != row.row else f"{word} {int(row.row)}"
    value = shown(row.value, 60)
    field = shown(row.field, 40)
    said = f"{field} = {value}" if field and value else field or value
    parts = [shown(row.layer, 40), at, shown(row.code) or shown(row.class_code), said, shown(detail)]
    return f"{'':21}{', '.join(part for part in parts if part)}"


_STAGES: Mapping[str, Line] = {
    **{"read": ("read", "读取"), "check": ("check", "检查"), "compare": ("compare", "比对")},
    "promote": ("promote", "入库"),
}


def _seconds(seconds: Mapping[str, float], language: int) -> str:
    parts = (f"{_STAGES.get(stage, (stage, stage))[language]} {many:.1f} s" for stage, many in seconds.items())
    return f"{('time', '用时')[language]}: {', '.join(parts)}"


# ── HTML ────────────────────────────────────────


def write_html(
    report: CensusReport, path: Path, *, areas: gpd.GeoDataFrame | None = None, ground: gpd.GeoDataFrame | None = None
) -> None:
    """Write one HTML file that opens without a network: counts, a map, tables by rule and by fate.

    areas, ground : as layers of the city, drawn below if given. What stands in the file is shown, never run. The file
    appears complete or not at all.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(page(report, areas=areas, ground=ground), encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


# ── GeoPackage ────────────────────────────────────────


def write_geopackage(report: CensusReport, path: Path) -> None:
    """Write all findings and differences that were kept, and the surveyed extent, as layers for QGIS.

    ``findings_points``, ``…_lines``, ``…_polygons`` and ``differences_…``, those that have rows (findings_points is
    always there and holds what has no place); ``surveyed`` if it was stated. Words in Chinese and English.
    """
    layers = {**_by_dimension("findings", _findings(report)), **_by_dimension("differences", _differences(report))}
    if report.surveyed is not None:
        layers["surveyed"] = report.surveyed
    write_layers(layers, path, overwrite=True)


def _findings(report: CensusReport) -> gpd.GeoDataFrame:
    found = report.findings
    rules = report.rules
    texts = {
        "rule_zh": found["rule"].map({name: rule.zh for name, rule in rules.items()}),
        "rule_en": found["rule"].map({name: rule.en for name, rule in rules.items()}),
        "severity_zh": found["severity"].map({name: zh for name, (_, zh) in SEVERITIES.items()}),
        "mend_zh": found["rule"].map({name: rule.mend_zh for name, rule in rules.items()}),
        "mend_en": found["rule"].map({name: rule.mend for name, rule in rules.items()}),
    }
    order = ["severity", "severity_zh", "rule", "rule_zh", "rule_en", "layer", "row"]
    return _typed(
        found.assign(**texts),
        [*order, "code", "class_code", "field", "value", "detail_zh", "detail_en", "mend_zh", "mend_en"],
    )


def _differences(report: CensusReport) -> gpd.GeoDataFrame:
    differ = report.differences
    texts = {
        "fate_zh": differ["fate"].map({fate: zh for fate, (_, zh) in FATES.items()}),
        "fate_en": differ["fate"].map({fate: en for fate, (en, _) in FATES.items()}),
    }
    order = ["fate", "fate_zh", "fate_en", "layer", "row", "code", "class_code", "fields", "before", "after", "moved_m"]
    return _typed(differ.assign(**texts), order)


def _typed(frame: gpd.GeoDataFrame, columns: list[str]) -> gpd.GeoDataFrame:
    """The columns with types that a GeoPackage has: numbers as numbers, all else text without NUL."""
    made: dict[str, Any] = {}
    for name in columns:
        values = frame[name]
        if name == "row":
            made[name] = pd.to_numeric(values).astype("Int64")
        elif name == "moved_m":
            made[name] = pd.to_numeric(values).astype(float)
        else:
            made[name] = values.astype("string").str.replace("\0", "", regex=False)
    return gpd.GeoDataFrame(made, geometry=frame.geometry.to_numpy(dtype=object), crs=frame.crs)


def _by_dimension(name: str, frame: gpd.GeoDataFrame) -> dict[str, gpd.GeoDataFrame]:
    """A layer for each dimension, as multi-part geometries; rows without a place stand among the points."""
    shapes = frame.geometry.to_numpy()
    dimension = np.maximum(shapely.get_dimensions(shapes), 0)
    layers = {}
    for number, word in enumerate(("points", "lines", "polygons")):
        rows = frame[dimension == number]
        if len(rows) or (number == 0 and name == "findings"):
            layers[f"{name}_{word}"] = rows.set_geometry(
                gpd.GeoSeries(_multi(rows.geometry, number), rows.index, frame.crs)
            )
    return layers


_MULTI = (shapely.multipoints, shapely.multilinestrings, shapely.multipolygons)


def _multi(shapes: gpd.GeoSeries, dimension: int) -> Any:
    """The parts of each geometry that have the dimension, as one geometry; None where there are none."""
    parts, at = shapely.get_parts(shapes.to_numpy(), return_index=True)
    parts, inner = shapely.get_parts(parts, return_index=True)  # what a collection holds may have parts itself
    at = at[inner]
    own = shapely.get_dimensions(parts) == dimension
    made = np.full(len(shapes), None, dtype=object)
    if own.any():
        _MULTI[dimension](parts[own], indices=at[own], out=made)
    return made
