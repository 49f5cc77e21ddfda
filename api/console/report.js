// Reporting a case: the form in the panel, who it would go to while it is written, and sending it exactly once.

import { Latest, ask, query } from "./api.js";
import { classOf } from "./catalogue.js";
import { classPicker, conditionOptions, conditionsOf } from "./classpicker.js";
import { outsideCard, placeInWords, similarCases } from "./facts.js";
import { bothNames, dayInCity, language, metres, nameOf, readable, say } from "./language.js";
import { mark } from "./map.js";
import { at, button, make, problemCard } from "./markup.js";
import { announce, openPanel } from "./panel.js";
import { takePlacesOnly } from "./pointing.js";
import { loggedIn, refreshSession } from "./session.js";
import { change, state } from "./state.js";
import { MARK } from "./ground.js";
import { forgetShown, showReported } from "./answers.js";

const AT_THE_PLACE_M = 2; // so near the place is the thing itself
const SIMILAR_M = 50;
const METRES_A_DEGREE = 111_320; // of latitude
const latest = new Latest();
const latestSimilar = new Latest();
let place = null; // {lon, lat}: where the report is about
let component = ""; // the code of what the report names
let settled = null; // who settled which that is: "answer" to the question before, or the "person"; null: the place does
let similar = []; // open cases of the class near the place
let proposed = null; // the answer of /locate for it, to be said anew in another language
let picker = null;
let sent = { content: "", key: "" }; // one key for one content, however often it is sent

export function startReport() {
  document.addEventListener("language", () => {
    if (!at("report-form")) return;
    sayProposed();
    saySimilar();
    if (proposed) drawComponents(proposed);
  });
}

// The form for a place; a log-in first where nobody is logged in.
export async function openReport({ lon, lat, class: code, condition = "", component: named = "" }) {
  if (!(await loggedIn("login_to_report"))) return;
  forgetShown();
  place = { lon, lat };
  component = named;
  settled = named ? "answer" : null;
  proposed = null;
  similar = [];
  sent = { content: "", key: "" };
  const { channels } = state.account;
  const mayReport = channels.length > 0;
  openPanel({
    kind: "report",
    title: make("span", { word: "report" }),
    closed: leave,
    under: mayReport ? [make("p", { class: "under", word: "report_place" })] : [],
    body: mayReport ? form(code, channels) : make("p", { class: "note", word: "may_not_report" }),
    foot: mayReport
      ? [
          button({
            id: "send-report",
            class: "main",
            word: "send_report",
            on: { click: () => at("report-form").requestSubmit() },
          }),
        ]
      : [],
  });
  if (!mayReport) return;
  drawConditions(condition);
  takePlacesOnly((toLon, toLat) => {
    place = { lon: toLon, lat: toLat };
    if (settled === "answer") settled = null;
    follow();
  });
  follow();
  if (!code) picker.input.focus({ preventScroll: true });
}

function leave() {
  stop();
  change({ selection: null });
  mark({});
}

function stop() {
  latest.cancel();
  latestSimilar.cancel();
  takePlacesOnly(null);
}

// Leaving the form for something else that is shown: a click on it is a click again.
export function leaveReport() {
  if (at("report-form")) stop();
}

