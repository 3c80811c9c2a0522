/** What a trial printed, attempt by attempt: as it is printed, and searched. */

import { stream } from "../api.js";
import { h, replace, setText } from "../dom.js";
import { whileSeen } from "../seen.js";
import { asked } from "../sweep/model.js";
import { state } from "../url.js";

const KEPT_LINES = 5000;
const SHOW_EVERY_MS = 200;
const AGAIN_MS = 2000;

/**
 * @param {string} api of the trial
 * @param {() => object} trial as it is now
 * @param {AbortSignal} signal
 * @returns {{element: HTMLElement, changed: () => void}} `changed`: the trial may have another attempt
 */
export function logs(api, trial, signal) {
  const output = h("pre", { class: "log", role: "region", tabindex: "0", "aria-label": "What the attempt printed" });
  const note = h("span", { class: "quiet count", role: "status" });
  const attempts = h("select", { id: "attempt" });
  const search = h("input", { type: "search", placeholder: "Search the log", "aria-label": "Search the log", value: state.get("log") ?? "" });
  const tail = h("input", { type: "checkbox", id: "follow", checked: true });
  let lines = [];
  let unfinished = "";
  let dropped = 0;
  let offset = 0; // bytes that were read
  let decoder = null;
  let over = false; // there is no more to come
  let problem = "";
  let reading = null;
  let again = null;
  let timer = null;
  let known = 0;
  let seen = false;

  function show() {
    timer = null;
    const wanted = search.value.toLowerCase();
    const all = unfinished ? [...lines, unfinished] : lines;
    const found = wanted ? all.filter((line) => line.toLowerCase().includes(wanted)) : all;
    const next = found.join("\n");
    if (output.textContent !== next) {
      if (wanted) replace(output, ...found.flatMap((line) => [...marked(line, wanted), "\n"]));
      else output.textContent = next;
      if (tail.checked) output.scrollTop = output.scrollHeight;
    }
    const left = dropped ? `the last ${KEPT_LINES.toLocaleString("en")} lines of it` : "";
    const none = over ? "Nothing was printed." : "Nothing printed so far.";
    setText(note, problem || (wanted ? `${found.length.toLocaleString("en")} of ${all.length.toLocaleString("en")} lines` : all.length ? left : none));
  }

  function soon() {
    timer ??= setTimeout(show, SHOW_EVERY_MS);
  }

  /** Another attempt, from its first line on. */
  function read() {
    rest();
    lines = [];
    unfinished = "";
    dropped = 0;
    offset = 0;
    decoder = new TextDecoder();
    over = false;
    problem = "";
    output.textContent = "";
    soon();
    follow();
  }

  /** Goes on where it was, as long as somebody looks. */
  async function follow() {
    if (over || reading || !seen || !attempts.value) return;
    clearTimeout(again);
    const mine = (reading = new AbortController());
    try {
      const answer = await stream(asked(`${api}/logs`, { attempt: attempts.value, offset, follow: "true" }), { signal: mine.signal });
      await take(answer.body.getReader(), mine.signal);
      if (mine.signal.aborted) return;
      over = true;
      soon();
    } catch (error) {
      if (mine.signal.aborted) return;
      if (error.status >= 400 && error.status < 500) {
        over = true;
        problem = error.detail || error.message;
        soon();
      } else {
        again = setTimeout(follow, AGAIN_MS); // the service went away, or the way to it
      }
    } finally {
      if (reading === mine) reading = null;
    }
  }

  function rest() {
    clearTimeout(again);
    reading?.abort();
    reading = null;
  }

  async function take(reader, aborted) {
    for (;;) {
      const { value, done } = await reader.read();
      if (done || aborted.aborted) return;
      offset += value.length;
      const parts = (unfinished + decoder.decode(value, { stream: true })).split("\n");
      unfinished = parts.pop();
      for (const line of parts) lines.push(line);
      if (lines.length > KEPT_LINES) dropped += lines.splice(0, lines.length - KEPT_LINES).length;
      soon();
    }
  }

  function changed() {
    const { attempt } = trial();
    if (attempt === known) return;
    const atLast = known === 0 || Number(attempts.value) === known;
    known = attempt;
    const numbers = Array.from({ length: attempt }, (_, at) => attempt - at);
    const chosen = atLast ? attempt : attempts.value;
    replace(attempts, ...numbers.map((number) => h("option", { value: number }, number === attempt ? `${number}, the last` : `${number}`)));
    attempts.value = chosen;
    if (atLast) read();
  }

  attempts.addEventListener("change", read, { signal });
  search.addEventListener("input", () => {
    state.set({ log: search.value });
    show();
  }, { signal });
  output.addEventListener("scroll", () => {
    if (output.scrollTop + output.clientHeight < output.scrollHeight - 40) tail.checked = false; // who scrolls up reads
  }, { signal });
  tail.addEventListener("change", () => tail.checked && (output.scrollTop = output.scrollHeight), { signal });
  whileSeen(() => {
    seen = true;
    follow();
  }, () => {
    seen = false;
    rest();
  }, signal);
  signal.addEventListener("abort", () => clearTimeout(timer));
  const element = h(
    "section",
    { class: "panel logs", "aria-labelledby": "logs-title" },
    h("div", { class: "chart-head" }, h("h2", { id: "logs-title" }, "Log"), note, h("div", { class: "toolbar" },
      h("label", { class: "inline-field", htmlFor: "attempt" }, "Attempt ", attempts), search, h("label", { class: "inline-field" }, tail, " Follow"))),
    output,
  );
  return { element, changed };
}

function marked(line, wanted) {
  const lower = line.toLowerCase();
  const parts = [];
  let from = 0;
  for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, from)) {
    parts.push(line.slice(from, at), h("mark", null, line.slice(at, at + wanted.length)));
    from = at + wanted.length;
  }
  return [...parts, line.slice(from)];
}
