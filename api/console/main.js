// Where the page begins: the address is read, the city and the session are asked for, and the parts are started.

import { get } from "./api.js";
import { startAnswers } from "./answers.js";
import { fitToCity, readCatalogue } from "./catalogue.js";
import { startFilters } from "./filters.js";
import {
  browserLanguage,
  chineseReadable,
  language,
  nameOf,
  readable,
  say,
  setLanguage,
  setTimeZone,
} from "./language.js";
import { startLayers } from "./layers.js";
import { backToList, leaveListing, listInView, startListing } from "./listing.js";
import { createMap, loadFailedTiles, onTilesFailed, sayMap, theMap } from "./map.js";
import { at, button, icon, make, problemCard } from "./markup.js";
import { closePanel, hideNotice, isOpen, notice, startPanel } from "./panel.js";
import { startPointing } from "./pointing.js";
import { leaveReport, openReport, startReport } from "./report.js";
import { startSearch } from "./search.js";
import { loggedIn, refreshSession, startSession } from "./session.js";
import { change, listen, readAddress, state } from "./state.js";

const narrow = matchMedia("(max-width: 760px)"); // a phone: panels are sheets from below
const crowded = matchMedia("(max-width: 1000px)"); // one panel at a time leaves room for the map

let entered = false; // the map and all that belongs to it were started
let unreadAtFirst = []; // parts of the first address that made no sense

// For tests and for those who look behind the page.
window.wanmi = {
  get map() {
    return theMap();
  },
  state,
};

begin();

async function begin() {
  const { unread, ...wanted } = readAddress(location.hash, browserLanguage());
  unreadAtFirst = unread;
  Object.assign(state, wanted);
  setLanguage(state.language);
  state.language = language();
  startPanel();
  startLanguages();
  startSession();
  listen((changed) => {
    if (!changed.has("account") || !state.city) return;
    // what was read with an account does not stay on the screen without it
    if (entered && !mayRead()) location.reload();
    if (!entered && mayRead()) startCity();
  });
  document.addEventListener("language", () => {
    if (state.city) sayCity();
  });
  await enter();
}

const mayRead = () => state.city.reading === "open" || Boolean(state.account);

// The city's facts are for everybody; what it holds may be for those only who have an account.
async function enter() {
  at("map").replaceChildren();
  try {
    [state.city] = await Promise.all([get("/city"), refreshSession()]);
  } catch (problem) {
    standBefore(problemCard(problem, enter));
    return;
  }
  sayCity();
  if (mayRead()) startCity();
  else
    standBefore(
      make("p", { word: "login_needed" }),
      button({ id: "enter", class: "main", word: "login", on: { click: () => loggedIn() } }),
    );
}

// Where the map will be: why it is not there yet.
function standBefore(...said) {
  at("map").replaceChildren(make("div", { id: "city-problem" }, ...said));
  document.body.dataset.idle = "true";
}

function startCity() {
  entered = true;
  document.body.dataset.idle = "false";
  at("map").replaceChildren();
  setTimeZone(state.city.timezone);
  readCatalogue();
  const { filters, layers, unread } = fitted({ ...state, unread: unreadAtFirst });
  Object.assign(state, { filters, layers });
  startSide();
  startFilters();
  const drawn = createMap();
  startLayers(() => {
    leaveReport();
    listInView();
  });
  if (drawn) {
    startPointing();
    startMapNotice();
  } else {
    at("map").replaceChildren(make("p", { class: "no-map", word: "no_webgl" }));
    document.body.dataset.idle = "true";
  }
  startSideButton();
  startSearch();
  startReport();
  startListing();
  // anything else that is selected ends a list that stands in the panel; a report ends with what was selected, too
  listen((changed) => {
    if (!changed.has("selection")) return;
    if (state.selection) leaveListing();
    leaveReport();
  });
  startKeys();
  startAnswers(openReport, backToList);
  document.addEventListener("language", () => {
    if (theMap()) sayMap();
  });
  addEventListener("popstate", obeyAddress);
  sayUnread(unread);
  if (at("attribution") && narrow.matches) at("attribution").open = false;
}

// What of an address this city has.
function fitted(wanted) {
  const filters = fitToCity(wanted.filters);
  const unread = [...wanted.unread];
  if (JSON.stringify(filters) !== JSON.stringify(wanted.filters)) unread.push("class");
  const layers = wanted.layers.filter((name) => name !== "outside" || state.city.outside_map);
  if (layers.length !== wanted.layers.length) unread.push("layers");
  return { ...wanted, filters, layers, unread };
}

