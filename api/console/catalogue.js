// The city's catalogue as the page needs it: majors, classes, stages and sources by code, and the colours that stand
// for majors and for groups of stages on the map and in the legend.

import { bothNames } from "./language.js";
import { state } from "./state.js";

// P. Tol's "bright" scheme for components and Okabe and Ito's for cases: told apart by colour-blind readers. Ended
// cases and components that are not intact are hollow besides, components square and cases round.
const MAJOR_COLOURS = ["#4477aa", "#aa3377", "#b8a000", "#228833", "#2aa6c9", "#d9576b", "#7a6a58"];
const STAGE_GROUPS = [
  { word: "group_intake", colour: "#c74a00", stages: ["reported", "verifying"] },
  { word: "group_filing", colour: "#e69f00", stages: ["accepted", "filed"] },
  { word: "group_disposal", colour: "#0072b2", stages: ["dispatched"] },
  {
    word: "group_check",
    colour: "#00916b",
    stages: ["disposed", "awaiting_check", "checking", "checked", "self_disposed"],
  },
];
const ENDED = { word: "group_ended", colour: "#7b828a", hollow: true };

let classes = new Map();

export function readCatalogue() {
  classes = new Map(state.city.classes.map((found) => [found.code, found]));
}

export const classOf = (code) => classes.get(code);

export const majorOf = (code) => state.city.majors.find((major) => major.code === code);

// Filters from an address may name classes and sources of another city: those narrow nothing.
export function fitToCity(filters) {
  const sources = state.city.sources.map((source) => source.code);
  return {
    ...filters,
    class: classOf(filters.class) || majorOf(filters.class) ? filters.class : "",
    source: filters.source.filter((code) => sources.includes(code)),
  };
}

export const componentMajors = () =>
  state.city.majors
    .filter((major) => major.kind === "component")
    .map((major, place) => ({ ...major, colour: MAJOR_COLOURS[place % MAJOR_COLOURS.length] }));

// The groups of stages with the stages of this city that belong to each.
export function stageGroups() {
  const known = state.city.stages;
  const ended = known.filter((stage) => stage.is_end).map((stage) => stage.code);
  const grouped = new Set(STAGE_GROUPS.flatMap((group) => group.stages));
  // a stage that this page has never heard of counts as being with the unit rather than vanishing
  const others = known.filter((stage) => !stage.is_end && !grouped.has(stage.code)).map((stage) => stage.code);
  return [
    ...STAGE_GROUPS.map((group) =>
      group.word === "group_disposal" ? { ...group, stages: [...group.stages, ...others] } : group,
    ),
    { ...ENDED, stages: ended },
  ];
}

export const groupOfStage = (code) => stageGroups().find((group) => group.stages.includes(code)) || ENDED;

export function namesOfStage(code) {
  const found = state.city.stages.find((stage) => stage.code === code);
  return found ? bothNames(found) : { en: code };
}

export function namesOfSource(code) {
  const found = state.city.sources.find((source) => source.code === code);
  return found ? bothNames(found) : { en: code };
}

// Classes (and whole majors, where asked) that fit what was typed: by code from its beginning, or by a part of a name.
export function findClasses(typed, { majors = false } = {}) {
  const text = typed.trim().toLowerCase();
  const fits = (thing) =>
    !text ||
    thing.code.toLowerCase().startsWith(text) ||
    thing.name_zh?.includes(text) ||
    thing.name_en?.toLowerCase().includes(text);
  const found = [];
  for (const major of state.city.majors) {
    const whole = fits(major);
    const members = state.city.classes.filter((one) => one.major_code === major.code && (fits(one) || (whole && text)));
    if (members.length || (whole && majors))
      found.push({ ...major, isMajor: true, choosable: majors && whole }, ...members);
  }
  return found;
}
