// What the page shows, in one place: view, layers, filters, selection, language. The address bar holds the same, so
// that a link restores it; changes are told to whoever listens, with the names of what changed.

const LAYERS = ["cells", "components", "cases", "heat", "outside"];
const FIRST_LAYERS = ["cells", "cases"];
export const BANDWIDTHS = [50, 100, 150, 200, 300, 500, 1000];
const FIRST_BANDWIDTH = 150;

export const state = {
  city: null, // the answer of /city
  account: null, // who is logged in
  view: null, // {zoom, lat, lon}; null: the whole city
  layers: FIRST_LAYERS,
  filters: noFilters(),
  bandwidth: FIRST_BANDWIDTH,
  selection: null, // {kind: "place", lon, lat, class, condition, component} | {kind: "case" | "component" | "area", code}
  origin: "link", // what led to the selection: map, search, list, report or link
  others: [], // what else lay under the pointer: [{kind, code, class, stage}]
  language: null,
};

const listeners = [];

// Open cases are what dispatchers work on: they are shown until a person asks for more. stage: open, ended or all.
export function noFilters() {
  return { class: "", source: [], stage: "open", from: "", to: "" };
}

export function filtersInForce() {
  const { class: code, source, stage, from, to } = state.filters;
  return [code, source.length, stage !== "open", from || to].filter(Boolean).length;
}

export function listen(listener) {
  listeners.push(listener);
}

// Change some of the state and tell everyone who listens. quiet: only the address follows (the map has moved itself).
export function change(patch, { quiet = false } = {}) {
  const changed = new Set();
  for (const [name, value] of Object.entries(patch)) {
    if (JSON.stringify(state[name]) !== JSON.stringify(value)) changed.add(name);
    state[name] = value;
  }
  if (!changed.size) return;
  writeAddress();
  if (!quiet) for (const listener of listeners) listener(changed);
}

// What the heat map is narrowed by: how many cases there were does not depend on how far they have come.
export function heatFilters() {
  const { class: code, source, from, to } = state.filters;
  return { class: code, source: source.join(","), from, to };
}

// What lists and tiles of cases are narrowed by.
export function caseFilters() {
  const { stage } = state.filters;
  return { ...heatFilters(), stage: stage === "all" ? "" : stage };
}

// An event's class says nothing about components: they are narrowed by component classes only.
export const componentFilters = () => ({ class: state.filters.class.startsWith("C") ? state.filters.class : "" });

function addressOf() {
  const { view, layers, filters, bandwidth, selection, language } = state;
  const parts = [];
  const put = (name, value) =>
    value && parts.push(`${name}=${encodeURIComponent(value).replace(/%2C/g, ",").replace(/%2F/g, "/")}`);
  if (view) put("view", `${view.zoom.toFixed(2)}/${view.lat.toFixed(5)}/${view.lon.toFixed(5)}`);
  if (layers.join() !== FIRST_LAYERS.join()) put("layers", layers.join() || "none");
  put("class", filters.class);
  put("source", filters.source.join());
  if (filters.stage !== "open") put("stage", filters.stage);
  put("from", filters.from);
  put("to", filters.to);
  if (bandwidth !== FIRST_BANDWIDTH) put("bandwidth", String(bandwidth));
  if (selection?.kind === "place") {
    const { lon, lat, class: code, condition, component } = selection;
    const about = [code, condition, component].map((part) => (part ? `,${part}` : ","));
    put("place", `${lon.toFixed(6)},${lat.toFixed(6)}${about.join("")}`.replace(/,+$/, ""));
  } else if (selection) {
    put(selection.kind, selection.code);
  }
  put("lang", language);
  return `#${parts.join("&")}`;
}

function writeAddress() {
  const address = addressOf();
  if (address !== location.hash) history.replaceState(history.state, "", address);
}

const between = (value, low, high) => Number.isFinite(value) && value >= low && value <= high;
const isDay = (text) => /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(Date.parse(text));

// What an address says; what it does not say is as at the beginning, what makes no sense is passed over.
export function readAddress(hash, language) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const text = (name) => given.get(name) || "";
  const [zoom, lat, lon] = text("view").split("/").map(Number);
  const viewFits = between(zoom, 0, 24) && between(lat, -85, 85) && between(lon, -180, 180);
  const named = LAYERS.filter((name) => text("layers").split(",").includes(name));
  const layers = named.length || text("layers") === "none" ? named : FIRST_LAYERS;
  const filters = noFilters();
  if (/^[CE]\d{2,4}$/.test(text("class"))) filters.class = text("class");
  filters.source = text("source")
    .split(",")
    .filter((code) => /^[a-z_]+$/.test(code));
  if (["ended", "all"].includes(text("stage"))) filters.stage = text("stage");
  for (const end of ["from", "to"]) if (isDay(text(end))) filters[end] = text(end);
  if (filters.from && filters.to && filters.from > filters.to) [filters.from, filters.to] = [filters.to, filters.from];
  const bandwidth = Number(text("bandwidth"));
  return {
    view: viewFits ? { zoom, lat, lon } : null,
    layers,
    filters,
    bandwidth: BANDWIDTHS.includes(bandwidth) ? bandwidth : FIRST_BANDWIDTH,
    selection: selectionOf(text),
    language: ["zh", "en"].includes(text("lang")) ? text("lang") : language,
  };
}

function selectionOf(text) {
  const [lon, lat, code, condition, component] = text("place").split(",");
  if (lat && between(Number(lon), -180, 180) && between(Number(lat), -90, 90)) {
    return {
      kind: "place",
      lon: Number(lon),
      lat: Number(lat),
      class: /^[CE]\d{4}$/.test(code || "") ? code : "",
      condition: /^\d{1,4}$/.test(condition || "") ? condition : "",
      component: /^\d{16,17}$/.test(component || "") ? component : "",
    };
  }
  for (const kind of ["case", "component", "area"]) {
    if (/^\d{4,20}$/.test(text(kind))) return { kind, code: text(kind) };
  }
  return null;
}
