// The pieces that answers are put together from: the unit and the reason, the place, the border, what is near, events.

import { groupOfStage, namesOfStage } from "./catalogue.js";
import { instant, language, metres, nameOf, readable, say, sayAct } from "./language.js";
import { button, icon, make } from "./markup.js";
import { change, state } from "./state.js";

export const section = (word, ...children) => make("section", { class: "facts" }, make("h3", { word }), ...children);

// Pairs of a word and what is known; what is not known is left out.
export function pairs(entries) {
  const known = entries.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
  return (
    known.length > 0 &&
    make(
      "dl",
      {},
      known.flatMap(([word, value]) => [make("dt", {}, word), make("dd", {}, value)]),
    )
  );
}

export function stageSign(code) {
  const group = groupOfStage(code);
  const chip = make(
    "span",
    { class: `stage${group.hollow ? " hollow" : ""}`, data: { stage: code } },
    make("span", { names: namesOfStage(code) }),
  );
  chip.style.setProperty("--colour", group.colour);
  return chip;
}

// What the dispatcher came for: whose it is, and why.
export function unitCard({ unit, assisting, reason }) {
  const others = (assisting || []).map((one) => nameOf(one)).join(language() === "zh" ? "、" : "; ");
  return make(
    "div",
    { class: `unit${unit ? "" : " nobody"}` },
    make("p", { class: "over", word: "responsible" }),
    make("p", { class: "name", data: { unit: unit?.code || "" } }, unit ? nameOf(unit) : say("nobody")),
    reason &&
      make(
        "p",
        { class: "why" },
        make("b", {}, `${say("why")}: `),
        readable(reason[language()] || reason.en || reason.zh || ""),
      ),
    others && make("p", { class: "why" }, make("b", {}, `${say("assisting")}: `), others),
  );
}

const areaAt = (areas, level) => areas.find((area) => area.level === level);

// Community, street office, district in the order of speech of each language.
export function placeInWords(areas) {
  const named = ["district", "street", "community"]
    .map((level) => areaAt(areas, level))
    .filter(Boolean)
    .map((area) => nameOf(area));
  return language() === "zh" ? named.join("") : named.reverse().join(", ");
}

export function whereFacts(areas, cellCode, lon, lat) {
  const line = (level) => {
    const area = areaAt(areas, level);
    return [say(level), area && nameOf(area)];
  };
  return section(
    "where",
    pairs(
      [
        [say("cell"), make("span", { class: "code", data: { cell: cellCode } }, cellCode)],
        line("community"),
        line("street"),
        line("district"),
        lon !== undefined && [say("coordinates"), coordinates(lon, lat)],
      ].filter(Boolean),
    ),
  );
}

function coordinates(lon, lat) {
  const text = `${lon.toFixed(6)}, ${lat.toFixed(6)}`;
  const copy = button({
    class: "plain small",
    word: "copy",
    on: {
      click: async () => {
        try {
          await navigator.clipboard.writeText(text);
          copy.textContent = say("copied");
        } catch {
          // no clipboard without a secure page: the numbers are there to be marked by hand
          getSelection().selectAllChildren(copy.previousElementSibling);
        }
      },
    },
  });
  return make("span", { class: "with-button" }, make("span", { class: "code" }, text), copy);
}

export const warning = (...children) =>
  make("div", { class: "warning", role: "note" }, icon("warning"), make("div", {}, ...children));

// A place that is none of this city's. Who points at a map sees where it is; of numbers that were typed or came with a
// link it helps to hear how else they could be meant.
export const outsideCard = (problem, pointedAt) =>
  make(
    "div",
    { class: "outside", role: "note" },
    make("p", { class: "loud" }, say("outside_city", { city: nameOf(state.city) })),
    !pointedAt && make("p", { names: { zh: problem.detail_zh, en: problem.detail } }),
    !pointedAt && problem.mend && make("p", { names: { zh: problem.mend_zh, en: problem.mend } }),
  );

// How near the border is and what lies across it; loud when the point is within the city's tolerance.
export function borderFacts(border, unit) {
  if (!border) return null;
  const far = metres(border.distance_m);
  const areas = border.areas.filter(
    (area) => area.level !== "city" && (area.level !== "district" || border.level === "district"),
  );
  const same = border.unit && border.unit.code === unit?.code;
  const across = [
    make("p", {}, `${say("across")}: ${placeInWords(areas)}`),
    border.unit &&
      make("p", {}, `${say("across_unit")}: `, make("b", {}, same ? say("across_same") : nameOf(border.unit))),
  ];
  if (border.within_reach)
    return warning(make("p", { class: "loud" }, say(`border_near_${border.level}`, { metres: far })), ...across);
  return section("border", make("p", {}, say(`border_far_${border.level}`, { metres: far })), ...across);
}

