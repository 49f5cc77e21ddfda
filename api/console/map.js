// The map itself: its sources (our tiles only), which layers are drawn and how tiles are narrowed, its language, what
// is marked on it, and when it has come to rest. What a click means is in pointing.js, colours are in style.js.

import { isUnderway, onUnderway, query } from "./api.js";
import { caseFilters, change, componentFilters, heatFilters, listen, state } from "./state.js";
import { LABEL_LAYERS, labelText } from "./ground.js";
import { componentImages, mapLayers } from "./style.js";
import { chineseReadable, language, say } from "./language.js";
import { at } from "./markup.js";

const CHINESE_FONTS =
  '"Noto Sans CJK SC", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei", "WenQuanYi Micro Hei", sans-serif';
const MAX_TILE_ZOOM = 16; // beyond, tiles of this zoom are drawn larger: they hold every vertex to 15 cm
const NEAR_ZOOM = 16.5;
export const LAYERS_DRAWN = {
  cells: ["cells"],
  components: ["components-many", "components-shape", "components-one"],
  cases: ["cases-one", "cases-many", "cases-n"],
  heat: ["heat"],
  outside: ["outside"],
};

let map = null;
let failedSources = new Set();
let whenTilesFail = () => {};
let marked = {};
let styled = false;

export const theMap = () => map;

export const onTilesFailed = (listener) => {
  whenTilesFail = listener;
};

const calm = matchMedia("(prefers-reduced-motion: reduce)");

// The addresses of a source's tiles with what narrows them, and the version, so that a browser may keep them.
function tilesOf(name) {
  const { versions } = state.city;
  if (name === "heat") {
    return `${location.origin}/maps/heat/{z}/{x}/{y}.png${query({ bandwidth_m: state.bandwidth, ...heatFilters(), v: versions.cases })}`;
  }
  const narrowed = name === "cases" ? caseFilters() : name === "components" ? componentFilters() : {};
  const version = versions[name === "area_names" ? "areas" : name];
  return `${location.origin}/tiles/${name}/{z}/{x}/{y}.mvt${query({ ...narrowed, v: version })}`;
}

function sources() {
  const [west, south, east, north] = state.city.bounds;
  const around = (degrees) => [west - degrees, south - degrees, east + degrees, north + degrees];
  const ours = (name, margin, minzoom = 0) => [
    name,
    { type: "vector", tiles: [tilesOf(name)], minzoom, maxzoom: MAX_TILE_ZOOM, bounds: around(margin) },
  ];
  const made = Object.fromEntries([
    ours("ground", 0.1),
    ours("areas", 0.002),
    ours("area_names", 0.002),
    ours("cells", 0.002, 13),
    ours("components", 0.01),
    ours("cases", 0.002),
  ]);
  made.heat = { type: "raster", tiles: [tilesOf("heat")], tileSize: 256, maxzoom: MAX_TILE_ZOOM, bounds: around(0.02) };
  made.chosen = { type: "geojson", data: { type: "FeatureCollection", features: [] } };
  const outside = state.city.outside_map;
  if (outside) made.outside = { type: "raster", tiles: [outside.tiles], tileSize: 256, maxzoom: 18 };
  return made;
}

function style() {
  const layers = mapLayers(language(), chineseReadable);
  if (state.city.outside_map) {
    layers.splice(1, 0, { id: "outside", type: "raster", source: "outside", layout: { visibility: "none" } });
  }
  for (const [name, drawn] of Object.entries(LAYERS_DRAWN)) {
    for (const layer of layers.filter((one) => drawn.includes(one.id))) {
      layer.layout = { ...layer.layout, visibility: state.layers.includes(name) ? "visible" : "none" };
    }
  }
  for (const layer of layers.filter((one) => /^(chosen|across)-cell/.test(one.id)))
    layer.layout = { ...layer.layout, visibility: "none" };
  return { version: 8, glyphs: `${location.origin}/fonts/{fontstack}/{range}.pbf`, sources: sources(), layers };
}

// Make the map. Returns false where the browser cannot draw one.
export function createMap() {
  const [west, south, east, north] = state.city.bounds;
  const where = state.view
    ? { center: [state.view.lon, state.view.lat], zoom: state.view.zoom }
    : {
        bounds: [
          [west, south],
          [east, north],
        ],
        fitBoundsOptions: { padding: roomTaken(24) },
      };
  try {
    map = new maplibregl.Map({
      container: "map",
      style: style(),
      ...where,
      attributionControl: false,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      renderWorldCopies: false,
      minZoom: 8,
      maxZoom: 20,
      fadeDuration: calm.matches ? 0 : 150,
      localIdeographFontFamily: CHINESE_FONTS,
      locale: { "Map.Title": say("map") },
    });
  } catch {
    return false;
  }
  map.touchZoomRotate.disableRotation();
  map.keyboard.disableRotation();
  map.addControl(new maplibregl.ScaleControl({ maxWidth: 110, unit: "metric" }), "bottom-left");
  map.on("style.load", () => {
    styled = true;
    for (const [name, image, options] of componentImages()) map.addImage(name, image, options);
    sayMap();
    mark(marked);
    showLayers();
  });
  map.on("styleimagemissing", ({ id }) => {
    // a component of a major that the catalogue does not know
    const [, image, options] = componentImages().find(([name]) => name === "component-   ");
    if (!map.hasImage(id)) map.addImage(id, image, options);
  });
  map.on("moveend", () => {
    const { lng, lat } = map.getCenter();
    change({ view: { zoom: map.getZoom(), lat, lon: lng } }, { quiet: true });
  });
  map.on("error", ({ error, sourceId }) => {
    // a failed tile is said once, for all sources together, with a way to try again
    if (!sourceId || error?.name === "AbortError") return;
    failedSources.add(sourceId);
    whenTilesFail(error?.status || 0);
  });
  watchIdle();
  listen(follow);
  sayMap();
  return true;
}

