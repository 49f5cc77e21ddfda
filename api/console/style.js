// What lies above the ground (ground.js): heat, cells, components, cases and what is selected, and the order of all
// layers. Colours and widths only; behaviour is in map.js.

import { componentMajors, stageGroups } from "./catalogue.js";
import { FONT, INK, MARK, borderLayers, groundLayers, labelText, nameLayers, widths } from "./ground.js";

const ACROSS = "#b45309",
  GATHERED = "#364a5e",
  OTHER_MAJOR = "#7a6a58",
  CELL = "#1d5b79";

function cellLayers() {
  const source = { source: "cells", "source-layer": "cells" };
  const nothing = ["==", ["get", "code"], ""];
  return [
    {
      id: "cells",
      type: "line",
      ...source,
      minzoom: 13,
      paint: {
        "line-color": CELL,
        "line-width": widths(13, 0.4, 17, 1.4),
        "line-opacity": ["interpolate", ["linear"], ["zoom"], 13, 0.15, 15, 0.35, 17, 0.55],
      },
    },
    {
      id: "chosen-cell-fill",
      type: "fill",
      ...source,
      minzoom: 13,
      filter: nothing,
      paint: { "fill-color": MARK, "fill-opacity": 0.08 },
    },
    {
      id: "across-cell",
      type: "line",
      ...source,
      minzoom: 13,
      filter: nothing,
      layout: { "line-join": "round" },
      paint: { "line-color": ACROSS, "line-width": 2.5, "line-dasharray": [2, 1.5] },
    },
    {
      id: "chosen-cell-casing",
      type: "line",
      ...source,
      minzoom: 13,
      filter: nothing,
      layout: { "line-join": "round" },
      paint: { "line-color": "#ffffff", "line-width": 6 },
    },
    {
      id: "chosen-cell",
      type: "line",
      ...source,
      minzoom: 13,
      filter: nothing,
      layout: { "line-join": "round" },
      paint: { "line-color": MARK, "line-width": 3 },
    },
  ];
}

// Many at one place: n is the number; a row that stands for itself has n = 1 (or none).
const many = [">", ["coalesce", ["get", "n"], 1], 1];
const short = [
  "case",
  [">=", ["get", "n"], 1000],
  ["concat", ["number-format", ["/", ["get", "n"], 1000], { "max-fraction-digits": 1 }], "k"],
  ["to-string", ["get", "n"]],
];

function componentLayers() {
  const source = { source: "components", "source-layer": "components" };
  const major = ["slice", ["coalesce", ["get", "class_code"], "   "], 0, 3];
  const whole = ["==", ["coalesce", ["get", "state"], "intact"], "intact"];
  return [
    {
      id: "components-many",
      type: "symbol",
      ...source,
      filter: many,
      layout: {
        "icon-image": "component-many",
        "icon-text-fit": "both",
        "icon-text-fit-padding": [3, 5, 3, 5],
        "symbol-sort-key": ["-", 0, ["coalesce", ["get", "n"], 1]],
        "text-field": short,
        "text-font": FONT,
        "text-size": 10.5,
        "icon-allow-overlap": true,
        "icon-ignore-placement": true,
        "text-allow-overlap": true,
        "text-ignore-placement": true,
      },
      paint: { "text-color": INK },
    },
    {
      id: "components-shape",
      type: "line",
      ...source,
      filter: ["!=", ["geometry-type"], "Point"],
      paint: {
        "line-color": ["match", major, ...componentMajors().flatMap(({ code, colour }) => [code, colour]), OTHER_MAJOR],
        "line-width": widths(14, 1.5, 18, 4),
      },
    },
    {
      id: "components-one",
      type: "symbol",
      ...source,
      filter: ["!", many],
      layout: {
        "icon-image": ["concat", "component-", major, ["case", whole, "", "-hollow"]],
        "icon-allow-overlap": true,
        "icon-ignore-placement": true,
        "icon-size": ["interpolate", ["linear"], ["zoom"], 14, 0.45, 16, 0.6, 17, 0.75, 18, 1, 19, 1.3],
      },
    },
  ];
}

