/** The head of a sweep's page: how it stands, in one look. */

import { h, keyed, setText } from "../dom.js";
import { ago, duration, number, stateLabel } from "../format.js";
import { ticking } from "./pace.js";
import { hasEnded, progress, standing, timeLeft } from "./words.js";

const TICK_MS = 5_000;

/**
 * @param {import("./model.js").Model} model
 * @param {{actions: HTMLElement, signal: AbortSignal}} options `actions`: what can be done, to its right
 * @returns {HTMLElement}
 */
export function header(model, { actions, signal }) {
  const chip = h("span", { class: "chip" });
  const link = h("span", { class: "link-state quiet", role: "status" });
  const bar = h("progress", { class: "sweep-bar", max: 1, "aria-label": "Trials that are over" });
  const facts = h("dl", { class: "facts" });
  const why = h("p", { class: "sweep-why" });
  const element = h(
    "header",
    { class: "sweep-head" },
    h("div", { class: "sweep-title" }, h("a", { href: "/", class: "quiet" }, "Sweeps"), h("span", { class: "quiet", "aria-hidden": "true" }, "▸"),
      h("h1", null, model.sweep.name), chip, link, actions),
    bar,
    facts,
    why,
  );

  function show() {
    const { sweep } = model;
    const label = stateLabel(sweep.state);
    if (chip.textContent !== label) {
      chip.className = `chip state-${sweep.state}`;
      chip.textContent = label;
    }
    document.title = `${sweep.name} · ${sweep.state} · Toprung`;
    const { done, total, started } = progress(sweep);
    if (total) bar.value = done / total;
    else if (hasEnded(sweep)) bar.value = 1;
    else bar.removeAttribute("value");
    setText(why, standing(sweep));
    why.classList.toggle("bad", sweep.state === "failed");
    const items = factsOf(sweep, model, { done, total, started });
    keyed(facts, items, (item) => item[0], makeFact, updateFact);
  }

  model.addEventListener("sweep", show, { signal });
  ticking(TICK_MS, show, signal);
  show();
  return Object.assign(element, {
    /** How the stream of events does: "open", "lost" or "ended". */
    connection(state) {
      element.dataset.connection = state;
      setText(link, { open: "live", lost: "connection lost, trying again…", ended: "" }[state]);
      link.classList.toggle("bad", state === "lost");
    },
  });
}

function factsOf(sweep, model, { done, total, started }) {
  const { metric } = sweep.spec;
  const running = (sweep.trials.running ?? 0).toLocaleString("en");
  const left = timeLeft(sweep);
  const { best } = sweep;
  return [
    ["trials", total === null ? `${done.toLocaleString("en")} over` : `${done.toLocaleString("en")} of ${total.toLocaleString("en")}`, done < started ? `${started.toLocaleString("en")} begun` : ""],
    ["running", running],
    [`best ${metric.name}`, best ? number(best.value) : "–", best ? `trial ${best.number}, step ${best.step}` : "", best ? model.trial(best.number) : null],
    ["GPU-hours", number(sweep.gpu_hours, 3)],
    ...(sweep.cost ? [["cost", number(sweep.cost, 3)]] : []),
    hasEnded(sweep)
      ? ["ended", ago(sweep.ended_at)]
      : ["time left", left === null ? "–" : `≈ ${duration(left)}`],
    ["submitted", ago(sweep.created_at), sweep.owner ? `by ${sweep.owner}` : ""],
  ];
}

function makeFact([name]) {
  return h("div", null, h("dt", null, name), h("dd", null, h("span", { class: "fact" }), h("a", { class: "fact-more quiet" })));
}

function updateFact(element, [, text, more = "", href = null]) {
  const [shown, link] = element.lastChild.children;
  setText(shown, text);
  setText(link, more);
  if (href) link.href = href;
}
