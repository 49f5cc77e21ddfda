// A text field with a list of what fits (the ARIA combobox pattern): arrows, Home, End, Enter, Escape, mouse and touch.
// The search and the class picker are made of it.

import { at, make } from "./markup.js";

const GAP = 8, // pixels between the field, its list and the edge
  LEAST = 120;

// The part of the window in which an element can be seen: what it scrolls in, above the keyboard of a phone.
function seenPart(element) {
  const seen = { top: 0, bottom: window.visualViewport?.height ?? innerHeight };
  for (let box = element.parentElement; box; box = box.parentElement) {
    if (getComputedStyle(box).overflowY === "visible") continue;
    const { top, bottom } = box.getBoundingClientRect();
    seen.top = Math.max(seen.top, top);
    seen.bottom = Math.min(seen.bottom, bottom);
  }
  return seen;
}

// input, list: the two elements. find(text): items or a promise of them, undefined when something newer was typed.
// show(item): the content of its line. choose(item): it was chosen. Items with choosable === false are headings.
// rest: milliseconds without typing before find is asked.
export class Combobox {
  constructor({ input, list, find, show, choose, empty, rest = 0 }) {
    Object.assign(this, { input, list, find, show, choose, empty, rest });
    this.items = [];
    this.active = -1;
    this.typed = 0;
    for (const [name, value] of Object.entries({
      role: "combobox",
      "aria-expanded": "false",
      "aria-autocomplete": "list",
      "aria-controls": list.id,
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
    }))
      input.setAttribute(name, value);
    list.setAttribute("role", "listbox");
    list.hidden = true;
    input.addEventListener("input", () => this.ask());
    input.addEventListener("keydown", (event) => this.key(event));
    input.addEventListener("blur", () => this.close());
    list.addEventListener("mousedown", (event) => event.preventDefault()); // the field keeps the focus
    list.addEventListener("click", (event) => {
      const line = event.target.closest("[role=option]");
      if (line) this.take(Number(line.dataset.place));
    });
  }

  get isOpen() {
    return !this.list.hidden;
  }

  ask() {
    clearTimeout(this.waiting);
    const mine = (this.typed += 1);
    this.pending = true;
    this.taking = false;
    this.waiting = setTimeout(async () => {
      const items = await this.find(this.input.value);
      if (items !== undefined && mine === this.typed && document.activeElement === this.input) this.open(items);
    }, this.rest);
  }

  open(items) {
    const taking = this.taking && items.length > 0;
    this.pending = this.taking = false;
    this.items = items;
    this.active = -1;
    this.list.replaceChildren(...items.map((item, place) => this.line(item, place)));
    if (!items.length) {
      const said = this.empty?.(this.input.value);
      if (said) this.list.append(make("li", { class: "none", role: "presentation" }, said));
    }
    this.list.hidden = !this.list.childElementCount;
    this.input.setAttribute("aria-expanded", String(this.isOpen));
    this.input.removeAttribute("aria-activedescendant");
    this.list.scrollTop = 0;
    if (this.isOpen) this.fit();
    if (taking) {
      this.move(1);
      if (this.active >= 0) this.take(this.active);
    }
  }

  // Upwards where there is more room above than below: below the fold it would look as if nothing came.
  fit() {
    const { input, list } = this;
    list.classList.remove("up");
    list.style.maxHeight = "";
    const wanted = list.getBoundingClientRect().height;
    const field = input.getBoundingClientRect();
    const seen = seenPart(input);
    const below = seen.bottom - field.bottom - GAP,
      above = field.top - seen.top - GAP;
    if (below >= wanted) return;
    const up = above > below;
    list.classList.toggle("up", up);
    list.style.maxHeight = `${Math.max(up ? above : below, LEAST)}px`;
    list.scrollIntoView({ block: "nearest" });
  }

  line(item, place) {
    if (item.choosable === false) return make("li", { class: "heading", role: "presentation" }, this.show(item));
    return make(
      "li",
      { role: "option", id: `${this.list.id}-${place}`, "aria-selected": "false", data: { place, code: item.code } },
      this.show(item),
    );
  }

  close() {
    clearTimeout(this.waiting);
    this.typed += 1;
    this.pending = this.taking = false;
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  take(place) {
    const item = this.items[place];
    if (!item || item.choosable === false) return;
    this.close();
    this.choose(item);
  }

  move(step, from = this.active) {
    const places = this.items
      .map((item, place) => (item.choosable === false ? -1 : place))
      .filter((place) => place >= 0);
    if (!places.length) return;
    const now = places.indexOf(from);
    const next = now < 0 ? (step > 0 ? 0 : places.length - 1) : (now + step + places.length) % places.length;
    at(`${this.list.id}-${this.active}`)?.setAttribute("aria-selected", "false");
    this.active = places[next];
    const line = at(`${this.list.id}-${this.active}`);
    line.setAttribute("aria-selected", "true");
    line.scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", line.id);
  }

  key(event) {
    if (event.isComposing) return; // Enter and arrows belong to the Chinese input method
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (this.isOpen) this.move(event.key === "ArrowDown" ? 1 : -1);
      else this.ask();
    } else if (event.key === "Enter" && this.pending) {
      event.preventDefault();
      this.taking = true; // who types faster than the list comes means its first line
    } else if (event.key === "Enter" && this.isOpen && this.items.length) {
      event.preventDefault();
      if (this.active < 0) this.move(1);
      this.take(this.active);
    } else if (event.key === "Escape" && this.isOpen) {
      event.stopPropagation();
      this.close();
    } else if ((event.key === "Home" || event.key === "End") && this.isOpen && this.active >= 0) {
      event.preventDefault();
      this.move(event.key === "Home" ? 1 : -1, -2);
    }
  }
}
