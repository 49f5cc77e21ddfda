// The calm ground of the map, from our own tiles: green, water, buildings, streets with casings and names, rail, and the
// borders of areas, each level in its own line. Above it lies what the page is about (style.js).

const LAND = "#f6f3ec",
  WATER = "#bcd5e4",
  GREEN = "#dbe8cf",
  BUILDING = "#e8e1d5",
  BUILDING_EDGE = "#d8cfc0";
const CASING = "#d3c9b9",
  STREET = "#ffffff",
  ARTERIAL = "#fdf3d8",
  RAIL = "#9b9b9b";
export const INK = "#2b3138",
  MARK = "#0b1f33"; // of words and boxes; of what is selected
const BORDER = "#5b2a63",
  COMMUNITY = "#8a6f91",
  PALE_INK = "#6a7078",
  WATER_INK = "#3f6f8f";
export const FONT = ["DejaVu Sans"];
const HALO = { "text-halo-color": "#ffffffe6", "text-halo-width": 1.5 };

// Widths in pixels by zoom; a street is drawn twice, its casing first.
export const widths = (...stops) => ["interpolate", ["exponential", 1.5], ["zoom"], ...stops];
const WIDTHS = {
  lane: { inner: widths(14, 0.8, 16, 3.5, 18, 12), casing: widths(14, 1.6, 16, 5, 18, 14) },
  street: { inner: widths(12, 0.7, 14, 3, 16, 8, 18, 22), casing: widths(12, 1.5, 14, 4.4, 16, 10, 18, 25) },
  arterial: {
    inner: widths(10, 0.8, 12, 2, 14, 5.2, 16, 13, 18, 34),
    casing: widths(10, 1.6, 12, 3.2, 14, 7, 16, 15.5, 18, 37),
  },
};

// Names by language: Chinese if asked for and readable, else English, never an empty box.
export function labelText(language, chineseReadable) {
  const zh = ["get", "name_zh"],
    en = ["get", "name_en"];
  if (language === "zh") return ["coalesce", zh, en, ""];
  return chineseReadable ? ["coalesce", en, zh, ""] : ["coalesce", en, ""];
}

export const LABEL_LAYERS = [
  "water-name",
  "green-name",
  "lane-name",
  "street-name",
  "arterial-name",
  "community-name",
  "subdistrict-name",
  "district-name",
];

const kind = (name, ...more) => ["all", ["==", ["get", "kind"], name], ...more];
const grade = (name) => kind("street", ["==", ["get", "grade"], name]);
const polygon = ["==", ["geometry-type"], "Polygon"];
const level = (name) => ["==", ["get", "level"], name];

const ground = (id, type, filter, paint, more = {}) => ({
  id,
  type,
  source: "ground",
  "source-layer": "ground",
  filter,
  paint,
  ...more,
});

function streets() {
  const lines = (name, part, colour, minzoom) =>
    ground(
      `${name}-${part}`,
      "line",
      grade(name),
      { "line-color": colour, "line-width": WIDTHS[name][part] },
      { minzoom, layout: { "line-cap": "round", "line-join": "round" } },
    );
  return [
    lines("lane", "casing", CASING, 14),
    lines("street", "casing", CASING, 12),
    lines("arterial", "casing", "#cdb98c", 8),
    lines("lane", "inner", STREET, 14),
    lines("street", "inner", STREET, 12),
    lines("arterial", "inner", ARTERIAL, 8),
  ];
}

export function groundLayers() {
  return [
    { id: "land", type: "background", paint: { "background-color": LAND } },
    ground("green", "fill", kind("green", polygon), { "fill-color": GREEN }),
    ground("water", "fill", kind("water", polygon), { "fill-color": WATER }),
    ground("water-line", "line", kind("water", ["!", polygon]), {
      "line-color": WATER,
      "line-width": widths(11, 1, 16, 6),
    }),
    ground(
      "building",
      "fill",
      kind("building"),
      {
        "fill-color": BUILDING,
        "fill-outline-color": BUILDING_EDGE,
        "fill-opacity": ["interpolate", ["linear"], ["zoom"], 14, 0.3, 15, 1],
      },
      { minzoom: 14 },
    ),
    ground("wall", "line", kind("wall"), { "line-color": "#b9ae9d", "line-width": 1 }, { minzoom: 14 }),
    ...streets(),
    ground("rail", "line", kind("rail"), { "line-color": RAIL, "line-width": widths(10, 1, 14, 2.4, 17, 5) }),
    ground(
      "rail-ties",
      "line",
      kind("rail"),
      {
        "line-color": "#ffffff",
        "line-width": widths(10, 0.4, 14, 1.4, 17, 3.4),
        "line-dasharray": [4, 4],
      },
      { minzoom: 12 },
    ),
  ];
}

