"""The progress of a census as files: one HTML page with a map (opens without a network), a table, a layer, a sheet."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import folium
import geopandas as gpd
import numpy as np
import pandas as pd

from api.censusprogress import communities, legend_steps, percent, period, progress_sheet, shares, tone_of
from api.lettering import Notice
from api.maps import OfflineMap, light_features
from gis.crs import GEODETIC
from gis.written import write_vector
from grids.city import City
from layers.progress import COUNTS, NAMES, Progress

STYLE = """<style>
html, body { height: 100%; margin: 0; color: #24292e;
  font: 13px/1.4 system-ui, "Noto Sans CJK SC", "Microsoft YaHei", sans-serif; }
.folium-map { position: absolute !important; left: 0 !important; top: 0 !important; width: 58% !important;
  height: 100% !important; }
#side { position: absolute; right: 0; top: 0; width: 42%; height: 100%; overflow: auto; box-sizing: border-box;
  padding: 12px 16px; background: #fff; }
h1 { font-size: 18px; margin: 0 0 4px; } h2 { font-size: 15px; margin: 16px 0 4px; } small, .pale { color: #5c6670; }
table { border-collapse: collapse; width: 100%; font-size: 12px; }
th, td { padding: 2px 5px; border-bottom: 1px solid #e6e2db; text-align: right; } th { background: #f4f1ea; }
th:first-child, td:first-child { text-align: left; }
.alarm { display: inline-block; border: 1px solid #9b1c1c; color: #9b1c1c; background: #fff4f2; padding: 1px 8px;
  font-weight: 600; margin: 4px 0; }
i { display: inline-block; width: 14px; height: 11px; border: 1px solid #8a7590; margin: 0 4px 0 10px; }
@media (max-width: 800px) {
  .folium-map { width: 100% !important; height: 50% !important; }
  #side { width: 100%; height: 50%; top: 50%; } }
</style>"""


def write_table(path: Path, progress: Progress, areas: gpd.GeoDataFrame) -> None:
    """A row for each community and class with its counts, as CSV with a mark by which spreadsheets know UTF-8."""
    names = areas.drop_duplicates("code").set_index("code")[["name_zh", "name_en"]]
    table = progress.rows.join(names, on="community")
    order = ["community", "name_zh", "name_en", "class_code", "class_zh", "class_en", *COUNTS]
    part = path.with_name(f".{path.name}.part")
    try:
        table[order].to_csv(part, index=False, encoding="utf-8-sig")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_map(
    path: Path,
    progress: Progress,
    areas: gpd.GeoDataFrame,
    city: City,
    font: Path | None = None,
    *,
    overwrite: bool = False,
) -> Notice | None:
    """The communities with their counts by the file's extension: .html, .pdf, .png, or a layer as write_vector has it.

    Raises UnfitFile for another extension. Returns a notice when Chinese was left out.
    """
    suffix = path.suffix.lower()
    if suffix == ".html":
        progress_page(path, progress, areas=areas, city=city)
        return None
    if suffix in (".pdf", ".png"):
        return progress_sheet(path, progress, areas=areas, city=city, font=font)
    places = communities(progress, areas).assign(simulated=city.simulated)
    write_vector(places, path, layer="census_progress", overwrite=overwrite)
    return None


def progress_page(path: Path, progress: Progress, *, areas: gpd.GeoDataFrame, city: City) -> None:
    """Write the map of the communities and the tables as one HTML file without outside parts, whole or not at all."""
    places = communities(progress, areas)
    drawn = places[places.geometry.notna()]
    west, south, east, north = (float(side) for side in areas.to_crs(GEODETIC).total_bounds)
    page = OfflineMap(tiles=None, prefer_canvas=True, attributionControl=False, max_zoom=19, zoom_snap=0.25)
    tones = {str(row): tone_of(share) for row, share in enumerate(drawn["share"])}
    folium.GeoJson(
        light_features(drawn, [_words(row) for row in drawn.to_dict("records")]),
        style_function=lambda one: {
            **{"color": "#5b2a63", "weight": 0.8, "fillOpacity": 0.85},
            "fillColor": tones[one["id"]],
        },
        tooltip=folium.GeoJsonTooltip(["words"], labels=False, sticky=True),
        smooth_factor=0.5,
    ).add_to(page)
    page.fit_bounds([[south, west], [north, east]])
    root: Any = page.get_root()
    root.title = html.escape(f"{city.name_zh}部件普查进度 · {city.name_en}: progress of the component census")
    root.header.add_child(folium.Element(STYLE))
    root.html.add_child(folium.Element(_side(progress, places, city)))
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(root.render(), encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _words(row: dict[Any, Any]) -> str:
    """What a community's tooltip says."""
    names = dict.fromkeys(str(row[name]) for name in ("name_zh", "name_en") if row[name])
    lines = [f"<b>{html.escape(' · '.join(names))}</b> {html.escape(str(row['code']))}"]
    lines += [f"{NAMES[name][1]} {NAMES[name][0]}: {row[name]:,}" for name in COUNTS]
    return "<br>".join(lines)


def _side(progress: Progress, places: gpd.GeoDataFrame, city: City) -> str:
    zh, en = period(progress)
    alarm = '<p class="alarm">模拟数据 simulated data</p>' if city.simulated else ""
    key = "".join(
        f"<i style='background:{tone}'></i>{html.escape(zh if zh == en else f'{zh} {en}')}"
        for tone, (zh, en) in legend_steps()
    )
    classes = progress.by("class_code", "class_zh", "class_en").sort_values("components", ascending=False)
    classes = classes.rename(columns={"class_code": "code", "class_zh": "name_zh", "class_en": "name_en"})
    stood = places[(places["components"] > 0) | (places["gone"] > 0)].sort_values("share", ascending=True)
    return (
        f"<div id='side'><h1>{html.escape(city.name_zh)}部件普查进度 <small>{html.escape(city.name_en)}: progress of "
        f"the component census</small></h1>{alarm}<p>{zh}<br><small>{en}</small></p><p class='pale'>{key}</p>"
        f"<h2>社区 Communities</h2>{_table(pd.DataFrame(stood), progress)}"
        f"<h2>类别 Classes</h2>{_table(classes, progress)}"
        f"<p class='pale'>EPSG:{city.srid} · {html.escape(city.attribution or '')}</p></div>"
    )


def _table(rows: pd.DataFrame, progress: Progress) -> str:
    head = "".join(f"<th>{NAMES[name][1]}<br>{NAMES[name][0]}</th>" for name in COUNTS)
    body = []
    for row, share in zip(rows.to_dict("records"), shares(rows), strict=True):
        names = " ".join(dict.fromkeys(str(row[name]) for name in ("name_zh", "name_en") if row[name]))
        done = "" if np.isnan(share) else percent(share)
        counts = "".join(f"<td>{row[name]:,}</td>" for name in COUNTS)
        body.append(
            f"<tr><td>{html.escape(names)}<br><small>{html.escape(str(row['code']))}</small></td>{counts}<td>{done}</td></tr>"
        )
    total = progress.by().iloc[0]
    sums = "".join(f"<td><b>{total[name]:,}</b></td>" for name in COUNTS)
    share = shares(progress.by())[0]
    return (
        f"<table><thead><tr><th></th>{head}<th>进度<br>done</th></tr></thead><tbody>{''.join(body)}"
        f"<tr><td><b>合计 all</b></td>{sums}<td>{'' if np.isnan(share) else percent(share)}</td></tr></tbody></table>"
    )