function form(code, channels) {
  picker = classPicker({
    id: "report-class",
    value: code,
    required: true,
    changed: () => {
      component = "";
      settled = null;
      drawConditions("");
      follow();
    },
  });
  const field = (word, input, optional = true) =>
    make(
      "label",
      { class: "field" },
      make("span", {}, make("span", { word }), optional && make("small", { class: "note", word: "optional" })),
      input,
    );
  const made = make(
    "form",
    { id: "report-form", novalidate: true, on: { submit: send } },
    make(
      "div",
      { class: "field" },
      make("label", { for: "report-class", word: "class" }),
      picker.field,
      make("p", { id: "report-class-problem", class: "field-problem", word: "report_class_missing", hidden: true }),
    ),
    make("div", { id: "report-proposed", class: "proposed" }),
    make("div", { id: "report-similar" }),
    field("condition", make("select", { id: "report-condition", on: { change: () => follow() } })),
    make(
      "div",
      { id: "report-component-field", hidden: true },
      field("component_which", make("select", { id: "report-component", on: { change: nameComponent } })),
    ),
    field(
      "description",
      make("textarea", { id: "report-description", rows: 3, maxlength: 2000, hint: "description_hint" }),
    ),
    field("address", make("input", { id: "report-address", type: "text", maxlength: 200, hint: "address_hint" })),
    field(
      "accuracy",
      make("input", {
        id: "report-accuracy",
        type: "number",
        min: 0,
        max: 10000,
        step: "any",
        inputmode: "decimal",
        hint: "accuracy_hint",
      }),
    ),
    channels.length > 1 &&
      field(
        "channel",
        make(
          "select",
          { id: "report-channel" },
          channels.map((channel) => {
            const source = state.city.sources.find((one) => one.code === channel);
            return make("option", { value: channel, names: source ? bothNames(source) : { en: channel } });
          }),
        ),
        false,
      ),
    make("div", { id: "report-problem" }),
  );
  return made;
}

function drawConditions(chosen) {
  at("report-class-problem").hidden = true;
  at("report-condition").replaceChildren(...conditionOptions(picker.code, chosen));
  at("report-condition").closest("label").hidden = !conditionsOf(picker.code).length;
}

function nameComponent(event) {
  component = event.target.value;
  settled = "person";
  follow();
}

// Ask whose it would be, of just what is going to be sent, which components it could be about, and what is known there.
async function follow() {
  mark({ lon: place.lon, lat: place.lat, dot: MARK });
  askSimilar();
  const asked = component;
  const { lon, lat } = place;
  try {
    const condition = at("report-condition").value;
    const answer = await latest.ask(
      `/locate${query({ lon, lat, crs: 4326, class: picker.code, condition, component: asked })}`,
    );
    if (answer === undefined || !at("report-form")) return;
    drawComponents(answer);
    if (component !== asked) {
      follow(); // the thing at the place may decide whose it is
      return;
    }
    proposed = answer;
    mark({ cell: answer.cell.code, lon, lat, dot: MARK });
    sayProposed();
  } catch (problem) {
    if (!at("report-form")) return;
    proposed = null;
    at("report-proposed").replaceChildren(
      problem.isOutside ? outsideCard(problem, true) : problemCard(problem, problem.mayWorkLater && follow),
    );
  }
}

// What the report could be about. Nobody having said which: what stands at the place, since a report of a lid names the
// lid.
function drawComponents(answer) {
  const found = picker.code.startsWith("C") ? [...answer.nearest_components] : [];
  const choices = found.filter((one) => one.class_code === picker.code);
  const listed = choices.some((one) => one.code === component);
  if (settled === "answer" && component && !listed) {
    const { name_zh: zh, name_en: en } = classOf(picker.code) || {};
    choices.push({ code: component, class_zh: zh, class_en: en, distance_m: answer.component?.distance_m });
  } else if (settled === "person" && component && !listed) {
    settled = null; // it is out of reach of where the place is now
  }
  if (!settled) component = choices[0]?.distance_m <= AT_THE_PLACE_M ? choices[0].code : "";
  at("report-component-field").hidden = !choices.length;
  at("report-component").replaceChildren(
    make("option", { value: "", word: "component_unknown" }),
    ...choices.map((one) => make("option", { value: one.code, selected: one.code === component }, sayChoice(one))),
  );
}

const sayChoice = (one) =>
  [
    nameOf(one, "class"),
    one.state && say(`state_${one.state}`),
    one.distance_m !== undefined && metres(one.distance_m),
    one.code,
  ]
    .filter(Boolean)
    .join(" · ");

