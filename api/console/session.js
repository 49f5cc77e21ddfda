// Who is logged in: the button in the head and the dialog behind it. Others ask for a log-in with loggedIn().

import { logIn, logOut, readSession } from "./api.js";
import { nameOf, sayIfKnown, say, translate } from "./language.js";
import { at, button, icon, make, problemCard } from "./markup.js";
import { announce, notice } from "./panel.js";
import { change, listen, state } from "./state.js";

let waiting = []; // those who wait for somebody to log in: called with true or false

export function startSession() {
  at("account").addEventListener("click", () => openDialog());
  at("login").addEventListener("close", () => tell(Boolean(state.account)));
  at("login").addEventListener("click", (event) => {
    if (event.target === at("login")) at("login").close();
  }); // its backdrop
  listen((changed) => {
    if (changed.has("account")) drawButton();
  });
  document.addEventListener("language", drawButton);
  drawButton();
}

// True as soon as somebody is logged in; false if the person closes the dialog.
export function loggedIn(reason = null) {
  if (state.account) return Promise.resolve(true);
  openDialog(reason);
  return new Promise((resolve) => {
    waiting.push(resolve);
  });
}

// After the server has said that the session is over.
export async function refreshSession() {
  change({ account: await readSession().catch(() => null) });
}

function tell(whether) {
  const listeners = waiting;
  waiting = [];
  for (const listener of listeners) listener(whether);
}

const rolesOf = (account) => account.roles.map((role) => sayIfKnown(`role_${role}`, role)).join(", ");

function drawButton() {
  const { account } = state;
  const said = account
    ? say("logged_in_as", { name: nameOf(account, "display"), role: rolesOf(account) })
    : say("login");
  at("account").replaceChildren(icon("person"), make("span", {}, said));
  at("account").setAttribute("aria-label", said);
  at("account").title = said;
}

function openDialog(reason) {
  const dialog = at("login");
  dialog.replaceChildren(state.account ? accountView() : loginView(reason));
  translate(dialog);
  if (!dialog.open) dialog.showModal();
}

const head = (word) =>
  make(
    "div",
    { class: "section-head" },
    make("h2", { id: "login-title", word }),
    button({ class: "tool", label: "close", on: { click: () => at("login").close() } }, icon("close")),
  );

function accountView() {
  const { account } = state;
  const problem = make("div");
  return make(
    "div",
    {},
    head("logged_in"),
    make("p", { class: "name", names: { zh: account.display_zh, en: account.display_en } }),
    make(
      "p",
      { class: "note" },
      [account.name, rolesOf(account), account.unit && nameOf(account.unit)].filter(Boolean).join(" · "),
    ),
    problem,
    button({
      id: "log-out",
      class: "second",
      word: "logout",
      on: {
        click: async () => {
          try {
            change({ account: await logOut() });
            at("login").close();
            notice(make("span", { word: "logged_out" }));
          } catch (error) {
            problem.replaceChildren(problemCard(error));
          }
        },
      },
    }),
  );
}

// What is wrong with a log-in is its detail; "it is not known who asks" tells nobody anything.
const inShort = ({ title, title_zh: titleZh, detail, detail_zh: detailZh, mend, mend_zh: mendZh }) => ({
  title: detail || title,
  title_zh: detailZh || titleZh,
  mend,
  mend_zh: mendZh,
});

function loginView(reason) {
  const field = (id, word, type, autocomplete, first = false) =>
    make(
      "label",
      { class: "field" },
      make("span", { word }),
      make("input", {
        id,
        type,
        name: id,
        autocomplete,
        required: true,
        autocapitalize: "none",
        spellcheck: "false",
        maxlength: "200",
        autofocus: first,
      }),
    );
  const problem = make("div");
  const send = make("button", { id: "log-in", class: "main", type: "submit", word: "login" });
  return make(
    "form",
    {
      on: {
        submit: async (event) => {
          event.preventDefault();
          send.disabled = true;
          problem.replaceChildren();
          try {
            change({ account: await logIn(at("login-name").value.trim(), at("login-password").value) });
            announce(say("logged_in"));
            at("login").close();
          } catch (error) {
            problem.replaceChildren(problemCard(error.status === 401 ? inShort(error) : error));
            at("login-password").select();
          }
          send.disabled = false;
        },
      },
    },
    head("login"),
    reason && make("p", { word: reason }),
    field("login-name", "account_name", "text", "username", true),
    field("login-password", "password", "password", "current-password"),
    problem,
    send,
    state.city?.simulated && make("p", { class: "note", word: "login_demo" }),
  );
}
