/** What a trial printed, attempt by attempt: as it is printed, and searched. */

import { stream } from "../api.js";
import { h, replace, setText } from "../dom.js";
import { asked } from "../sweep/model.js";
import { state } from "../url.js";

const KEPT_LINES = 5000;
const SHOW_EVERY_MS = 200;

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
  let reading = null;
  let timer = null;
  let known = 0;

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
    const none = reading ? "Nothing printed so far." : "Nothing was printed.";
    setText(note, wanted ? `${found.length.toLocaleString("en")} of ${all.length.toLocaleString("en")} lines` : all.length ? left : none);
  }

  function soon() {
    timer ??= setTimeout(show, SHOW_EVERY_MS);
  }

  async function read(attempt) {
    reading?.abort();
    const mine = (reading = new AbortController());
    lines = [];
    unfinished = "";
    dropped = 0;
    output.textContent = "";
    soon();
    try {
      const answer = await stream(asked(`${api}/logs`, { attempt, follow: "true" }), { signal: mine.signal });
      await take(answer.body.pipeThrough(new TextDecoderStream()).getReader(), mine.signal);
    } catch (error) {
      if (!mine.signal.aborted) setText(note, error.detail || "The log broke off: choose the attempt again.");
      return;
    } finally {
      if (reading === mine) reading = null;
    }
    soon();
  }

  async function take(reader, aborted) {
    for (;;) {
      const { value, done } = await reader.read();
      if (done || aborted.aborted) return;
      const parts = (unfinished + value).split("\n");
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
    if (atLast) read(attempt);
  }

  attempts.addEventListener("change", () => read(attempts.value), { signal });
  search.addEventListener("input", () => {
    state.set({ log: search.value });
    show();
  }, { signal });
  output.addEventListener("scroll", () => {
    if (output.scrollTop + output.clientHeight < output.scrollHeight - 40) tail.checked = false; // who scrolls up reads
  }, { signal });
  tail.addEventListener("change", () => tail.checked && (output.scrollTop = output.scrollHeight), { signal });
  signal.addEventListener("abort", () => {
    reading?.abort();
    clearTimeout(timer);
  });
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
