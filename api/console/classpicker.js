// Choosing one of the catalogue's classes (or, for filters, a whole major) by typing part of its name or its code; and
// one of the filing conditions that a class has.

import { classOf, findClasses, majorOf } from "./catalogue.js";
import { Combobox } from "./combobox.js";
import { bothNames, nameOf, say } from "./language.js";
import { button, icon, make } from "./markup.js";

// id: of the field. majors: whole majors may be chosen too. changed(code): "" when cleared.
export function classPicker({ id, value = "", majors = false, hint = "class_hint", changed, required = false }) {
  let code = value;
  const input = make("input", { id, type: "text", hint, "aria-required": required ? "true" : null });
  const list = make("ul", { id: `${id}-list`, class: "options", label: "class" });
  const clear = button(
    {
      class: "clear",
      label: "class_clear",
      tip: "class_clear",
      data: { action: "clear-class" },
      on: { click: () => set("", true) },
    },
    icon("close"),
  );
  const field = make("div", { class: "picker", data: { picker: id } }, input, clear, list);

  const said = () => {
    const found = classOf(code) || majorOf(code);
    return found ? `${code} ${nameOf(found)}` : code;
  };

  function set(next, tell) {
    code = next;
    input.value = said();
    input.title = code ? said() : "";
    clear.hidden = !code;
    if (tell) changed?.(code);
    if (tell && !code) input.focus();
  }

  const box = new Combobox({
    input,
    list,
    find: (text) => findClasses(text === said() ? "" : text, { majors }),
    show: (item) => [
      make("span", { class: "code" }, item.code),
      make("span", {}, nameOf(item)),
      item.isMajor && item.choosable && make("small", {}, say("whole_major")),
    ],
    choose: (item) => set(item.code, true),
    empty: () => say("class_none"),
  });
  input.addEventListener("focus", () => input.select());
  input.addEventListener("click", () => {
    if (!box.isOpen) box.ask();
  });
  // half a name that was left standing would look like a choice: an emptied field clears, anything else goes back
  input.addEventListener("blur", () => {
    if (input.value.trim() || !code) {
      input.value = said();
      return;
    }
    set("", false);
    changed?.("");
  });
  document.addEventListener("language", function follow() {
    if (!field.isConnected) document.removeEventListener("language", follow);
    else input.value = said();
  });
  set(value, false);
  return {
    field,
    input,
    get code() {
      return code;
    },
    set: (next) => set(next, false),
  };
}

export const conditionsOf = (code) => classOf(code)?.conditions || [];

// The choices of a select; chosen: the number of one of them, or "".
export const conditionOptions = (code, chosen) => [
  make("option", { value: "", word: "condition_unknown" }),
  ...conditionsOf(code).map((one) =>
    make("option", { value: one.no, selected: String(one.no) === chosen, names: bothNames(one, "condition") }),
  ),
];