// Neighbours draw a shared border twice, so dashes would fill each other's gaps: the levels differ in width, colour
// and casing instead.
export function borderLayers() {
  const line = (id, name, paint, minzoom) => ({
    id,
    type: "line",
    source: "areas",
    "source-layer": "areas",
    minzoom,
    filter: level(name),
    paint,
    layout: { "line-join": "round" },
  });
  return [
    line(
      "community-border",
      "community",
      { "line-color": COMMUNITY, "line-width": widths(12, 0.5, 16, 1.3), "line-opacity": 0.75 },
      12,
    ),
    line(
      "subdistrict-casing",
      "street",
      { "line-color": "#ffffff", "line-width": widths(10, 2, 16, 5), "line-opacity": 0.8 },
      10,
    ),
    line("subdistrict-border", "street", { "line-color": BORDER, "line-width": widths(10, 0.9, 16, 2.4) }, 10),
    line(
      "district-band",
      "district",
      { "line-color": BORDER, "line-width": widths(8, 4, 16, 14), "line-opacity": 0.16 },
      0,
    ),
    line("district-border", "district", { "line-color": BORDER, "line-width": widths(8, 1.2, 16, 3.2) }, 0),
    line("area-selected", "none", { "line-color": MARK, "line-width": 4 }, 0),
  ];
}

export function nameLayers(text) {
  const along = (name, size, minzoom, colour) =>
    ground(
      `${name}-name`,
      "symbol",
      grade(name),
      { ...HALO, "text-color": colour },
      {
        minzoom,
        layout: {
          "symbol-placement": "line",
          "text-field": text,
          "text-font": FONT,
          "text-size": size,
          "text-letter-spacing": 0.04,
          "symbol-spacing": 380,
          "text-max-angle": 35,
          "text-padding": 6,
        },
      },
    );
  const inside = (name, colour, minzoom) =>
    ground(
      `${name}-name`,
      "symbol",
      kind(name),
      { ...HALO, "text-color": colour },
      {
        minzoom,
        layout: {
          "text-field": text,
          "text-font": FONT,
          "text-size": 11.5,
          "text-letter-spacing": 0.06,
          "text-max-width": 7,
          "text-padding": 20,
        },
      },
    );
  const area = (id, name, layout, paint, zooms) => ({
    id,
    type: "symbol",
    source: "area_names",
    "source-layer": "area_names",
    ...zooms,
    filter: level(name),
    layout: { "text-field": text, "text-font": FONT, "text-max-width": 8, ...layout },
    paint: { ...HALO, ...paint },
  });
  return [
    inside("green", "#4d6b3f", 15),
    inside("water", WATER_INK, 12),
    along("lane", 10.5, 16, PALE_INK),
    along("street", 11, 14.3, PALE_INK),
    along("arterial", ["interpolate", ["linear"], ["zoom"], 12, 10.5, 16, 13], 12.6, INK),
    area(
      "community-name",
      "community",
      { "text-size": ["interpolate", ["linear"], ["zoom"], 13.5, 10.5, 16, 12.5], "text-padding": 10 },
      { "text-color": "#735a7a" },
      { minzoom: 13.6, maxzoom: 18 },
    ),
    area(
      "subdistrict-name",
      "street",
      { "text-size": 13.5, "text-letter-spacing": 0.05 },
      { "text-color": BORDER, "text-halo-width": 2 },
      { minzoom: 11, maxzoom: 16 },
    ),
    area(
      "district-name",
      "district",
      { "text-size": 16, "text-letter-spacing": 0.12 },
      { "text-color": BORDER, "text-halo-width": 2 },
      { maxzoom: 11.8 },
    ),
  ];
}
