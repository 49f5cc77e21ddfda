"""The words over the page: head, legend and the licence's words as HTML, their style, and the script that fits them.

Every text is escaped (braces too: folium reads the result as a template).
"""

from __future__ import annotations

import html
import json

import numpy as np
from branca.element import MacroElement
from folium.template import Template

from api.legend import Pair, Said
from api.sheet import ALARM, BORDER, CELL, INK, LAND, PALE_INK
from gis.raster import ramp

NARROW_PX = 700  #: from here down a page is a phone's


def plain(text: str | None) -> str:
    """The text as HTML that shows it and nothing else."""
    return html.escape(text or "").replace("{", "&#123;").replace("}", "&#125;")


def _pair(words: Pair) -> str:
    return "<br>".join(dict.fromkeys(plain(word) for word in words if word))


def panels(said: Said, top: float, hot: list[tuple[str, str, str, int]], source: str) -> str:
    """Title, period and note; legend with the hottest cells; whose the data are."""
    shades = ", ".join("rgba({},{},{},{:.2f})".format(*tone[:3], tone[3] / 255) for tone in ramp(np.linspace(0, 1, 24)))
    note = " ".join(part for part in (said.note_zh, said.note_en) if part)
    rows = "".join(
        f"<li>{plain(zh)}<br>{plain(en)}<br><small>{plain(code)}</small> <b>{cases:,}</b> 件 cases</li>"
        for code, zh, en, cases in hot
    )
    owed = " ".join(dict.fromkeys(plain(text) for text in (said.attribution_zh, said.attribution_en) if text))
    whose = [text for text in (owed, f"数据来源 Sources: {plain(source)}" if source else "") if text]
    title_zh = f"<h1>{plain(said.title_zh)}</h1>" if said.title_zh else ""
    return f"""
<div class="words" id="head">{title_zh}<h2>{plain(said.title_en)}</h2>
<div class="period">{_pair(said.period)}</div>
{f'<div class="note">{plain(note)}</div>' if note else ""}</div>
<div class="words" id="legend"><b>案件密度 Density of cases</b>
<div class="bar" style="background: linear-gradient(to right, {shades}), {LAND}"></div>
<div class="ends"><span>0</span><span>≥ {top:,g}</span></div>
<div class="what">{"<br>".join(_pair(line) for line in said.surface)}</div>
<details id="more" open><summary><span class="cell"></span> 最热单元网格 Hottest cells</summary>
<ol>{rows}</ol></details></div>
<div id="whose">{"<br>".join(whose)}</div>"""


STYLE = f"""<style>
html, body {{ font-family: system-ui, "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", sans-serif; }}
.folium-map.leaflet-container {{ background: {LAND}; font-family: inherit; }}
.leaflet-control-layers {{ font-size: 13px; }}
.words {{ position: fixed; z-index: 1000; background: #fffffff0; color: {INK}; border-radius: 6px;
  box-shadow: 0 1px 5px #0004; padding: 9px 13px; font-size: 12.5px; line-height: 1.4; box-sizing: border-box; }}
.words h1 {{ font-size: 17px; margin: 0; }} .words h2 {{ font-size: 13px; margin: 0 0 3px; font-weight: 500; }}
.words .period, .words .what {{ color: {PALE_INK}; font-size: 12px; }}
.words .note {{ color: {ALARM}; border: 1px solid {ALARM}; border-radius: 4px; background: #fff4f2; padding: 2px 7px;
  margin-top: 5px; font-weight: 600; width: fit-content; }}
.words .bar {{ height: 12px; border: 1px solid #999; margin-top: 3px; }}
.words .ends {{ display: flex; justify-content: space-between; }}
.words summary {{ cursor: pointer; font-weight: 600; margin-top: 6px; }}
.words .cell {{ display: inline-block; width: 11px; height: 11px; border: 2px solid {CELL}; vertical-align: -2px; }}
.words ol {{ margin: 4px 0 0; padding-left: 20px; line-height: 1.3; }} .words li {{ margin-top: 3px; }}
.words small {{ color: {PALE_INK}; }}
#head {{ top: 10px; left: 54px; max-width: 330px; }}
#legend {{ right: 10px; width: 290px; overflow: auto; }}
#whose {{ position: fixed; z-index: 1000; left: 0; right: 0; bottom: 0; background: #ffffffe6; color: {PALE_INK};
  font-size: 10.5px; line-height: 1.35; padding: 2px 8px; max-height: 30vh; overflow: auto; }}
.lead {{ position: absolute; left: 0; top: 0; overflow: visible; pointer-events: none; }}
.badge {{ position: absolute; width: 22px; height: 22px; line-height: 22px; border-radius: 50%; background: {CELL};
  color: white; text-align: center; font-weight: 700; font-size: 12px; box-shadow: 0 0 0 1.5px white; }}
.label {{ position: absolute; transform: translate(-50%, -50%); white-space: nowrap; text-align: center;
  font-weight: 700; font-size: 12px; line-height: 1.2; color: {BORDER}; pointer-events: none;
  text-shadow: 0 0 3px white, 0 0 3px white, 0 0 3px white, 0 0 5px white; }}
.label.district {{ font-size: 14px; }}
@media (max-width: {NARROW_PX}px) {{
  #head {{ left: 8px; right: 8px; top: 8px; max-width: none; }} #legend {{ left: 8px; right: 8px; width: auto; }}
  .words {{ padding: 6px 10px; font-size: 12px; }} #whose {{ font-size: 9.5px; }}
  #legend ol {{ max-height: 38vh; overflow: auto; }} }}
</style>"""