export function loadFailedTiles() {
  for (const name of failedSources) setTiles(name);
  failedSources = new Set();
}

function setTiles(name) {
  map.getSource(name)?.setTiles([name === "outside" ? state.city.outside_map.tiles : tilesOf(name)]);
}

function follow(changed) {
  if (changed.has("layers")) showLayers();
  if (changed.has("filters") || changed.has("city")) for (const name of ["cases", "components", "heat"]) setTiles(name);
  else if (changed.has("account"))
    for (const name of ["cases", "heat"]) setTiles(name); // who sees what differs
  else if (changed.has("bandwidth")) setTiles("heat");
  if (changed.has("view")) moveToView();
}

function showLayers() {
  for (const [name, drawn] of Object.entries(LAYERS_DRAWN)) {
    for (const id of drawn.filter((one) => map.getLayer(one))) {
      map.setLayoutProperty(id, "visibility", state.layers.includes(name) ? "visible" : "none");
    }
  }
}

// After a change of language: names on the map and what a screen reader says of it.
export function sayMap() {
  map.getCanvas().setAttribute("aria-label", say("map"));
  if (!styled) return; // style.load says them
  for (const id of LABEL_LAYERS) map.setLayoutProperty(id, "text-field", labelText(language(), chineseReadable));
}

// How much of the map's sides the panels cover, in pixels, with a margin.
export function roomTaken(margin = 0) {
  const whole = at("map").getBoundingClientRect();
  const taken = { left: margin, right: margin, top: margin, bottom: margin };
  for (const id of ["side", "panel"]) {
    const box = at(id).getBoundingClientRect();
    if (!box.width || !box.height) continue;
    if (box.width > whole.width * 0.8) taken.bottom = Math.max(taken.bottom, whole.bottom - box.top + margin);
    else if (box.left - whole.left < whole.width / 2)
      taken.left = Math.max(taken.left, box.right - whole.left + margin);
    else taken.right = Math.max(taken.right, whole.right - box.left + margin);
  }
  // on a small screen what the panels leave may be too little to fit anything in
  if (taken.top + taken.bottom > whole.height * 0.8) taken.bottom = margin;
  if (taken.left + taken.right > whole.width * 0.8) taken.left = taken.right = margin;
  return taken;
}

function moveToView() {
  if (state.view) map.jumpTo({ center: [state.view.lon, state.view.lat], zoom: state.view.zoom });
  else showBounds(state.city.bounds);
}

export function showBounds([west, south, east, north]) {
  map?.fitBounds(
    [
      [west, south],
      [east, north],
    ],
    { padding: roomTaken(40), maxZoom: 17.5, duration: 600 },
  );
}

const offset = () => {
  const { left, right, top, bottom } = roomTaken();
  return [(left - right) / 2, (top - bottom) / 2];
};

// To a place, near enough to see cells; nearer if it is already.
export function goTo(lon, lat) {
  map?.easeTo({ center: [lon, lat], zoom: Math.max(map.getZoom(), NEAR_ZOOM), offset: offset(), duration: 600 });
}

// Move just so far that the panels do not cover a place.
export function keepInView(lon, lat) {
  if (!map) return;
  const { x, y } = map.project([lon, lat]);
  const { clientWidth: width, clientHeight: height } = map.getContainer();
  const taken = roomTaken(30);
  if (x < taken.left || x > width - taken.right || y < taken.top || y > height - taken.bottom) {
    map.easeTo({ center: [lon, lat], offset: offset(), duration: 400 });
  }
}

// Mark what is selected: {cell, across, area: codes; lon, lat: a ring; dot: the colour of a dot in it; geometry: a shape}.
export function mark(wanted = {}) {
  marked = wanted;
  if (!styled) return; // style.load marks it
  const { cell, across, area, lon, lat, dot, geometry } = wanted;
  for (const [id, code] of [
    ["chosen-cell-fill", cell],
    ["chosen-cell-casing", cell],
    ["chosen-cell", cell],
    ["across-cell", across],
  ]) {
    map.setFilter(id, ["==", ["get", "code"], code || ""]);
    map.setLayoutProperty(id, "visibility", code ? "visible" : "none");
  }
  map.setFilter("area-selected", ["==", ["get", "code"], area || ""]);
  const features = [];
  if (geometry && geometry.type !== "Point") features.push({ type: "Feature", properties: {}, geometry });
  if (lon !== undefined)
    features.push({
      type: "Feature",
      properties: dot ? { dot: true, colour: dot } : {},
      geometry: { type: "Point", coordinates: [lon, lat] },
    });
  map.getSource("chosen").setData({ type: "FeatureCollection", features });
}

// document.body.dataset.idle: "true" while the map rests, nothing is asked and nothing is being drawn.
function watchIdle() {
  const busy = () => {
    document.body.dataset.idle = "false";
  };
  for (const event of ["dataloading", "movestart", "styledata"]) map.on(event, busy);
  map.on("idle", () => {
    if (!isUnderway()) document.body.dataset.idle = "true";
  });
  onUnderway(() => {
    busy();
    if (!isUnderway()) map.triggerRepaint(); // its idle event then tells when all is drawn
  });
}
