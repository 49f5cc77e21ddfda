// What pointing at the map means, by mouse, finger or keyboard: cases before components before the place itself; many
// gathered at one place are zoomed into. Also the buttons on the map.

import { at, button, icon } from "./markup.js";
import { showBounds, theMap } from "./map.js";
import { change, placeAt, state } from "./state.js";

const MOUSE_REACH = 4,
  FINGER_REACH = 12; // pixels
const MANY = ["cases-many", "components-many"];
const CASES = ["cases-one"],
  COMPONENTS = ["components-one", "components-shape"];

let onlyPlaces = null;

// While a report is being written a click moves its place and chooses nothing.
export function takePlacesOnly(listener) {
  onlyPlaces = listener;
}

export function startPointing() {
  const map = theMap();
  map.on("click", (event) => point(event.lngLat, event.point, event.originalEvent.pointerType === "touch"));
  for (const id of [...MANY, ...CASES, ...COMPONENTS]) {
    map.on("mouseenter", id, () => {
      map.getCanvas().style.cursor = "pointer";
    });
    map.on("mouseleave", id, () => {
      map.getCanvas().style.cursor = "";
    });
  }
  map.getCanvas().style.cursor = "";
  map.getCanvas().addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    askCentre();
  });
  map.getCanvas().addEventListener("focus", () => aim(map.getCanvas().matches(":focus-visible")));
  map.getCanvas().addEventListener("blur", () => aim(false));
  makeButtons();
}

const aim = (shown) => {
  at("crosshair").hidden = !shown;
};

function askCentre() {
  const { lng, lat } = theMap().getCenter();
  choosePlace(lng, lat);
}

function choosePlace(lon, lat) {
  if (onlyPlaces) onlyPlaces(lon, lat);
  else
    change({
      selection: placeAt(round(lon), round(lat), { class: chosenClass() }),
      origin: "map",
      others: [],
    });
}

const round = (degrees) => Math.round(degrees * 1e6) / 1e6;

// The class chosen for the place before, or the class the map is narrowed to, is the one that is asked about next.
function chosenClass() {
  if (state.selection?.kind === "place") return state.selection.class;
  return /^[CE]\d{4}$/.test(state.filters.class) ? state.filters.class : "";
}

function point(lngLat, { x, y }, byFinger) {
  if (onlyPlaces) {
    choosePlace(lngLat.lng, lngLat.lat);
    return;
  }
  const map = theMap();
  const reach = byFinger ? FINGER_REACH : MOUSE_REACH;
  const found = map.queryRenderedFeatures(
    [
      [x - reach, y - reach],
      [x + reach, y + reach],
    ],
    { layers: [...MANY, ...CASES, ...COMPONENTS] },
  );
  const distance = ({ geometry }) => {
    if (geometry.type !== "Point") return reach; // a railing or a bed of flowers: within reach, no nearer
    const spot = map.project(geometry.coordinates);
    return Math.hypot(spot.x - x, spot.y - y);
  };
  const nearest = (ids) =>
    found.filter((feature) => ids.includes(feature.layer.id)).sort((a, b) => distance(a) - distance(b));
  const cases = nearest(CASES),
    components = nearest(COMPONENTS),
    many = nearest(MANY);
  if (cases.length || components.length) {
    const things = [
      ...cases.map((feature) => ({
        kind: "case",
        code: String(feature.properties.no),
        class: feature.properties.class_code,
        stage: feature.properties.stage,
      })),
      ...components.map((feature) => ({
        kind: "component",
        code: String(feature.properties.code),
        class: feature.properties.class_code,
      })),
    ];
    // a feature cut by tiles comes once for each of them
    const distinct = [...new Map(things.map((thing) => [`${thing.kind}${thing.code}`, thing])).values()];
    const { kind, code } = distinct[0];
    change({ selection: { kind, code }, origin: "map", others: distinct });
  } else if (many.length) {
    const center = many[0].geometry.coordinates;
    map.easeTo({ center, zoom: Math.min(map.getZoom() + 2, 18), duration: 500 });
  } else {
    choosePlace(lngLat.lng, lngLat.lat);
  }
}

function makeButtons() {
  const map = theMap();
  const tool = (id, drawing, word, click) =>
    button({ id, class: "tool", label: word, tip: word, on: { click } }, icon(drawing));
  const centre = tool("ask-centre", "centre", "ask_centre", () => askCentre());
  for (const event of ["focus", "mouseenter"]) centre.addEventListener(event, () => aim(true));
  for (const event of ["blur", "mouseleave"]) centre.addEventListener(event, () => aim(false));
  at("tools").append(
    tool("zoom-in", "plus", "zoom_in", () => map.zoomIn()),
    tool("zoom-out", "minus", "zoom_out", () => map.zoomOut()),
    tool("whole-city", "city", "whole_city", () => showBounds(state.city.bounds)),
    centre,
  );
}
