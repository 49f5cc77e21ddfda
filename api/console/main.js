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

// For tests and for those who look behind the page.
window.wanmi = {
  get map() {
    return theMap();
  },
  state,
};

begin();

async function begin() {
  Object.assign(state, readAddress(location.hash, browserLanguage()));
  setLanguage(state.language);
  state.language = language();
  startPanel();
  startLanguages();
  startSession();
  await enter();
}

// The city's facts are for everybody; what it holds may be for those only who have an account.
async function enter() {
  at("map").replaceChildren();
  try {
    [state.city] = await Promise.all([get("/city"), refreshSession()]);
    if (state.city.reading === "accounts" && !(await loggedIn("login_needed"))) throw null;
  } catch (problem) {
    const login = [
      make("p", { word: "login_needed" }),
      button({ id: "enter", class: "main", word: "login", on: { click: enter } }),
    ];
    at("map").replaceChildren(make("div", { id: "city-problem" }, problem ? problemCard(problem, enter) : login));
    document.body.dataset.idle = "true";
    return;
  }
  startCity();
}

function startCity() {
  setTimeZone(state.city.timezone);
  readCatalogue();
  state.filters = fitToCity(state.filters);
  sayCity();
  at("simulated").hidden = !state.city.simulated;
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
  // anything else that is selected ends a list or a report that stands in the panel
  listen((changed) => {
    if (changed.has("selection") && state.selection) {
      leaveListing();
      leaveReport();
    }
  });
  listen((changed) => {
    // what was read with an account does not stay on the screen without it
    if (changed.has("account") && !state.account && state.city.reading === "accounts") location.reload();
  });
  startKeys();
  startAnswers(openReport, backToList);
  document.addEventListener("language", () => {
    sayCity();
    if (theMap()) sayMap();
  });
  addEventListener("hashchange", obeyAddress);
  if (at("attribution") && narrow.matches) at("attribution").open = false;
}

// The address was changed by hand, or a link to this page was followed within it.
function obeyAddress() {
  const wanted = readAddress(location.hash, language());
  if (wanted.language !== language()) speak(wanted.language);
  change({ ...wanted, filters: fitToCity(wanted.filters), language: language(), origin: "link", others: [] });
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
  document.title = say("page_title", { city: nameOf(city) });
  const owed = [nameOf(city, "attribution"), city.outside_map && readable(city.outside_map.attribution)].filter(
    Boolean,
  );
  at("attribution").hidden = !owed.length;
  at("attribution-text").textContent = owed.join(" · ");
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