function caseLayers() {
  const source = { source: "cases", "source-layer": "cases" };
  const byStage = (value) => [
    "match",
    ["coalesce", ["get", "stage"], ""],
    ...stageGroups()
      .filter((group) => group.stages.length)
      .flatMap((group) => [group.stages, value(group)]),
    "#7b828a",
  ];
  const ended = stageGroups().at(-1).stages;
  return [
    {
      id: "cases-one",
      type: "circle",
      ...source,
      filter: ["!", many],
      layout: {
        "circle-sort-key": ["case", ["in", ["get", "stage"], ["literal", ended]], 0, 1],
      },
      paint: {
        "circle-color": byStage((group) => (group.hollow ? "#eceef0" : group.colour)),
        "circle-stroke-color": byStage((group) => (group.hollow ? group.colour : "#ffffff")),
        "circle-stroke-width": 1.6,
        "circle-radius": ["interpolate", ["linear"], ["zoom"], 11, 4, 14, 5, 16, 6.5, 18, 9],
      },
    },
    {
      id: "cases-many",
      type: "circle",
      ...source,
      filter: many,
      paint: {
        "circle-color": GATHERED,
        "circle-opacity": 0.86,
        "circle-stroke-color": "#ffffff",
        "circle-stroke-width": 1.5,
        "circle-radius": [
          "interpolate",
          ["linear"],
          ["sqrt", ["coalesce", ["get", "n"], 1]],
          1,
          8,
          5,
          11,
          16,
          15,
          40,
          21,
        ],
      },
    },
    {
      id: "cases-n",
      type: "symbol",
      ...source,
      filter: many,
      layout: {
        "text-field": short,
        "text-font": FONT,
        "text-size": 10.5,
        "text-allow-overlap": true,
        "text-ignore-placement": true,
      },
      paint: { "text-color": "#ffffff" },
    },
  ];
}

function selectionLayers() {
  const ring = (id, colour, width) => ({
    id,
    type: "circle",
    source: "chosen",
    filter: ["==", ["geometry-type"], "Point"],
    paint: {
      "circle-radius": 12,
      "circle-color": "#ffffff00",
      "circle-stroke-color": colour,
      "circle-stroke-width": width,
    },
  });
  return [
    {
      id: "chosen-shape",
      type: "line",
      source: "chosen",
      filter: ["!=", ["geometry-type"], "Point"],
      paint: { "line-color": MARK, "line-width": 4 },
    },
    ring("chosen-casing", "#ffffff", 6),
    ring("chosen-ring", MARK, 3),
    {
      id: "chosen-dot",
      type: "circle",
      source: "chosen",
      filter: ["==", ["get", "dot"], true],
      paint: {
        "circle-radius": 4,
        "circle-color": ["coalesce", ["get", "colour"], MARK],
        "circle-stroke-color": "#ffffff",
        "circle-stroke-width": 1.5,
      },
    },
  ];
}

// The layers of the map from the lowest to the highest.
export function mapLayers(language, chineseReadable) {
  const names = nameLayers(labelText(language, chineseReadable));
  const [cells, chosenFill, ...chosenLines] = cellLayers();
  return [
    ...groundLayers(),
    {
      id: "heat",
      type: "raster",
      source: "heat",
      layout: { visibility: "none" },
      paint: { "raster-opacity": 0.85, "raster-fade-duration": 0, "raster-resampling": "linear" },
    },
    cells,
    ...borderLayers(),
    chosenFill,
    ...names, // below the points: a name half hidden can still be read, a number cannot
    ...componentLayers(),
    ...chosenLines,
    ...caseLayers(),
    ...selectionLayers(),
  ];
}

// Squares for components, drawn here so that no picture is fetched: full, hollow, and the stretchable box with a number.
export function componentImages() {
  const square = (side, draw) => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = side;
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    draw(pen);
    return pen.getImageData(0, 0, side, side);
  };
  const box = (fill, edge, low, side, width) => (pen) => {
    pen.fillStyle = "#ffffff";
    pen.fillRect(low - 3, low - 3, side + 6, side + 6);
    pen.fillStyle = fill;
    pen.fillRect(low, low, side, side);
    pen.strokeStyle = edge;
    pen.lineWidth = width;
    pen.strokeRect(low + width / 2, low + width / 2, side - width, side - width);
  };
  const images = [];
  for (const major of [...componentMajors(), { code: "   ", colour: OTHER_MAJOR }]) {
    images.push([`component-${major.code}`, square(24, box(major.colour, major.colour, 4, 16, 1)), { pixelRatio: 2 }]);
    images.push([
      `component-${major.code}-hollow`,
      square(24, box("#ffffff", major.colour, 4, 16, 4)),
      { pixelRatio: 2 },
    ]);
  }
  images.push([
    "component-many",
    square(32, box("#ffffff", "#5a6672", 3, 26, 3)),
    { pixelRatio: 2, stretchX: [[10, 22]], stretchY: [[10, 22]], content: [7, 7, 25, 25] },
  ]);
  return images;
}
