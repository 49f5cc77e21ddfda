// What the page shows, in one place: view, layers, filters, selection, language. The address bar holds the same, so
// that a link restores it and Back leads to what was selected before; changes are told to whoever listens, with the
// names of what changed.

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
  selection: null, // what placeAt() makes | {kind: "case" | "component" | "area", code}
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

// A place as something selected: the class of a problem there, its filing condition and the component it is about, as
// far as they are known.
export function placeAt(lon, lat, { class: code = "", condition = "", component = "" } = {}) {
  return { kind: "place", lon, lat, class: code, condition: String(condition), component };
}

export function listen(listener) {
  listeners.push(listener);
}

// Change some of the state and tell everyone who listens. quiet: only the address follows (the map has moved itself).
// What a person selects is a step to come Back from; what an address selects, and all else, is not.
export function change(patch, { quiet = false } = {}) {
  const changed = new Set();
  for (const [name, value] of Object.entries(patch)) {
    if (JSON.stringify(state[name]) !== JSON.stringify(value)) changed.add(name);
    state[name] = value;
  }
  if (!changed.size) return;
  writeAddress(changed.has("selection") && patch.origin !== "link");
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
    put("place", [degrees(lon), degrees(lat), code, condition, component].join().replace(/,+$/, ""));
  } else if (selection) {
    put(selection.kind, selection.code);
  }
  put("lang", language);
  return `#${parts.join("&")}`;
}

// Seven decimals, a centimetre: a case on a border is asked about where it lies.
const degrees = (value) => String(Number(value.toFixed(7)));

// The mark in the browser's history tells the page's own steps from an address that somebody typed.
function writeAddress(step) {
  const address = addressOf();
  if (address === location.hash && history.state?.own) return;
  if (step) history.pushState({ own: true }, "", address);
  else history.replaceState({ own: true }, "", address);
}

const between = (value, low, high) => Number.isFinite(value) && value >= low && value <= high;
const isDay = (text) => /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(Date.parse(text));

const PARTS = ["view", "layers", "class", "source", "stage", "from", "to", "bandwidth", "lang"];
const CODES = { case: /^\d{14}$/, component: /^\d{16,17}$/, area: /^(\d{4}|\d{6}|\d{9}|\d{12})$/ };

// What an address says; what it does not say is as at the beginning, what makes no sense is passed over. unread: the
// names of the parts that were.
export function readAddress(hash, language) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const text = (name) => given.get(name) || "";
  const unread = [...given.keys()].filter((name) => ![...PARTS, "place", ...Object.keys(CODES)].includes(name));
  // whether a part is there and can be taken; one that is there and cannot is noted
  const fits = (name, sound) => {
    if (text(name) && !sound) unread.push(name);
    return Boolean(text(name)) && sound;
  };
  const [zoom, lat, lon] = text("view").split("/").map(Number);
  const viewFits = fits("view", between(zoom, 0, 24) && between(lat, -85, 85) && between(lon, -180, 180));
  const wanted = text("layers").split(",");
  const named = LAYERS.filter((name) => wanted.includes(name));
  const none = text("layers") === "none";
  fits("layers", none || named.length === wanted.length);
  const filters = noFilters();
  if (fits("class", /^[CE]\d{2}(\d{2})?$/.test(text("class")))) filters.class = text("class");
  const sources = text("source").split(",");
  filters.source = sources.filter((code) => /^[a-z_]+$/.test(code));
  fits("source", filters.source.length === sources.length);
  if (fits("stage", ["open", "ended", "all"].includes(text("stage")))) filters.stage = text("stage");
  for (const end of ["from", "to"]) if (fits(end, isDay(text(end)))) filters[end] = text(end);
  if (filters.from && filters.to && filters.from > filters.to) [filters.from, filters.to] = [filters.to, filters.from];
  const bandwidth = Number(text("bandwidth"));
  return {
    view: viewFits ? { zoom, lat, lon } : null,
    layers: named.length || none ? named : FIRST_LAYERS,
    filters,
    bandwidth: fits("bandwidth", BANDWIDTHS.includes(bandwidth)) ? bandwidth : FIRST_BANDWIDTH,
    selection: selectionOf(text, fits),
    language: fits("lang", ["zh", "en"].includes(text("lang"))) ? text("lang") : language,
    unread,
  };
}

function selectionOf(text, fits) {
  const [lon, lat, ...about] = text("place").split(",");
  const isNumber = (part) => Boolean(part?.trim()) && Number.isFinite(Number(part));
  // numbers that are no place here are asked about all the same: the server tells how else they could be meant
  if (fits("place", isNumber(lon) && isNumber(lat))) {
    const [code = "", condition = "", component = ""] = about;
    const known = {
      class: /^[CE]\d{4}$/.test(code) ? code : "",
      condition: /^[CE]\d{4}$/.test(code) && /^[1-9]\d{0,3}$/.test(condition) ? condition : "",
      component: CODES.component.test(component) ? component : "",
    };
    const taken = Object.values(known).join().replace(/,+$/, "");
    fits("place", taken === about.join().replace(/,+$/, ""));
    return placeAt(Number(lon), Number(lat), known);
  }
  for (const [kind, form] of Object.entries(CODES)) {
    if (fits(kind, form.test(text(kind)))) return { kind, code: text(kind) };
  }
  return null;
}
