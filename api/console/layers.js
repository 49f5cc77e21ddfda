// The list of layers with the legend of each that is on, and the button that folds layers and filters away.

import { Latest, query } from "./api.js";
import { componentMajors, stageGroups } from "./catalogue.js";
import { day, nameOf, number, readable, say } from "./language.js";
import { theMap } from "./map.js";
import { at, button, icon, make, problemCard } from "./markup.js";
import { BANDWIDTHS, heatFilters, change, listen, state } from "./state.js";

const CELLS_FROM_ZOOM = 13,
  NOTHING_GATHERED_FROM_ZOOM = 15;
const heatAsked = new Latest();
let heatSaid = null; // the answer of /maps/heat for the legend, or the problem

export function startLayers(showList) {
  const section = make(
    "section",
    { id: "layers", "aria-labelledby": "layers-title" },
    make("h2", { id: "layers-title", word: "layers" }),
    ...layerNames().map((name) => row(name, showList)),
    make(
      "p",
      { id: "borders", class: "note" },
      ["district", "street", "community"].map((level) =>
        make(
          "span",
          {},
          make("span", { class: `border ${level}`, "aria-hidden": "true" }),
          make("span", { word: level }),
        ),
      ),
    ),
  );
  at("side-close").after(section);
  if (state.layers.includes("heat")) askHeat();
  listen((changed) => {
    if (changed.has("layers")) {
      for (const name of layerNames()) drawRow(name);
    }
    if (changed.has("filters")) sayStages();
    const heatOn = state.layers.includes("heat");
    if (heatOn && ["layers", "filters", "bandwidth", "city"].some((name) => changed.has(name))) askHeat();
  });
  document.addEventListener("language", drawHeat);
  theMap()?.on("zoomend", sayZoom);
  sayZoom();
  sayStages();
}

const layerNames = () => ["cases", "components", "cells", "heat", ...(state.city.outside_map ? ["outside"] : [])];

function row(name, showList) {
  const on = state.layers.includes(name);
  const input = make("input", {
    type: "checkbox",
    role: "switch",
    id: `layer-${name}`,
    checked: on,
    on: {
      change: () =>
        change({ layers: input.checked ? [...state.layers, name] : state.layers.filter((one) => one !== name) }),
    },
  });
  return make(
    "div",
    { class: "layer", data: { layer: name } },
    make(
      "label",
      { for: `layer-${name}` },
      input,
      make("span", { class: "track", "aria-hidden": "true" }),
      make("span", { word: `layer_${name}` }),
    ),
    make("div", { class: "legend", id: `legend-${name}`, hidden: !on }, legends[name]?.(showList)),
  );
}

function drawRow(name) {
  const on = state.layers.includes(name);
  at(`layer-${name}`).checked = on;
  at(`legend-${name}`).hidden = !on;
}

const sign = (shape, colour, hollow) => {
  const mark = make("span", { class: `sign ${shape}${hollow ? " hollow" : ""}`, "aria-hidden": "true" });
  mark.style.setProperty("--colour", colour);
  return mark;
};

const legends = {
  cases: (showList) => [
    make(
      "ul",
      {},
      stageGroups().map((group) =>
        make(
          "li",
          { data: { ends: group.hollow ? "ended" : "open" } },
          sign("round", group.colour, group.hollow),
          make("span", { word: group.word }),
        ),
      ),
    ),
    make("p", { class: "note gathered", word: "gathered_cases" }),
    button(
      { id: "list-cases", class: "plain", on: { click: showList } },
      icon("list"),
      make("span", { word: "list_in_view" }),
    ),
  ],
  components: () => [
    make(
      "ul",
      {},
      componentMajors().map((major) =>
        make("li", {}, sign("square", major.colour), make("span", { names: { zh: major.name_zh, en: major.name_en } })),
      ),
    ),
    make("p", { class: "note", word: "hollow_component" }),
    make("p", { class: "note gathered", word: "gathered_components" }),
  ],
  cells: () => [
    make("ul", { id: "cell-sign" }, make("li", {}, sign("outline", "#1d5b79"), make("span", { word: "cell_sign" }))),
    make("p", { class: "note", id: "zoom-for-cells", word: "zoom_for_cells" }),
  ],
  heat: () => [
    make("div", { id: "heat-legend" }),
    make(
      "label",
      { class: "field" },
      make("span", { word: "bandwidth" }),
      make(
        "select",
        { id: "bandwidth", on: { change: (event) => change({ bandwidth: Number(event.target.value) }) } },
        BANDWIDTHS.map((metres) =>
          make("option", { value: metres, selected: metres === state.bandwidth }, `${metres} m`),
        ),
      ),
    ),
  ],
};

// The legend explains what can be seen at this zoom and nothing else.
function sayZoom() {
  const zoom = theMap()?.getZoom() ?? 0;
  at("zoom-for-cells").hidden = zoom >= CELLS_FROM_ZOOM;
  at("cell-sign").hidden = zoom < CELLS_FROM_ZOOM;
  for (const note of document.querySelectorAll(".gathered")) note.hidden = zoom >= NOTHING_GATHERED_FROM_ZOOM;
}

// Nor are stages explained that the filter leaves out.
function sayStages() {
  const { stage } = state.filters;
  for (const line of document.querySelectorAll("#legend-cases li"))
    line.hidden = stage !== "all" && line.dataset.ends !== stage;
}

async function askHeat() {
  at("bandwidth").value = String(state.bandwidth);
  try {
    const answer = await heatAsked.ask(
      `/maps/heat${query({ format: "json", bandwidth_m: state.bandwidth, ...heatFilters() })}`,
    );
    if (answer === undefined) return;
    heatSaid = answer;
  } catch (problem) {
    heatSaid = problem;
  }
  drawHeat();
}

function drawHeat() {
  const legend = at("heat-legend");
  if (!legend || !heatSaid) return;
  if (heatSaid instanceof Error) {
    legend.replaceChildren(problemCard(heatSaid, askHeat));
    return;
  }
  const { ramp, top, cases, period } = heatSaid;
  const bar = make("div", { class: "bar", "aria-hidden": "true" });
  bar.style.backgroundImage = `linear-gradient(to right, ${ramp.map(([share, colour]) => `${colour} ${share * 100}%`).join(", ")})`;
  const counted = period
    ? say("heat_counts", { cases: number(cases), from: day(period.first_on), to: day(period.last_on) })
    : say("heat_counts_bare", { cases: number(cases) });
  legend.replaceChildren(
    bar,
    make("div", { class: "ends" }, make("span", {}, "0"), make("span", {}, say("at_least", { number: number(top) }))),
    make("p", {}, nameOf(heatSaid, "unit")),
    make("p", { class: "note" }, readable(counted)),
  );
}