function sayUnread(unread) {
  if (unread.length) notice(make("span", { word: "link_partly" }));
}

// The address was changed by hand or by a link within the page; or Back led to a step of the page's own, which is a
// selection and where the map was: layers, filters and the language stay as they are now.
function obeyAddress({ state: step }) {
  const { unread, ...wanted } = fitted(readAddress(location.hash, language()));
  const fromList = state.origin === "list";
  const { selection, view } = wanted;
  if (step?.own) change({ selection, view, origin: "link", others: [] });
  else {
    if (wanted.language !== language()) speak(wanted.language);
    change({ ...wanted, language: language(), origin: "link", others: [] });
    sayUnread(unread);
  }
  if (step?.own && fromList && !selection) backToList();
}

function startLanguages() {
  for (const code of ["zh", "en"]) at(`language-${code}`).addEventListener("click", () => speak(code));
  if (!chineseReadable) {
    at("language-zh").textContent = "ZH"; // its own name would be empty boxes
    at("language-zh").disabled = true;
    at("language-zh").dataset.tip = "no_chinese_font";
    at("fonts").hidden = false;
  }
  markLanguage();
}

function speak(code) {
  setLanguage(code);
  markLanguage();
  change({ language: language() });
}

function markLanguage() {
  for (const code of ["zh", "en"]) at(`language-${code}`).setAttribute("aria-pressed", String(code === language()));
}

function sayCity() {
  const { city } = state;
  at("city-name").textContent = nameOf(city);
  at("simulated").hidden = !city.simulated;
  document.title = say("page_title", { city: nameOf(city) });
  const owed = [nameOf(city, "attribution"), city.outside_map && readable(city.outside_map.attribution)].filter(
    Boolean,
  );
  at("attribution").hidden = !owed.length;
  at("attribution-text").textContent = owed.join(" · ");
  at("attribution").classList.toggle("says-so", /^(data|数据)/i.test(owed[0])); // "Data: Data …" would be said twice
}

// Layers and filters are open on a wide screen and a sheet to be called up on a narrow one.
function startSide() {
  at("side").prepend(
    button(
      { id: "side-close", class: "tool", label: "close", tip: "close", on: { click: () => showSide(false) } },
      icon("close"),
    ),
  );
  showSide(!narrow.matches);
}

function startSideButton() {
  at("tools").hidden = false;
  at("tools").prepend(
    button(
      {
        id: "show-side",
        class: "tool",
        label: "layers_and_filters",
        tip: "layers_and_filters",
        "aria-controls": "side",
        on: {
          click: () => showSide(document.body.dataset.side !== "open"),
        },
      },
      icon("layers"),
    ),
  );
  showSide(document.body.dataset.side === "open");
}

function showSide(open) {
  const inside = at("side").contains(document.activeElement);
  document.body.dataset.side = open ? "open" : "closed";
  at("side").hidden = !open;
  at("show-side")?.setAttribute("aria-expanded", String(open));
  if (open && crowded.matches) at("panel").hidden = true;
  if (!open && inside) at("show-side")?.focus();
}

function startKeys() {
  at("skip").addEventListener("click", () => document.querySelector("#map canvas")?.focus());
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || at("login").open) return;
    if (isOpen()) closePanel();
    else if (document.body.dataset.side === "open") showSide(false);
  });
  // where room is short an answer takes the place of layers and filters
  new MutationObserver(() => {
    if (isOpen() && crowded.matches) showSide(false);
  }).observe(at("panel"), { attributes: true, attributeFilter: ["hidden"] });
}

// Tiles that fail are said once, for all of them; a session that has ended is asked for anew.
function startMapNotice() {
  let said = false;
  onTilesFailed(async (status) => {
    if (said) return;
    said = true;
    const again = () => {
      said = false;
      hideNotice();
      loadFailedTiles();
    };
    if (status === 401 && (await loggedIn("login_needed"))) again();
    else
      notice(
        [
          icon("warning"),
          make("span", { word: "tiles_failed" }),
          button({ class: "plain", word: "retry", data: { action: "retry-tiles" }, on: { click: again } }),
        ],
        { stays: true },
      );
  });
}
