// The views of the panel: a place with its jurisdiction, a case with its events, a component; each as the heading, what
// stands under it, the body and what stays visible at the end.

import { classOf, namesOfSource } from "./catalogue.js";
import { classPicker, conditionOptions, conditionsOf } from "./classpicker.js";
import {
  borderFacts,
  disputeFacts,
  eventsOf,
  jump,
  nearestComponents,
  pairs,
  placeInWords,
  section,
  similarCases,
  stageSign,
  unitCard,
  warning,
  whereFacts,
} from "./facts.js";
import { clearFilters } from "./filters.js";
import { day, instant, metres, nameOf, number, readable, say } from "./language.js";
import { goTo } from "./map.js";
import { button, icon, make } from "./markup.js";
import { change, filtersInForce, placeAt, state } from "./state.js";

export function placeView(answer, _extra, selection, openReport) {
  const { cell, areas, border, place } = answer;
  const picker = classPicker({
    id: "place-class",
    value: selection.class,
    changed: (code) => change({ selection: placeAt(selection.lon, selection.lat, { class: code }), origin: "map" }),
  });
  return {
    title: say("place"),
    under: [make("p", { class: "under" }, placeInWords(areas)), ...aboutOf(selection)],
    body: [
      unitCard(answer),
      border?.within_reach && borderFacts(border, answer.unit),
      disputeFacts(answer),
      make(
        "div",
        { class: "field" },
        make("label", { for: "place-class", word: "refine_class" }),
        picker.field,
        !selection.class && make("p", { class: "note", word: "without_class" }),
      ),
      conditionsOf(selection.class).length > 0 && conditionField(selection),
      cell.placed === "nearest" && warning(make("p", {}, say("placed_nearest", { metres: metres(cell.distance_m) }))),
      whereFacts(areas, cell.code, place.lon, place.lat),
      border && !border.within_reach && borderFacts(border, answer.unit),
      nearestComponents(answer.nearest_components, selection.class.startsWith("C")),
    ],
    foot: [
      button({ id: "report-here", class: "main", word: "report_here", on: { click: () => openReport(selection) } }),
    ],
  };
}

// What an answer is about besides the place: the component and the condition, which may decide it.
function aboutOf({ class: code, condition, component }) {
  const chosen = conditionsOf(code).find((one) => String(one.no) === condition);
  return [
    component &&
      make("p", { class: "under" }, say("for_component", { code: component, class: nameOf(classOf(code) || {}) })),
    chosen && make("p", { class: "under" }, say("for_condition", { condition: nameOf(chosen, "condition") })),
  ].filter(Boolean);
}

// Rules may name another unit for each filing condition of a class.
function conditionField({ class: code, condition }) {
  const choose = (event) =>
    change({ selection: { ...state.selection, condition: event.target.value }, origin: "map" });
  return make(
    "label",
    { class: "field" },
    make("span", { word: "condition" }),
    make("select", { id: "place-condition", on: { change: choose } }, conditionOptions(code, condition)),
    !condition && make("p", { class: "note", word: "condition_may_decide" }),
  );
}

export function caseView(answer, extra) {
  const { stage, condition, component, border } = answer;
  return {
    title: nameOf(answer.class),
    under: [
      make(
        "p",
        { class: "under" },
        stageSign(stage.code),
        make("span", { class: "code" }, say("case_no", { no: answer.no })),
      ),
    ],
    body: [
      extra.created !== undefined && doneCard(answer.no, extra.created),
      unitCard(answer),
      border && warning(make("p", {}, say("case_border", { cell: border.cell, metres: metres(border.distance_m) }))),
      answer.dispute?.on_border && disputeFacts(answer.dispute),
      answer.cell?.placed === "nearest" &&
        warning(make("p", {}, say("placed_nearest", { metres: metres(answer.cell.distance_m) }))),
      extra.similar && similarCases(extra.similar),
      section(
        "case",
        pairs([
          [say("condition"), condition && nameOf(condition, "condition")],
          [say("description"), answer.description && readable(answer.description)],
          [say("address"), answer.address && readable(answer.address)],
          [say("reported_at"), answer.reported_at && instant(answer.reported_at)],
          [say("source"), make("span", { names: namesOfSource(answer.channel) })],
          [say("due_at"), answer.due_at && instant(answer.due_at)],
          [say("disposed_at"), answer.disposed_at && instant(answer.disposed_at)],
          [say("closed_at"), answer.closed_at && instant(answer.closed_at)],
          [say("component"), answer.component_code && componentLink(answer.component_code, component)],
          [
            say("accuracy"),
            answer.accuracy_m !== null && answer.accuracy_m !== undefined && `± ${metres(answer.accuracy_m)}`,
          ],
          [say("data_source"), answer.data_source && readable(answer.data_source)],
        ]),
      ),
      whereFacts(answer.areas, answer.cell?.code || "", answer.lon, answer.lat),
      eventsOf(answer.events),
    ],
    foot: waysOn(answer),
  };
}

