// A sweep as a row of the list.

import { get } from "../../api.js";
import { h, replace, setText } from "../../dom.js";
import { ago, duration, number, stateLabel, when } from "../../format.js";
import { sparkline } from "../../sparkline.js";
import { path } from "../../url.js";

const FINISHED = ["completed", "pruned", "failed", "cancelled"];

/** How many of a sweep's trials are over. */
export function numFinished(sweep) {
  return FINISHED.reduce((sum, name) => sum + (sweep.trials[name] ?? 0), 0);
}

function share(sweep) {
  return sweep.num_trials ? numFinished(sweep) / sweep.num_trials : null;
}

/** By name: the label, what it is sorted by, whether the largest comes first by itself. */
export const COLUMNS = {
  name: { label: "Name", by: (sweep) => sweep.name },
  state: { label: "State", by: (sweep) => sweep.state },
  progress: { label: "Trials", by: share, down: true },
  best: { label: "Best", by: (sweep) => sweep.best?.value ?? null, num: true },
  gpu: { label: "GPU-h", by: (sweep) => sweep.gpu_hours, down: true, num: true },
  cost: { label: "Cost", by: (sweep) => sweep.cost, down: true, num: true },
  owner: { label: "Owner", by: (sweep) => sweep.owner },
  age: { label: "Submitted", by: (sweep) => sweep.created_at, down: true },
};

/** The sweeps sorted by a column, those without a value last; as they come where there is no such column. */
export function order(sweeps, name, down) {
  const column = COLUMNS[name];
  if (!column) return sweeps;
  const sign = down ? -1 : 1;
  return sweeps.sort((left, right) => {
    const [a, b] = [column.by(left), column.by(right)];
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
  });
}

/**
 * The row of a sweep, empty as yet.
 *
 * @param {Object} sweep
 * @param {{signal: AbortSignal, chosen: Set<string>, onChoice: (id: string, on: boolean) => void}} options
 */
export function makeRow(sweep, { signal, chosen, onChoice }) {
  const box = h("input", { type: "checkbox", ariaLabel: `Compare ${sweep.name}`, checked: chosen.has(sweep.id) });
  box.addEventListener("change", () => onChoice(sweep.id, box.checked));
  const parts = {
    name: h("a", { href: path`/sweeps/${sweep.id}` }, sweep.name),
    state: h("span"),
    where: h("small", { class: "quiet" }),
    bar: h("i"),
    trials: h("span", { class: "num" }),
    best: h("span", { class: "num" }),
    spark: h("span", { class: "spark" }),
    gpu: h("span"),
    cost: h("span"),
    owner: h("span"),
    age: h("time"),
  };
  const cell = (name, ...children) => h("td", { role: "cell", class: `${name} ${COLUMNS[name].num ? "num" : ""}` }, children);
  const row = h(
    "tr",
    { role: "row" },
    h("td", { role: "cell", class: "choose" }, h("label", { class: "hit" }, box)),
    cell("name", parts.name),
    cell("state", parts.state, parts.where),
    cell("progress", h("div", { class: "bar", ariaHidden: "true" }, parts.bar), parts.trials),
    cell("best", parts.spark, parts.best),
    cell("gpu", parts.gpu),
    cell("cost", parts.cost),
    cell("owner", parts.owner),
    cell("age", parts.age),
  );
  row.parts = parts;
  row.curve = new Curve(parts.spark, signal);
  return row;
}

/** Writes into a row how its sweep stands. */
export function updateRow(row, sweep, currency) {
  const { parts } = row;
  parts.state.className = `chip state-${sweep.state}`;
  setText(parts.state, stateLabel(sweep.state));
  parts.state.title = sweep.reason ?? "";
  const finished = numFinished(sweep);
  parts.bar.style.setProperty("width", `${Math.min(100, 100 * (share(sweep) ?? 0))}%`);
  setText(parts.trials, sweep.num_trials ? `${number(finished)}/${number(sweep.num_trials)}` : number(finished));
  setText(parts.best, number(sweep.best?.value));
  parts.best.title = sweep.best ? `${sweep.spec.metric.name}, ${sweep.spec.metric.goal}d: trial ${sweep.best.number}, step ${sweep.best.step}` : "";
  setText(parts.gpu, sweep.gpu_hours ? number(sweep.gpu_hours, 3) : "–");
  setText(parts.cost, sweep.cost ? `${number(sweep.cost, 3)} ${currency}`.trim() : "–");
  setText(parts.owner, sweep.owner ?? "–");
  parts.owner.title = sweep.owner ?? "";
  updateTimes(row, sweep);
  parts.age.dateTime = sweep.created_at;
  parts.age.title = when(sweep.created_at);
  row.curve.show(sweep);
}

/** Writes what becomes another text by itself. */
export function updateTimes({ parts }, sweep) {
  setText(parts.where, where(sweep));
  setText(parts.age, ago(sweep.created_at));
}

function where(sweep) {
  if (sweep.cancel_requested && sweep.state === "running") return "ends";
  if (sweep.pause_requested && sweep.state === "running") return "pauses";
  if (!sweep.queue) return "";
  const { position, expected_start_at: start, quota } = sweep.queue;
  const wait = start ? (Date.parse(start) - Date.now()) / 1000 : null;
  return [`${position}. in line`, quota ? "waits for its owner's quota" : null, wait > 0 ? `≈ ${duration(wait)}` : null].filter(Boolean).join(", ");
}

/** The best value so far over the trials, asked for once it is to be seen, and again when the best is another one. */
class Curve {
  constructor(element, signal) {
    this.element = element;
    this.signal = signal;
    this.sweep = null;
    this.drawn = undefined;
    this.seen = false;
    const watcher = new IntersectionObserver(([entry]) => {
      this.seen = entry.isIntersecting;
      this.load();
    });
    watcher.observe(element);
    signal.addEventListener("abort", () => watcher.disconnect());
  }

  show(sweep) {
    this.sweep = sweep;
    this.load();
  }

  async load() {
    const value = this.sweep?.best?.value;
    if (!this.seen || value === undefined || value === this.drawn) return;
    this.drawn = value;
    try {
      const { points } = await get(path`/v1/sweeps/${this.sweep.id}/best-so-far`, { signal: this.signal });
      sparkline(this.element, points, this.sweep.spec.metric.goal);
    } catch {
      this.drawn = undefined; // it is tried again with the next news; the value stands beside it
      replace(this.element);
    }
  }
}