// Who else could be meant within reach of the place, each with its share of the error circle and its reason.
export function disputeFacts(answer) {
  if (!answer.on_border) return null;
  const line = (one) =>
    make(
      "li",
      {},
      make("b", {}, one.unit ? nameOf(one.unit) : say("nobody")),
      ` ${one.areas.length ? placeInWords(one.areas.filter((area) => area.level !== "district")) : say("no_cell")} · `,
      one.here ? say("candidate_here") : say("candidate_away", { metres: metres(one.distance_m) }),
      ` · ${(100 * one.share).toFixed(one.share < 0.1 ? 1 : 0)} %`,
      make("p", { class: "note", names: one.reason }),
    );
  const claim = (one) =>
    make("li", {}, say("claimed_by", { rule: one.rule, unit: one.unit ? nameOf(one.unit) : say("nobody") }));
  return section(
    "candidates",
    make(
      "p",
      { class: answer.one_unit ? "" : "loud" },
      say(answer.one_unit ? "border_one_unit" : "border_several", { metres: metres(answer.reach_m) }),
    ),
    make("ul", { class: "candidates" }, ...answer.candidates.map(line), ...answer.claims.map(claim)),
  );
}

export const jump = (selection, origin = "panel") => change({ selection, origin, others: [] });

export function nearestComponents(found, ofClass) {
  if (!found.length)
    return section("nearest_components", make("p", { class: "note", word: ofClass ? "none_near_class" : "none_near" }));
  return section(
    "nearest_components",
    make(
      "ul",
      { class: "lines" },
      found.map((one) =>
        make(
          "li",
          {},
          button(
            {
              class: "line",
              data: { component: one.code },
              on: { click: () => jump({ kind: "component", code: one.code }) },
            },
            make(
              "span",
              {},
              nameOf(one, "class"),
              one.state !== "intact" && make("small", { class: "state" }, ` ${say(`state_${one.state}`)}`),
            ),
            make("span", { class: "code" }, one.code),
            make("span", { class: "far" }, metres(one.distance_m)),
          ),
        ),
      ),
    ),
  );
}

export function eventsOf(events) {
  if (!events.length) return section("events", make("p", { class: "note", word: "events_none" }));
  return section(
    "events",
    make(
      "ol",
      { class: "events" },
      events.map((event) =>
        make(
          "li",
          {},
          make(
            "p",
            {},
            make("b", {}, sayAct(event.act)),
            saysMore(event) && make("span", {}, " → ", nameOf(namedStage(event.to_stage))),
          ),
          make("p", { class: "note" }, [instant(event.at), readable(event.actor)].filter(Boolean).join(" · ")),
          event.note && make("p", {}, readable(event.note)),
        ),
      ),
    ),
  );
}

// Whether the stage that was reached tells more than the act: "Accepted → Accepted" would say it twice.
function saysMore({ act, from_stage: before, to_stage: after }) {
  const stage = nameOf(namedStage(after)).toLowerCase();
  return after !== before && act !== "report" && !stage.includes(sayAct(act).toLowerCase());
}

function namedStage(code) {
  const { zh, en } = namesOfStage(code);
  return { code, name_zh: zh, name_en: en };
}

// Open cases of the same class near a new one: perhaps it is known already.
export function similarCases(similar, { instead = false } = {}) {
  return (
    similar.length > 0 &&
    section(
      instead ? "similar_before" : "similar",
      make(
        "ul",
        { class: "lines" },
        similar.map((one) =>
          make(
            "li",
            {},
            button(
              {
                class: "line",
                data: { case: one.no },
                on: { click: () => jump({ kind: "case", code: String(one.no) }) },
              },
              make("span", { class: "code" }, String(one.no)),
              stageSign(one.stage),
              make(
                "span",
                { class: "far" },
                say("similar_line", { metres: metres(one.distance_m), day: instant(one.reported_at) }),
              ),
              instead && make("span", { class: "go", word: "open_instead" }),
            ),
          ),
        ),
      ),
    )
  );
}