// From the facts of a thing back to the map, or on to whose place it stands in.
const waysOn = (answer) => [
  button({
    class: "second",
    id: "show-on-map",
    word: "show_on_map",
    on: { click: () => goTo(answer.lon, answer.lat) },
  }),
  button({ class: "second", id: "who-here", word: "who_here", on: { click: () => askHere(answer) } }),
];

// Whose it is, asked about the very thing that is shown: with its component and condition the answer is the exact one.
const askHere = (answer) =>
  jump(
    placeAt(answer.lon, answer.lat, {
      class: answer.class.code,
      condition: answer.condition?.no,
      component: answer.component_code || answer.code, // of a case, of a component
    }),
  );

function doneCard(no, created) {
  return make(
    "div",
    { class: "done", role: "status" },
    icon("done"),
    make(
      "div",
      {},
      make("p", { class: "loud" }, say(created ? "report_done" : "report_seen", { no })),
      filtersInForce() > 0 &&
        make(
          "p",
          {},
          make("span", { word: "filters_may_hide" }),
          " ",
          button({ class: "plain small", word: "clear_filters", on: { click: clearFilters } }),
        ),
    ),
  );
}

const componentLink = (code, component) =>
  make(
    "span",
    { class: "with-button" },
    button({ class: "plain code", on: { click: () => jump({ kind: "component", code }) } }, code),
    component && make("small", {}, say("component_away", { metres: metres(component.distance_m) })),
  );

export function componentView(answer) {
  const attributes = Object.entries(answer.attrs || {}).map(([name, value]) => [
    readable(name),
    readable(typeof value === "object" ? JSON.stringify(value) : value),
  ]);
  const unit = (word) => [say(word), answer[word] && nameOf(answer[word])];
  return {
    title: nameOf(answer.class),
    under: [
      make(
        "p",
        { class: "under" },
        make("span", { class: `state ${answer.state}`, word: `state_${answer.state}` }),
        make("span", { class: "code" }, answer.code),
      ),
    ],
    body: [
      section(
        "component",
        pairs([
          [say("component_code"), make("span", { class: "code" }, answer.code)],
          [say("class"), `${answer.class.code} ${nameOf(answer.class)}`],
          [
            say("component_name"),
            answer.name_zh !== answer.class.name_zh && answer.name_zh && readable(answer.name_zh),
          ],
          unit("maintainer"),
          unit("owner"),
          unit("supervising"),
          [say("surveyed_on"), answer.surveyed_on && day(answer.surveyed_on)],
          [say("changed_on"), answer.changed_on && day(answer.changed_on)],
          [say("data_source"), answer.data_source && readable(answer.data_source)],
        ]),
      ),
      whereFacts(answer.areas, answer.cell_code || "", answer.lon, answer.lat),
      attributes.length > 0 && section("attributes", pairs(attributes)),
    ],
    foot: waysOn(answer),
  };
}

// What else lay under the pointer, so that nothing is out of reach below something else.
export function othersHere(selection) {
  const others = state.others.filter((other) => other.code !== selection.code);
  if (!others.length || state.origin !== "map") return null;
  const most = others.slice(0, 12);
  return section(
    "others_here",
    make(
      "ul",
      { class: "lines" },
      most.map((other) =>
        make(
          "li",
          {},
          button(
            {
              class: "line",
              data: { [other.kind]: other.code },
              on: { click: () => change({ selection: { kind: other.kind, code: other.code }, origin: "map" }) },
            },
            make("span", {}, nameOf(classOf(other.class) || { code: other.class })),
            make("span", { class: "code" }, other.code),
            other.stage && stageSign(other.stage),
          ),
        ),
      ),
    ),
    others.length > most.length && make("p", { class: "note" }, `+ ${number(others.length - most.length)}`),
  );
}
