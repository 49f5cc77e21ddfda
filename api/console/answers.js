// The answer to what is selected: asks the server, lets only the latest answer through, shows it in the panel, marks it
// on the map and reads out its gist. How the answers look is in views.js.

import { Latest, query } from "./api.js";
import { groupOfStage } from "./catalogue.js";
import { outsideCard, placeInWords } from "./facts.js";
import { MARK } from "./ground.js";
import { metres, nameOf, say } from "./language.js";
import { goTo, keepInView, mark } from "./map.js";
import { at, button, icon, make, problemCard } from "./markup.js";
import { announce, hidePanel, openPanel, waitInPanel } from "./panel.js";
import { change, listen, state } from "./state.js";
import { caseView, componentView, othersHere, placeView } from "./views.js";

const views = { place: placeView, case: caseView, component: componentView };
const latest = new Latest();
let shown = null; // {selection, answer, extra}: what stands in the panel, to be drawn anew in another language
let failed = null; // the problem that stands there instead
let prepared = null; // an answer that is already there: that of a report
let openReport = () => {};
let backToList = () => {};

export function startAnswers(report, list) {
  openReport = report;
  backToList = list;
  listen((changed) => {
    if (changed.has("selection")) showSelected();
  });
  document.addEventListener("language", () => {
    if (shown) draw({ again: true });
    else if (failed && document.body.dataset.panel === "problem") showProblem(failed, { again: true });
  });
  if (state.selection) showSelected();
}

// Show a case whose facts the server has just given, with what else it said: {created, similar}.
export function showReported(answer, extra) {
  prepared = { answer, extra };
  change({ selection: { kind: "case", code: String(answer.no) }, origin: "report", others: [] });
}

export function forgetShown() {
  latest.cancel();
  shown = failed = null;
}

async function showSelected() {
  const { selection } = state;
  const given = prepared;
  prepared = failed = null;
  latest.cancel();
  if (!selection || selection.kind === "area") {
    shown = null;
    mark(selection ? { area: selection.code } : {});
    // whatever stands there, even the waiting for an answer; only a list may stand without anything selected
    if (selection || document.body.dataset.panel !== "list") hidePanel();
    return;
  }
  const { kind, lon, lat } = selection;
  if (kind === "place") mark(onAnyMap(selection) ? { lon, lat, dot: MARK } : {});
  if (given) {
    show(selection, given.answer, given.extra);
    return;
  }
  shown = null;
  waitInPanel(say("answer"), "asking");
  try {
    const answer = await latest.ask(addressOf(selection));
    if (answer !== undefined) show(selection, answer, {});
  } catch (problem) {
    showProblem(problem);
  }
}

function addressOf(selection) {
  if (selection.kind === "place") {
    const { lon, lat, class: code, condition, component } = selection;
    return `/locate${query({ lon, lat, crs: 4326, class: code, condition, component })}`;
  }
  return selection.kind === "case" ? `/cases/${selection.code}` : `/components/${selection.code}`;
}

// Numbers in a link may be no place on any map.
const onAnyMap = ({ lon, lat }) => Math.abs(lon) <= 180 && Math.abs(lat) <= 85;

const close = () => change({ selection: null });

function showProblem(problem, { again = false } = {}) {
  failed = problem;
  const pointedAt = state.origin === "map" && state.selection?.kind === "place";
  openPanel({
    kind: "problem",
    again,
    title: say(problem.isOutside ? "place" : "answer"),
    body: problem.isOutside
      ? outsideCard(problem, pointedAt)
      : problemCard(problem, problem.mayWorkLater && showSelected),
    closed: close,
  });
  if (again) return;
  announce(at("panel-body").innerText);
  // where no answer is, typed, linked to or beside the city, the map does not go
  if (pointedAt && !problem.isOutside) keepInView(state.selection.lon, state.selection.lat);
}

function show(selection, answer, extra) {
  shown = { selection, answer, extra };
  draw({});
  const { lon, lat } = selection.kind === "place" ? selection : answer;
  marks[selection.kind](answer, lon, lat);
  if (state.origin === "map" || (state.origin === "link" && state.view)) keepInView(lon, lat);
  else goTo(lon, lat);
  announce(gists[selection.kind](answer));
}

function draw({ again = false }) {
  const { selection, answer, extra } = shown;
  const view = views[selection.kind](answer, extra, selection, openReport);
  const back =
    state.origin === "list" &&
    button(
      { id: "back-to-list", class: "plain", on: { click: backToList } },
      icon("list"),
      make("span", { word: "cases_in_view" }),
    );
  openPanel({ kind: selection.kind, again, closed: close, ...view, body: [back, ...view.body, othersHere(selection)] });
}

const marks = {
  place: (answer, lon, lat) =>
    mark({ cell: answer.cell.code, across: answer.border?.within_reach ? answer.border.cell : null, lon, lat, dot: MARK }),
  // with its own dot, since the filters may leave the case itself out
  case: (answer, lon, lat) => mark({ cell: answer.cell?.code, lon, lat, dot: groupOfStage(answer.stage.code).colour }),
  component: (answer, lon, lat) => mark({ cell: answer.cell_code, lon, lat, geometry: answer.geometry }),
};

const unitSaid = (unit) => (unit ? nameOf(unit) : say("nobody"));

const gists = {
  place: (answer) =>
    say("said_place", {
      cell: answer.cell.code,
      place: placeInWords(answer.areas),
      unit: unitSaid(answer.unit),
      border: answer.border?.within_reach
        ? say(`border_near_${answer.border.level}`, { metres: metres(answer.border.distance_m) })
        : "",
    }),
  case: (answer) =>
    say("said_case", {
      no: answer.no,
      class: nameOf(answer.class),
      stage: nameOf(answer.stage),
      unit: unitSaid(answer.unit),
    }),
  component: (answer) =>
    say("said_component", { code: answer.code, class: nameOf(answer.class), state: say(`state_${answer.state}`) }),
};
