"""The report of a census run as one HTML page: a map of findings and differences, tables by rule and by fate.

Everything is in the page: Leaflet from the installed xstatic-leaflet wheel, the data as JSON, a few lines of script.
Whatever comes from a file is escaped here, or put in place as text by the script: it is shown, never run.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
from xstatic.pkg import leaflet

from api.censusmap import below, box_of, corners, drawn
from api.censuswords import DIFFERENT, SEVERITIES, counted, rules_met, shown, standing, steps, title, totals
from layers.census_report import FATES, CensusReport

LISTED = 200  #: rows of a rule or fate in its table
DRAWN = 500  #: of a rule or fate one by one on the map; more are gathered
MOST_DRAWN = 6_000  #: one by one on the whole map
VALUE = 80  #: letters of a value in a table
MAP_NOTE = "many are gathered in squares; the dashed line is the surveyed extent"
TONES: Mapping[str, str] = {
    **{"error": "#c0262d", "warning": "#d97a00", "note": "#5c6670"},
    **{"new": "#1f8a3b", "changed": "#6b3fa0", "moved": "#0b62b8", "gone": "#7a4a1e", "ambiguous": "#c2188b"},
}


def page(report: CensusReport, *, areas: gpd.GeoDataFrame | None = None, ground: gpd.GeoDataFrame | None = None) -> str:
    """The page as text; ``areas`` and ``ground`` are drawn below the findings."""
    groups = list(_groups(report))
    data = {
        "groups": _drawn_groups(report, groups, areas),
        "listed": LISTED,
        "below": below(report, areas, ground),
        "box": corners(box_of(report, areas), report.srid),
    }
    en, zh = title(report)
    done_en, done_zh = standing(report)
    banners = ['<p class="banner alarm">模拟数据 simulated data</p>'] if report.simulated else []
    banners.append(f'<p class="banner">{_both(done_zh, done_en)}</p>')
    todo = "".join(f"<li>{_both(zh, en)}</li>" for en, zh in steps(report))
    return "".join(
        (
            '<!DOCTYPE html><html lang="zh"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">',
            f"<title>{_text(zh)} · {_text(en)}</title><style>{_leaflet_css()}{STYLE}</style></head><body>",
            f"<header><h1>部件普查检查报告 <small>Report of a component census</small></h1>"
            f"<p>{_both(zh, en)}</p>{''.join(banners)}</header><main>",
            f"<section><h2>下一步 What to do next</h2><ul>{todo}</ul></section>" if todo else "",
            f"<section><h2>数量 Counts</h2>{_counts(report)}</section>",
            '<section><h2>地图 Map</h2><div id="map"></div><div id="legend"></div>'
            f"<p class='pale'>{_both('数量多时按方格汇总；虚线为调查范围', MAP_NOTE)}</p></section>",
            f"<section id='findings'><h2>检查结果 Findings</h2>{_tables(groups, 'rule')}</section>",
            f"<section id='differences'><h2>与现有部件的差异 Differences from the inventory</h2>"
            f"{_tables(groups, 'fate')}</section></main>",
            f'<script type="application/json" id="data">{_json(data)}</script>',
            f"<script>{_leaflet('leaflet.js')}</script><script>{SCRIPT}</script></body></html>",
        )
    )


# ── what is told ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Group:
    """What one rule found, or the differences of one fate."""

    of: str  #: rule or fate
    tone: str
    tag: str
    names: tuple[str, str]  #: Chinese, English
    mend: tuple[str, ...]
    many: int
    rows: gpd.GeoDataFrame  #: those that were kept
    columns: tuple[tuple[str, str, str], ...]  #: Chinese, English, name in ``rows``

    def cells(self, rows: pd.DataFrame) -> list[list[str]]:
        """The texts of the rows' cells."""
        return [[_cell(row, name) for _, _, name in self.columns] for row in rows.to_dict("records")]


_COLUMNS = (("图层", "layer", "layer"), ("行", "row", "row"), ("编码", "code", "code"), ("类别", "class", "class_code"))
_FOUND = (*_COLUMNS, ("字段", "field", "field"), ("值", "value", "value"), ("说明", "detail", "detail"))
_DIFFERS = (
    *_COLUMNS,
    *(("字段", "fields", "fields"), ("原值", "before", "before"), ("新值", "after", "after")),
    ("移动（米）", "moved, m", "moved_m"),
)


def _cell(row: Mapping[Any, Any], name: str) -> str:
    if name == "detail":
        return _line(shown(row[f"detail_{language}"]) for language in ("zh", "en"))
    if name in ("row", "moved_m"):
        return "" if pd.isna(row[name]) else f"{int(row[name])}" if name == "row" else f"{float(row[name]):.2f}"
    return shown(row[name], VALUE)