class Fitting(MacroElement):
    """The script that fits the page to its window.

    It shows the city in the room that head and legend leave (again when the window changes, until a person moves
    the map), folds the layers and the list on a narrow screen, and after every move puts the numbers beside
    their cells and hides the names that would lie over another, a number, a cell or a panel, streets first.
    """

    _template = Template("""{% macro script(this, kwargs) %}
(function () {
  const map = {{ this._parent.get_name() }}, control = {{ this.control }}, bounds = {{ this.bounds }};
  const at = (id) => document.getElementById(id);
  let narrow = window.innerWidth <= {{ this.narrow }}, touched = false;
  const box = (element) => element.getBoundingClientRect();
  if (narrow) { control.remove(); control.options.collapsed = true; control.addTo(map); at("more").open = false; }
  function arrange() {
    narrow = window.innerWidth <= {{ this.narrow }};
    const below = at("whose").offsetHeight, top = narrow ? at("head").offsetHeight + 10 : 0;
    document.querySelectorAll(".leaflet-top").forEach((corner) => { corner.style.marginTop = top + "px"; });
    at("legend").style.bottom = below + 6 + "px";
    const lift = below + (narrow ? at("legend").offsetHeight + 8 : 0);
    document.querySelectorAll(".leaflet-bottom").forEach((corner) => { corner.style.marginBottom = lift + "px"; });
    const layers = narrow ? 0 : box(control.getContainer()).bottom;
    at("legend").style.maxHeight = narrow ? "" : window.innerHeight - below - layers - 18 + "px";
    return lift;
  }
  function show() {
    const lift = arrange(), size = map.getSize(), head = at("head").offsetHeight + 20;
    const side = narrow ? 8 : at("legend").offsetWidth + 20;
    const from = map.project(bounds[0], 8), to = map.project(bounds[1], 8);
    const wide = Math.abs(to.x - from.x) / Math.abs(to.y - from.y) > (size.x - side) / (size.y - lift - 20);
    map.fitBounds(bounds, { animate: false, paddingTopLeft: [narrow ? 8 : 10, narrow || wide ? head : 10],
      paddingBottomRight: [side, lift + 10] });
  }
  function number() {
    const middles = {{ this.cells }}.map(([south, west, north, east]) =>
      map.latLngToContainerPoint([(south + north) / 2, (west + east) / 2])), taken = [...middles];
    document.querySelectorAll(".number").forEach((icon, row) => {
      let best = { room: -1 };
      for (let turn = 0; turn < 16; turn++) {
        const dx = 28 * Math.cos(0.6 + turn * Math.PI / 8), dy = 28 * Math.sin(0.6 + turn * Math.PI / 8);
        const x = middles[row].x + dx, y = middles[row].y + dy;
        const room = Math.min(...taken.map((other) => Math.hypot(other.x - x, other.y - y)));
        if (room > best.room + 0.01) { best = { room, dx, dy, x, y }; }
      }
      taken.push(best);
      const badge = icon.querySelector(".badge"), line = icon.querySelector("line");
      badge.style.left = best.dx - 11 + "px"; badge.style.top = best.dy - 11 + "px";
      line.setAttribute("x2", best.dx); line.setAttribute("y2", best.dy);
    });
  }
  function sift() {
    number();
    const zoom = map.getZoom(), pixels = 256 * Math.pow(2, zoom) / 360, taken = [];
    document.querySelectorAll(".badge, .words, .leaflet-control, #whose").forEach((each) => taken.push(box(each)));
    const frame = box(map.getContainer());
    for (const [south, west, north, east] of {{ this.cells }}) {
      const low = map.latLngToContainerPoint([south, west]), high = map.latLngToContainerPoint([north, east]);
      taken.push({ left: frame.left + low.x, right: frame.left + high.x,
        top: frame.top + high.y, bottom: frame.top + low.y });
    }
    for (const kind of ["district", "street"]) {
      document.querySelectorAll(".label." + kind).forEach((label) => {
        const mine = box(label), room = label.dataset.degrees * pixels;
        const hit = mine.width > room || taken.some((other) => mine.left < other.right + 2 &&
          other.left < mine.right + 2 && mine.top < other.bottom + 1 && other.top < mine.bottom + 1);
        label.style.visibility = hit ? "hidden" : "visible";
        if (!hit) { taken.push(mine); }
      });
    }
  }
  show(); sift();
  map.on("moveend zoomend overlayadd overlayremove", sift);
  for (const act of ["pointerdown", "wheel", "keydown"]) {
    map.getContainer().addEventListener(act, () => { touched = true; });
  }
  map.on("resize", () => { if (touched) { arrange(); } else { show(); } sift(); });
  at("more").addEventListener("toggle", () => { arrange(); sift(); });
})();
{% endmacro %}""")

    def __init__(self, control: str, bounds: list[list[float]], cells: list[list[float]]) -> None:
        """``control``: the script's name of the layer control; bounds [[south, west], [north, east]]; cells alike."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.control = control
        self.bounds = json.dumps(bounds)
        self.cells = json.dumps(cells)
        self.narrow = NARROW_PX
