// Which language the page speaks, and how it says words, names, numbers, lengths and days in it.
// Elements made with data-word, data-zh/data-en, data-label, data-hint or data-tip are said anew by translate().

import { ACTS, WORDS } from "./words.js";

const LOCALES = { zh: "zh-CN", en: "en-GB" };
const HANZI = /[\u2e80-\u303f\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]+/g;

let spoken = "en";
let zone = "UTC";

// Two different characters that look the same are the empty boxes of a browser without a Chinese font.
function drawsChinese() {
  const pixels = ["安", "康"].map((character) => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 24;
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.font = "20px sans-serif";
    pen.textBaseline = "top";
    pen.fillText(character, 2, 2);
    return pen.getImageData(0, 0, 24, 24).data.join();
  });
  return pixels[0] !== pixels[1];
}

export const chineseReadable = drawsChinese();

export const language = () => spoken;

export function browserLanguage() {
  return /^zh\b/i.test(navigator.language || "") ? "zh" : "en";
}

export function setLanguage(wanted) {
  spoken = wanted === "zh" && chineseReadable ? "zh" : "en";
  document.documentElement.lang = LOCALES[spoken];
  translate(document.body);
  document.dispatchEvent(new Event("language"));
}

export function setTimeZone(name) {
  zone = name;
}

const pick = ([zh, en]) => (spoken === "zh" ? zh : en);

export function say(key, values = {}) {
  return pick(WORDS[key]).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export const sayIfKnown = (key, otherwise) => (WORDS[key] ? say(key) : otherwise);

export const sayAct = (act) => nameOf({ name_zh: ACTS[act]?.[0], name_en: ACTS[act]?.[1], code: act });

// Free text may be Chinese on a machine that cannot show it: never boxes.
export function readable(text) {
  const plain = String(text ?? "");
  return chineseReadable ? plain : plain.replace(HANZI, say("hidden_chinese"));
}

// The name of a thing with name_zh/name_en (or another stem: condition, display, title, class …), never empty.
export function nameOf(thing, stem = "name") {
  const zh = thing?.[`${stem}_zh`];
  const en = thing?.[`${stem}_en`];
  const name = readable((spoken === "zh" ? zh || en : en || zh) || thing?.code || "");
  return name.charAt(0).toUpperCase() + name.slice(1); // catalogues write "street lamp"; here it stands by itself
}

export const bothNames = (thing, stem = "name") => ({ zh: thing[`${stem}_zh`], en: thing[`${stem}_en`] });

export function translate(root) {
  for (const element of root.querySelectorAll("[data-word]")) {
    element.textContent = say(element.dataset.word, JSON.parse(element.dataset.values || "{}"));
  }
  for (const element of root.querySelectorAll("[data-zh],[data-en]")) {
    element.textContent = nameOf({ name_zh: element.dataset.zh, name_en: element.dataset.en });
  }
  for (const [source, target] of [
    ["label", "aria-label"],
    ["hint", "placeholder"],
    ["tip", "title"],
  ]) {
    for (const element of root.querySelectorAll(`[data-${source}]`)) {
      element.setAttribute(target, say(element.dataset[source]));
    }
  }
}

export const number = (value, digits = 0) =>
  new Intl.NumberFormat(LOCALES[spoken], { maximumFractionDigits: digits }).format(value);

export function metres(value) {
  const far = value >= 1000;
  return new Intl.NumberFormat(LOCALES[spoken], {
    style: "unit",
    unit: far ? "kilometer" : "meter",
    unitDisplay: spoken === "zh" ? "long" : "short",
    maximumFractionDigits: far || value < 10 ? 1 : 0,
  }).format(far ? value / 1000 : value);
}

// A calendar day as the server writes it (2026-10-31), without moving it through any time zone.
export function day(text) {
  const [year, month, date] = text.slice(0, 10).split("-").map(Number);
  return new Intl.DateTimeFormat(LOCALES[spoken], { dateStyle: "medium", timeZone: "UTC" }).format(
    Date.UTC(year, month - 1, date),
  );
}

// An instant in the city's own time, wherever the reader sits.
export function instant(text) {
  return new Intl.DateTimeFormat(LOCALES[spoken], {
    year: "numeric",
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
    timeZone: zone,
  }).format(new Date(text));
}

// The calendar day of an instant in the city's zone, as the server writes days.
export function dayInCity(text) {
  return new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeZone: zone }).format(new Date(text));
}