def _groups(report: CensusReport) -> Iterator[Group]:
    """Each rule that found something, the gravest first; then each fate that is a difference."""
    kept = dict(iter(report.findings.groupby("rule", sort=False))) if len(report.findings) else {}
    for name in rules_met(report):
        rule = report.rules[name]
        yield Group(
            of="rule",
            tone=TONES[rule.severity],
            tag=_line(reversed(SEVERITIES[rule.severity])),
            names=(rule.zh, rule.en),
            mend=(rule.mend_zh, rule.mend),
            many=report.tally[name],
            rows=kept.get(name, report.findings.head(0)),
            columns=_FOUND,
        )
    for fate in DIFFERENT:
        rows = report.differences[report.differences["fate"] == fate]
        if many := max(report.total(fate), len(rows)):
            en, zh = FATES[fate]
            tone = TONES[fate]
            yield Group(of="fate", tone=tone, tag="", names=(zh, en), mend=(), many=many, rows=rows, columns=_DIFFERS)


def _drawn_groups(report: CensusReport, groups: list[Group], areas: gpd.GeoDataFrame | None) -> list[dict[str, Any]]:
    """The groups as the map's script takes them.

    The words of a row are read from its table; only those of rows that the table does not list are in ``rows``.
    """
    box, most = box_of(report, areas), min(DRAWN, MOST_DRAWN // max(len(groups), 1))
    made = []
    for group in groups:
        places = drawn(group.rows.geometry.to_numpy(), report.srid, box, most=most, listed=LISTED)
        made.append(
            {
                **{"of": group.of, "tone": group.tone, "many": group.many},
                **{"name": _line(group.names), "mend": _line(group.mend)},
                "head": [_line((zh, en)) for zh, en, _ in group.columns],
                "rows": group.cells(group.rows.iloc[LISTED : len(places["at"])]),
                **places,
            }
        )
    return made


def _line(words: Iterable[str]) -> str:
    """Both languages in one text."""
    return " ".join(dict.fromkeys(word for word in words if word))


def _counts(report: CensusReport) -> str:
    """Classes by fates, only the fates that occur."""
    fates = list(totals(report))
    head = "".join(f"<th>{_both(*FATES[fate][::-1])}</th>" for fate in fates)
    rows = "".join(
        f"<tr><td>{_text(shown(row['class_code']) or '?')}</td>"
        f"<td>{_both(shown(row['class_zh']), shown(row['class_en']))}</td><td>{_text(shown(row['layer']))}</td>"
        + "".join(f"<td class='n'>{f'{row[fate]:,}' if row[fate] else '·'}</td>" for fate in fates)
        + "</tr>"
        for row in counted(report).to_dict("records")
    )
    foot = "".join(f"<td class='n'>{report.total(fate):,}</td>" for fate in fates)
    names = "".join(f"<th>{name}</th>" for name in ("类别 class", "名称 name", "图层 layer"))
    return (
        f"<div class='wide'><table><thead><tr>{names}{head}</tr></thead>"
        f"<tbody>{rows}</tbody><tfoot><tr><td colspan='3'>合计 all</td>{foot}</tr></tfoot></table></div>"
    )


def _tables(groups: list[Group], of: str) -> str:
    """A foldable table for each group: the first rows; a click on one leads to the map."""
    made = []
    for number, group in enumerate(groups):
        if group.of != of:
            continue
        head = "".join(f"<th>{_both(zh, en)}</th>" for zh, en, _ in group.columns)
        listed = group.cells(group.rows.head(LISTED))
        rows = "".join(
            f'<tr data-at="{at}">{"".join(f"<td>{_text(cell)}</td>" for cell in cells)}</tr>'
            for at, cells in enumerate(listed)
        )
        more = group.many - len(listed)
        rest = f"<p>另有 {more:,} 处见 GeoPackage … and {more:,} more in the GeoPackage</p>" if more else ""
        tag = f"<span class='tag' style='background:{group.tone}'>{group.tag or '&nbsp;'}</span>"
        mend = f"<p class='mend'>→ {_both(*group.mend)}</p>" if group.mend else ""
        made.append(
            f"<details data-group='{number}'{' open' if number == 0 else ''}><summary>{tag} <b>{group.many:,}</b> "
            f"{_both(*group.names)}</summary>{mend}<div class='wide'><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table></div>{rest}</details>"
        )
    return "".join(made) or "<p>无 none</p>"


def _text(text: str) -> str:
    return html.escape(text)


def _both(zh: str, en: str) -> str:
    """Both languages, one after the other; once if they say the same."""
    said = {words: language for words, language in ((en, "en"), (zh, "zh")) if words}
    return " ".join(f"<span lang='{language}'>{_text(words)}</span>" for words, language in reversed(said.items()))


# ── the page ────────────────────────────────────────


def _json(data: Any) -> str:
    """JSON that can stand in a script element: nothing in it ends the element or begins another."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _leaflet(name: str) -> str:
    text = (Path(leaflet.BASE_DIR) / name).read_text(encoding="utf-8")
    return re.sub(r"//# sourceMappingURL=\S+", "", text)


def _leaflet_css() -> str:
    """Leaflet's style sheet without its pictures, which the page does not use."""
    return re.sub(r"url\([^)]*\)", "none", _leaflet("leaflet.css"))


STYLE = """
body { font: 14px/1.45 system-ui, "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", sans-serif; color: #24292e;
  margin: 0 auto; max-width: 1280px; padding: 0 16px 40px; }
h1 { font-size: 20px; margin: 14px 0 4px; } h2 { font-size: 16px; margin: 22px 0 6px; } h1 small { color: #5c6670; }
[lang=en] { color: #5c6670; } p { margin: 4px 0; } .pale { color: #5c6670; font-size: 12px; }
.banner { display: inline-block; border: 1px solid #5c6670; border-radius: 4px; padding: 2px 9px; margin-right: 8px;
  font-weight: 600; }
.alarm { color: #9b1c1c; border-color: #9b1c1c; background: #fff4f2; }
#map { height: 62vh; min-height: 320px; border: 1px solid #cfc6b8; background: #f7f4ee; }
#legend { display: flex; flex-wrap: wrap; gap: 2px 16px; margin-top: 6px; font-size: 13px; }
#legend i { display: inline-block; width: 11px; height: 11px; border-radius: 50%; margin: 0 4px 0 2px; }
table { border-collapse: collapse; font-size: 13px; } th, td { padding: 2px 9px; text-align: left; vertical-align: top;
  border-bottom: 1px solid #e6e2db; overflow-wrap: anywhere; min-width: 28px; }
th { background: #f4f1ea; font-weight: 600; } .n { text-align: right; white-space: nowrap; }
tfoot td { font-weight: 700; } .wide { overflow-x: auto; }
details { border-top: 1px solid #d9d3c8; padding: 5px 0; } summary { cursor: pointer; }
.tag { color: #fff; border-radius: 3px; padding: 0 6px; font-size: 12px; }
.mend { color: #1b5e20; margin: 4px 0 6px; } tr[data-at] { cursor: pointer; } tr[data-at]:hover { background: #f2f7fc; }
.leaflet-popup-content { font: 13px/1.4 inherit; max-height: 230px; overflow: auto; overflow-wrap: anywhere; }
.leaflet-popup-content b { display: block; margin-bottom: 3px; }
"""

SCRIPT = """
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const map = L.map("map", {preferCanvas: true, attributionControl: false, maxZoom: 21, zoomSnap: 0.25});
L.control.scale({imperial: false}).addTo(map);
for (const [style, shape] of data.below) L.geoJSON(shape, {style: {...style, interactive: false}}).addTo(map);
const element = (kind, text) => { const made = document.createElement(kind); made.textContent = text; return made; };
function words(number, at) {
  const group = data.groups[number];
  const line = document.querySelector(`details[data-group="${number}"] tr[data-at="${at}"]`);
  const row = line ? [...line.cells].map(cell => cell.textContent) : group.rows[at - data.listed];
  const box = document.createElement("div");
  box.append(element("b", group.name));
  group.head.forEach((name, at) => { if (row[at]) box.append(element("div", name + ": " + row[at])); });
  if (group.mend) box.append(element("div", "→ " + group.mend));
  return box;
}
const layers = data.groups.map((group, number) => {
  const layer = L.layerGroup();
  const style = {color: group.tone, weight: 2, fillOpacity: 0.55};
  const area = new Map(group.shapes);
  for (const [lat, lon, many] of group.gathered) {
    const text = many.toLocaleString("en");
    L.circleMarker([lat, lon], {...style, weight: 1, radius: 4 + 4 * Math.log10(many)})
      .bindPopup(() => element("div", group.name + ": " + text)).addTo(layer);
  }
  if (!group.gathered.length) group.at.forEach((spot, at) => {
    if (!spot) return;
    const mark = area.has(at) ? L.geoJSON(area.get(at), {style}) : L.circleMarker(spot, {...style, radius: 5});
    mark.bindPopup(() => words(number, at)).addTo(layer);
  });
  return layer;
});
const legend = document.getElementById("legend");
data.groups.forEach((group, number) => {
  if (!layers[number].getLayers().length) return;
  const label = document.createElement("label"), dot = document.createElement("i");
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = group.of === "rule" || group.many < 2000;
  dot.style.background = group.tone;
  const turn = () => box.checked ? layers[number].addTo(map) : layers[number].remove();
  box.addEventListener("change", turn);
  label.append(box, dot, group.name + " (" + group.many.toLocaleString("en") + ")");
  legend.append(label);
  turn();
});
if (data.box) map.fitBounds(data.box); else map.setView([0, 0], 1);
document.addEventListener("click", event => {
  const line = event.target.closest("tr[data-at]");
  if (!line) return;
  const number = line.closest("details").dataset.group, spot = data.groups[number].at[line.dataset.at];
  if (!spot) return;
  map.setView(spot, Math.max(map.getZoom(), 18));
  L.popup().setLatLng(spot).setContent(words(number, line.dataset.at)).openOn(map);
  document.getElementById("map").scrollIntoView({block: "center"});
});
document.body.dataset.ready = "true";
"""
