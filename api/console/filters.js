// Narrowing what the map shows: by class, by when and through whom a case was reported, by whether it is still open.

import { classPicker } from "./classpicker.js";
import { day, say } from "./language.js";
import { at, button, make } from "./markup.js";
import { change, filtersInForce, listen, noFilters, state } from "./state.js";

const QUICK_DAYS = [7, 30, 90];
let picker = null;
let ownDays = false; // "chosen days" stays chosen while both days still equal a quick choice

export function startFilters() {
  picker = classPicker({
    id: "filter-class",
    value: state.filters.class,
    majors: true,
    hint: "class_any",
    changed: (code) => set({ class: code }),
  });
  const period = make(
    "select",
    { id: "filter-period", on: { change: () => choosePeriod(period.value) } },
    make("option", { value: "all", word: "period_all" }),
    QUICK_DAYS.map((days) => make("option", { value: String(days), word: "period_days", values: { days } })),
    make("option", { value: "own", word: "period_own" }),
  );
  const dayField = (end) =>
    make(
      "label",
      { class: "field" },
      make("span", { word: end }),
      make("input", {
        type: "date",
        id: `filter-${end}`,
        min: state.city.period?.first_on,
        on: { change: (event) => chooseDay(end, event.target) },
      }),
    );
  const chip = (kind, name, value, text) =>
    make(
      "label",
      { class: "chip" },
      make("input", {
        type: kind,
        name: `filter-${name}`,
        value,
        id: `filter-${name}-${value}`,
        on: { change: () => chooseChips() },
      }),
      make("span", text),
    );
  at("side").append(
    make(
      "section",
      { id: "filters", "aria-labelledby": "filters-title" },
      make(
        "div",
        { class: "section-head" },
        make("h2", { id: "filters-title", word: "filters" }),
        button({ id: "clear-filters", class: "plain", word: "clear_filters", on: { click: clearFilters } }),
      ),
      make("div", { class: "field" }, make("label", { for: "filter-class", word: "class" }), picker.field),
      make(
        "div",
        { class: "field" },
        make(
          "div",
          { class: "section-head" },
          make("label", { for: "filter-period", word: "period" }),
          make("span", { class: "note", id: "data-end" }),
        ),
        period,
      ),
      make("div", { id: "own-days", class: "pair" }, dayField("from"), dayField("to")),
      make(
        "fieldset",
        {},
        make("legend", { word: "stage" }),
        make(
          "div",
          { class: "chips" },
          ["open", "ended", "all"].map((stage) => chip("radio", "stage", stage, { word: `stage_${stage}` })),
        ),
      ),
      make(
        "fieldset",
        {},
        make("legend", { word: "source" }),
        make(
          "div",
          { class: "chips" },
          state.city.sources.map((source) =>
            chip("checkbox", "source", source.code, { names: { zh: source.name_zh, en: source.name_en } }),
          ),
        ),
      ),
      make("p", { class: "note", word: "filters_cover" }),
    ),
  );
  draw();
  listen((changed) => {
    if (changed.has("filters") || changed.has("city")) draw();
  });
  document.addEventListener("language", sayDataEnd);
}

const set = (patch) => change({ filters: { ...state.filters, ...patch } });

export function clearFilters() {
  ownDays = false;
  change({ filters: noFilters() });
}

// The day to count back from: the end of the last week that is not nearly empty, so that one late report moves nothing.
const busyOn = () => state.city.period?.busy_on || state.city.period?.last_on;

// The day so many days before that day, both counted.
function daysBefore(days) {
  const last = new Date(`${busyOn()}T00:00:00Z`);
  last.setUTCDate(last.getUTCDate() - days + 1);
  return last.toISOString().slice(0, 10);
}

function choosePeriod(value) {
  const { period } = state.city;
  ownDays = value === "own";
  if (value === "all" || !period) set({ from: "", to: "" });
  else if (value === "own")
    set({ from: state.filters.from || period.first_on, to: state.filters.to || period.last_on });
  else set({ from: daysBefore(Number(value)), to: busyOn() });
  draw();
}

function chooseDay(end, field) {
  const patch = { [end]: field.value };
  // the other end follows rather than leave a period that ends before it begins
  const { from, to } = { ...state.filters, ...patch };
  if (from && to && from > to) patch[end === "from" ? "to" : "from"] = field.value;
  set(patch);
}

function chooseChips() {
  const checked = (name) =>
    [...document.querySelectorAll(`input[name=filter-${name}]:checked`)].map((input) => input.value);
  set({ stage: checked("stage")[0], source: checked("source") });
}

function periodNow() {
  const { from, to } = state.filters;
  if (!from && !to) return "all";
  const quick =
    !ownDays &&
    state.city.period &&
    QUICK_DAYS.find((days) => to === busyOn() && from === daysBefore(days));
  return quick ? String(quick) : "own";
}

function draw() {
  const { filters } = state;
  picker.set(filters.class);
  const period = periodNow();
  at("filter-period").value = period;
  at("own-days").hidden = period !== "own";
  for (const end of ["from", "to"]) {
    at(`filter-${end}`).value = filters[end];
    at(`filter-${end}`).max = state.city.period?.last_on || "";
  }
  at(`filter-stage-${filters.stage}`).checked = true;
  for (const source of state.city.sources)
    at(`filter-source-${source.code}`).checked = filters.source.includes(source.code);
  at("clear-filters").hidden = !filtersInForce();
  at("show-side")?.setAttribute("data-count", filtersInForce() || "");
  sayDataEnd();
}

function sayDataEnd() {
  const { period } = state.city;
  at("data-end").textContent = period ? say("period_until", { day: day(busyOn()) }) : "";
}