// Perhaps it is known already: told before it is sent a second time.
async function askSimilar() {
  const { lon, lat } = place;
  latestSimilar.cancel();
  similar = [];
  if (!picker.code) {
    saySimilar();
    return;
  }
  const [east, north] = [METRES_A_DEGREE * Math.cos((lat * Math.PI) / 180), METRES_A_DEGREE];
  const box = [lon - SIMILAR_M / east, lat - SIMILAR_M / north, lon + SIMILAR_M / east, lat + SIMILAR_M / north];
  const bbox = box.map((side) => side.toFixed(7)).join();
  try {
    const answer = await latestSimilar.ask(`/cases${query({ class: picker.code, stage: "open", bbox, limit: 5 })}`);
    if (answer === undefined || !at("report-form")) return;
    similar = answer.items
      .map((one) => ({ ...one, distance_m: Math.hypot((one.lon - lon) * east, (one.lat - lat) * north) }))
      .filter((one) => one.distance_m <= SIMILAR_M)
      .sort((a, b) => a.distance_m - b.distance_m);
  } catch {
    // no reason to keep anybody from reporting: the answer to the report names them again
  }
  saySimilar();
}

function saySimilar() {
  at("report-similar")?.replaceChildren(...[similarCases(similar, { instead: true })].filter(Boolean));
}

function sayProposed() {
  const line = at("report-proposed");
  if (!line || !proposed) return;
  line.replaceChildren(
    make(
      "p",
      {},
      `${say("cell")} `,
      make("span", { class: "code" }, proposed.cell.code),
      ` · ${placeInWords(proposed.areas.filter((area) => area.level !== "district"))}`,
    ),
    picker.code &&
      make("p", {}, `${say("responsible")}: `, make("b", {}, proposed.unit ? nameOf(proposed.unit) : say("nobody"))),
    picker.code &&
      make(
        "p",
        { class: "note" },
        `${say("why")}: `,
        readable(proposed.reason[language()] || proposed.reason.en || proposed.reason.zh || ""),
      ),
  );
}

function content() {
  const accuracy = at("report-accuracy").value;
  const given = {
    class: picker.code,
    condition: Number(at("report-condition").value) || null,
    component,
    lon: place.lon,
    lat: place.lat,
    crs: 4326,
    accuracy_m: accuracy === "" ? null : Number(accuracy),
    address: at("report-address").value.trim(),
    description: at("report-description").value.trim(),
    channel: at("report-channel")?.value || state.account.channels[0],
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null && value !== ""));
}

// randomUUID is there on secure pages and on loopback only; a city's own network may serve plain http.
function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function send(event) {
  event.preventDefault();
  const submit = at("send-report");
  if (submit.disabled) return;
  if (!picker.code) {
    at("report-class-problem").hidden = false;
    announce(say("report_class_missing"));
    picker.input.focus();
    return;
  }
  const body = content();
  // the same content keeps its key over retries, so that a case whose answer got lost is not opened twice
  if (sent.content !== JSON.stringify(body)) sent = { content: JSON.stringify(body), key: newKey() };
  const { key } = sent;
  const wait = (whether) => {
    submit.disabled = whether;
    submit.dataset.word = whether ? "sending" : "send_report";
    submit.textContent = say(submit.dataset.word);
  };
  wait(true);
  at("report-problem").replaceChildren();
  try {
    const { answer, status } = await ask("/cases", { method: "POST", body, headers: { "Idempotency-Key": key } });
    stop();
    takeIn(answer);
    showReported(answer, { created: status === 201, similar: answer.similar });
  } catch (problem) {
    if (!at("report-form")) return; // the person has gone on to something else
    wait(false);
    const again = () => at("report-form").requestSubmit();
    at("report-problem").replaceChildren(problemCard(problem, problem.mayWorkLater ? again : null));
    at("report-problem").scrollIntoView({ block: "nearest" });
    if (problem.status === 401) {
      await refreshSession();
      if (!state.account && (await loggedIn("login_to_report")) && at("report-form")) again();
    }
  }
}

// The new case changes what tiles hold and, where it is the first of its day, how far the data go.
function takeIn(answer) {
  const { city, layers } = state;
  const reported = dayInCity(answer.reported_at);
  const { first_on: first, last_on: last, ...rest } = city.period || { first_on: reported, last_on: reported };
  change({
    city: {
      ...city,
      versions: answer.versions,
      period: { ...rest, first_on: first, last_on: reported > last ? reported : last },
    },
    layers: layers.includes("cases") ? layers : [...layers, "cases"],
  });
}
