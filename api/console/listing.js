// The newest cases within the map's view, as a list: the way to cases for those who do not point at a map.

import { Latest, query } from "./api.js";
import { stageSign } from "./facts.js";
import { forgetShown } from "./answers.js";
import { instant, nameOf, number, say } from "./language.js";
import { mark, theMap } from "./map.js";
import { at, button, make, problemCard } from "./markup.js";
import { announce, isOpen, openPanel, waitInPanel } from "./panel.js";
import { caseFilters, change, listen } from "./state.js";

const PAGE = 100,
  PAUSE_MS = 400;
const latest = new Latest();
let listed = null; // {items, next, asked}: asked without the place to go on from
let open = false;
let waiting = 0;

export function startListing() {
  document.addEventListener("language", () => {
    if (open && document.body.dataset.panel === "list") draw(true);
  });
  listen((changed) => {
    if (changed.has("filters") || changed.has("city")) renewSoon();
  });
  theMap()?.on("moveend", renewSoon);
}

export const leaveListing = () => {
  open = false;
  latest.cancel();
};

function emptyList() {
  const bounds = theMap()?.getBounds();
  const bbox = bounds
    ? [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()].map((side) => side.toFixed(6)).join()
    : "";
  return { items: [], next: null, asked: { ...caseFilters(), bbox, limit: PAGE } };
}

// The list says what is in view: it follows the map and the filters, when they have come to rest.
function renewSoon() {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    // on a small screen the filters may lie where the list was
    if (!open || !isOpen()) return;
    listed = emptyList();
    waitInPanel(say("cases_in_view"), "asking");
    readOn({ again: true });
  }, PAUSE_MS);
}

export async function listInView() {
  change({ selection: null });
  forgetShown();
  mark({});
  listed = emptyList();
  open = true;
  waitInPanel(say("cases_in_view"), "asking");
  await readOn();
}

// Back from a case to the list as it was.
export function backToList() {
  change({ selection: null });
  forgetShown();
  open = true;
  draw(false);
}

// again: the list stood there before, so the focus stays where it is.
async function readOn({ again = false } = {}) {
  const mine = listed;
  try {
    const answer = await latest.ask(`/cases${query({ ...mine.asked, after: mine.next })}`);
    if (answer === undefined || !open) return;
    mine.items.push(...answer.items);
    const more = mine.next !== null;
    mine.next = answer.next;
    draw(again || more);
    if (!more) at("panel-body").scrollTop = 0;
    announce(say("said_list", { count: countOf(mine) }));
  } catch (problem) {
    if (!open) return;
    openPanel({
      kind: "list",
      title: say("cases_in_view"),
      body: problemCard(problem, problem.mayWorkLater && (() => readOn())),
      closed: leaveListing,
    });
  }
}

// "100+" while there is more than was read.
const countOf = ({ items, next }) => number(items.length) + (next === null ? "" : "+");

function draw(again) {
  const { items, next } = listed;
  openPanel({
    kind: "list",
    again,
    closed: leaveListing,
    title: say("cases_in_view"),
    under: items.length ? [make("p", { class: "under" }, say("list_count", { count: countOf(listed) }))] : [],
    body: items.length
      ? [
          make("ul", { class: "lines", id: "case-list" }, items.map(line)),
          next !== null && button({ id: "more-cases", class: "second", word: "more", on: { click: () => readOn() } }),
        ]
      : make("p", { class: "note", word: "cases_in_view_none" }),
  });
}

function line(one) {
  const choose = () => {
    open = false;
    change({ selection: { kind: "case", code: String(one.no) }, origin: "list", others: [] });
  };
  return make(
    "li",
    {},
    button(
      { class: "line case", data: { case: one.no }, on: { click: choose } },
      make("span", { class: "what" }, nameOf(one, "class")),
      stageSign(one.stage),
      make("span", { class: "note" }, one.unit_en || one.unit_zh ? nameOf(one, "unit") : say("nobody")),
      make("span", { class: "note far" }, instant(one.reported_at)),
    ),
  );
}
