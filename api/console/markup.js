// Elements made in code: text is only ever set as text, words carry their key so that a change of language reaches them.

import { nameOf, say } from "./language.js";

const SVG = "http://www.w3.org/2000/svg";

// The paths of the page's icons, drawn on 24 × 24.
const ICONS = {
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  layers: "M12 3l9 5-9 5-9-5zM3 12.5l9 5 9-5M3 17l9 5 9-5",
  centre: "M12 3v5M12 16v5M3 12h5M16 12h5M12 11.9v.2",
  city: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  search: "M10.5 4a6.5 6.5 0 100 13 6.5 6.5 0 000-13M15.5 15.5L21 21",
  person: "M12 4a4 4 0 100 8 4 4 0 000-8M4 21c1-5 4-6.5 8-6.5s7 1.5 8 6.5",
  warning: "M12 3L2 20h20zM12 10v5M12 17.4v.2",
  done: "M4 12.5l5.5 5.5L20 7",
  list: "M8 6h13M8 12h13M8 18h13M3.5 6h.1M3.5 12h.1M3.5 18h.1",
};

export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("aria-hidden", "true");
  drawing.classList.add("icon");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  drawing.append(path);
  return drawing;
}

// make("button", {word: "retry", on: {click}}, …children)
// word, values: a word of the dictionary as text · names {zh, en}: a name by language · label, hint, tip: words for
// aria-label, placeholder, title · on: listeners · data: data-attributes · anything else: an attribute (true: bare).
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  const { word, values, names, label, hint, tip, on, data, ...attributes } = properties;
  if (word) {
    element.dataset.word = word;
    if (values) element.dataset.values = JSON.stringify(values);
    element.textContent = say(word, values);
  }
  if (names) {
    if (names.zh) element.dataset.zh = names.zh;
    if (names.en) element.dataset.en = names.en;
    element.textContent = nameOf({ name_zh: names.zh, name_en: names.en });
  }
  for (const [source, target, key] of [
    ["label", "aria-label", label],
    ["hint", "placeholder", hint],
    ["tip", "title", tip],
  ]) {
    if (!key) continue;
    element.dataset[source] = key;
    element.setAttribute(target, say(key));
  }
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  Object.assign(element.dataset, data);
  for (const [event, listener] of Object.entries(on || {})) element.addEventListener(event, listener);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const button = (properties, ...children) => make("button", { type: "button", ...properties }, ...children);

export const at = (id) => document.getElementById(id);

// A problem of the server's one shape (api.js) as a card: what is wrong, what would mend it, and a way to try again.
export function problemCard(problem, again) {
  return make(
    "div",
    { class: "problem", role: "alert" },
    icon("warning"),
    make(
      "div",
      {},
      make("p", { class: "problem-title", names: { zh: problem.title_zh, en: problem.title } }),
      problem.detail && make("p", { names: { zh: problem.detail_zh, en: problem.detail } }),
      (problem.mend || problem.mend_zh) &&
        make("p", {
          class: "mend",
          names: { zh: problem.mend_zh || problem.mend, en: problem.mend || problem.mend_zh },
        }),
      again && button({ class: "plain", word: "retry", data: { action: "retry" }, on: { click: again } }),
    ),
  );
}
