// The search in the head: cases, components, cells, areas and streets by number or name, and a place by its coordinates.

import { Latest, query } from "./api.js";
import { Combobox } from "./combobox.js";
import { nameOf, say } from "./language.js";
import { goTo, showBounds } from "./map.js";
import { at, make } from "./markup.js";
import { announce } from "./panel.js";
import { change, placeAt, state } from "./state.js";

const PAUSE_MS = 200;
const latest = new Latest();

export function startSearch() {
  const input = at("search-text");
  at("search").hidden = false;
  let failed = null;
  const box = new Combobox({
    input,
    list: at("search-results"),
    rest: PAUSE_MS,
    find: async (typed) => {
      const text = typed.trim();
      failed = null;
      if (!text) return [];
      const spot = spotOf(text);
      if (spot) {
        latest.cancel();
        return [spot];
      }
      if (/^\d{1,3}$/.test(text)) return [];
      try {
        const answer = await latest.ask(`/search${query({ q: text })}`);
        if (answer) announce(say("search_found", { count: answer.items.length }));
        return answer?.items;
      } catch (problem) {
        failed = problem;
        return [];
      }
    },
    show: (item) => {
      const title = item.kind === "place" && !item.title_zh ? say("ask_at_place") : nameOf(item, "title");
      return [
        make("span", { class: `kind ${item.kind}` }, say(`kind_${item.kind}`)),
        make("span", {}, title),
        item.kind !== "street" && item.code !== title && !(item.kind === "place" && item.title_zh) && make("span", { class: "code" }, item.code),
      ];
    },
    choose: (item) => {
      input.value = "";
      input.blur();
      found(item);
    },
    empty: (typed) => {
      const text = typed.trim();
      if (failed)
        return nameOf({ name_zh: failed.detail_zh || failed.title_zh, name_en: failed.detail || failed.title });
      if (!text) return null;
      return /^\d{1,3}$/.test(text) ? say("search_more_digits") : say("search_none", { text });
    },
  });
  input.addEventListener("focus", () => {
    if (input.value.trim()) box.ask();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey || at("login").open) return;
    event.preventDefault();
    input.focus();
    input.select();
  });
}

// Two numbers are a place, in the order that lies in the city; in neither, longitude first, as the page writes them.
function spotOf(text) {
  const numbers = /^(-?\d{1,3}(?:\.\d+)?)°?(?:\s*[,，;；、]\s*|\s+)(-?\d{1,3}(?:\.\d+)?)°?$/.exec(text);
  if (!numbers) return null;
  const [west, south, east, north] = state.city.bounds;
  const inside = (lon, lat) => lon >= west && lon <= east && lat >= south && lat <= north;
  let [lon, lat] = numbers.slice(1).map(Number);
  if (!inside(lon, lat) && inside(lat, lon)) [lon, lat] = [lat, lon];
  return { kind: "place", code: `${lon}, ${lat}`, lon, lat };
}

function found({ kind, code, lon, lat, bounds }) {
  if (kind === "case" || kind === "component") {
    change({ selection: { kind, code: String(code) }, origin: "search", others: [] });
  } else if (kind === "cell" || kind === "place") {
    change({ selection: placeAt(lon, lat), origin: "search", others: [] });
  } else {
    change({ selection: kind === "area" ? { kind: "area", code: String(code) } : null, origin: "search", others: [] });
    if (bounds) showBounds(bounds);
    else goTo(lon, lat);
    document.querySelector("#map canvas")?.focus({ preventScroll: true });
  }
}
