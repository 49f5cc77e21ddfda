// The only way to the server: JSON in and out, the proof against forged requests, time limits, and one kind of failure.

import { WORDS } from "./words.js";

const PATIENCE_MS = 25_000;

let csrf = null;
let underway = 0;
let whenChanged = () => {};

export function onUnderway(listener) {
  whenChanged = listener;
}

export const isUnderway = () => underway > 0;

// Whatever went wrong, with the fields of the server's problem() so that it can be shown in either language.
export class Problem extends Error {
  constructor(fields) {
    super(fields.detail || fields.title || "");
    Object.assign(this, fields);
  }

  // True: nothing is wrong with what was asked, the same may work later.
  get mayWorkLater() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }

  // True: the question was sound, but its place is none of this city's.
  get isOutside() {
    return this.type === "urn:wanmi:error:UnfitCoordinates";
  }
}

function ownProblem(key, status, mend = null) {
  const [zh, en] = WORDS[key].map((text) => text.replace("{status}", status));
  return new Problem({
    type: `urn:wanmi:console:${key}`,
    status,
    title: en,
    title_zh: zh,
    detail: "",
    detail_zh: "",
    mend: mend && WORDS[mend][1],
    mend_zh: mend && WORDS[mend][0],
  });
}

async function problemOf(response) {
  try {
    const body = await response.json();
    if (body && (body.detail || body.title)) return new Problem({ ...body, status: response.status });
  } catch {
    // no JSON: a proxy's page or nothing at all; said in our own words below
  }
  return response.status >= 502
    ? ownProblem("network", response.status, "network_mend")
    : ownProblem("strange_answer", response.status);
}

// Ask the server. Raises Problem; an aborted question raises AbortError, which nobody needs to see.
export async function ask(path, { method = "GET", body, headers = {}, signal } = {}) {
  const sent = { Accept: "application/json", ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  if (method !== "GET" && csrf) sent["X-CSRF-Token"] = csrf;
  const limit = AbortSignal.timeout(PATIENCE_MS);
  underway += 1;
  whenChanged();
  try {
    const response = await fetch(path, {
      method,
      headers: sent,
      credentials: "same-origin",
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    if (!response.ok) throw await problemOf(response);
    const answer =
      response.status === 204
        ? null
        : await response.json().catch((error) => {
            if (error.name === "AbortError" || error.name === "TimeoutError") throw error;
            throw ownProblem("strange_answer", response.status);
          });
    return { answer, status: response.status };
  } catch (error) {
    if (error instanceof Problem) throw error;
    if (signal?.aborted) throw new DOMException("asked something newer", "AbortError");
    if (error.name === "TimeoutError") throw ownProblem("slow", 0, "network_mend");
    throw ownProblem("network", 0, "network_mend");
  } finally {
    underway -= 1;
    whenChanged();
  }
}

export const get = async (path, signal) => (await ask(path, { signal })).answer;

// ?a=1&b=2 of what is there; nothing for empty values.
export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

export async function readSession() {
  return keepSession(await get("/session"));
}

export async function logIn(name, password) {
  return keepSession((await ask("/session", { method: "POST", body: { name, password } })).answer);
}

export async function logOut() {
  await ask("/session", { method: "DELETE" });
  return keepSession({ account: null });
}

function keepSession(answer) {
  csrf = answer.csrf || null;
  return answer.account;
}

// A question of which only the latest answer counts: asking anew cuts off the older one.
export class Latest {
  #controller = null;

  // The answer, or undefined if something newer was asked meanwhile. Raises Problem.
  async ask(path) {
    this.cancel();
    const mine = (this.#controller = new AbortController());
    try {
      const answer = await get(path, mine.signal);
      return mine === this.#controller ? answer : undefined;
    } catch (error) {
      if (mine !== this.#controller || error.name === "AbortError") return undefined;
      throw error;
    }
  }

  cancel() {
    this.#controller?.abort();
    this.#controller = null;
  }
}
