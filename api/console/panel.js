// The panel of answers: at the right on a wide screen, a sheet from below on a phone. It opens and closes, says
// aloud what came, and gives the focus back where it was. What stands in it is made by answers, listing and report.

import { translate } from "./language.js";
import { at, button, icon, make } from "./markup.js";

let whenClosed = () => {};
let focusBefore = null;
let byKeyboard = false;

export function startPanel() {
  addEventListener(
    "keydown",
    () => {
      byKeyboard = true;
    },
    true,
  );
  addEventListener(
    "pointerdown",
    () => {
      byKeyboard = false;
    },
    true,
  );
}

export const isOpen = () => !at("panel").hidden;

// title: children of the heading. under: what stands below it. body: children. foot: what stays visible at the end.
// closed: called when a person closes the panel. again: the same thing drawn anew, so focus and scroll stay.
export function openPanel({ kind, title, under = [], body, foot = [], closed = () => {}, again = false }) {
  const panel = at("panel");
  const inside = panel.contains(document.activeElement);
  if (panel.hidden) focusBefore = document.activeElement;
  whenClosed = closed;
  panel.dataset.kind = kind;
  const scroll = at("panel-body").scrollTop;
  at("panel-head").replaceChildren(
    make("h2", { id: "panel-title", tabindex: "-1" }, title),
    button(
      { id: "panel-close", class: "tool", label: "close", tip: "close", on: { click: closePanel } },
      icon("close"),
    ),
    ...under,
  );
  at("panel-body").replaceChildren(...[body].flat().filter(Boolean));
  at("panel-foot").replaceChildren(...foot);
  at("panel-foot").hidden = !foot.length;
  panel.hidden = false;
  document.body.dataset.panel = kind;
  panel.removeAttribute("aria-busy");
  at("panel-body").scrollTop = again ? scroll : 0;
  if (!again && (byKeyboard || inside)) at("panel-title").focus({ preventScroll: true });
}

// While the next answer is on its way the last one stays, paled.
export function waitInPanel(title, asking) {
  if (isOpen()) at("panel").setAttribute("aria-busy", "true");
  else openPanel({ kind: "waiting", title, body: make("p", { class: "waiting", word: asking }) });
}

export function closePanel() {
  if (!isOpen()) return;
  hidePanel();
  const closed = whenClosed;
  whenClosed = () => {};
  closed();
}

// Without telling anyone: what was shown is gone already.
export function hidePanel() {
  const inside = at("panel").contains(document.activeElement);
  at("panel").hidden = true;
  delete document.body.dataset.panel;
  if (inside) (focusBefore?.isConnected ? focusBefore : document.querySelector("#map canvas"))?.focus();
}

// Read out by screen readers; the panel itself is not live, it would be read from end to end.
export function announce(text) {
  at("said").textContent = text;
}

// A line over the map for what concerns the page and not one answer; it goes by itself unless there is something to do.
let noticeEnds = 0;
export function notice(children, { stays = false } = {}) {
  clearTimeout(noticeEnds);
  const line = at("notice");
  line.replaceChildren(
    ...[children].flat(),
    button(
      {
        class: "tool",
        label: "close",
        on: {
          click: () => {
            line.hidden = true;
          },
        },
      },
      icon("close"),
    ),
  );
  translate(line);
  line.hidden = false;
  if (!stays)
    noticeEnds = setTimeout(() => {
      line.hidden = true;
    }, 6000);
}

export function hideNotice() {
  at("notice").hidden = true;
}
