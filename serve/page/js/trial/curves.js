/** A trial's metrics step by step, its memory over time, and its attempts, all from what it reported. */

import { get } from "../api.js";
import { h, keyed, setText } from "../dom.js";
import { THEME, clear, colour, draw } from "../figure.js";
import { number, when } from "../format.js";
import { asked } from "../sweep/model.js";

const PAGE = 10_000;
const MEMORY = "memory/";
const COLOURS = ["accent", "good", "warn", "bad", "quiet"];

/**
 * @param {string} api of the trial
 * @param {{objective: string, attempt: () => number, signal: AbortSignal}} options `objective`: the metric that comes
 *   first; `attempt`: the trial's last one
 * @returns {{element: HTMLElement, attempts: HTMLElement, refresh: () => Promise<void>}}
 */
export function curves(api, { objective, attempt, signal }) {
  const results = [];
  const grid = h("div", { class: "charts small-charts" });
  const empty = h("p", { class: "empty" }, "Nothing reported yet: the first step's metrics show here.");
  const rows = h("tbody", null);
  const attempts = h("table", { class: "table" }, h("thead", null, h("tr", null, ...["Attempt", "Steps", "First report", "Last report"].map((name, at) => h("th", { scope: "col", class: at < 2 ? "num" : "" }, name)))), rows);

  async function refresh() {
    let more = true;
    let changed = false;
    while (more && !signal.aborted) {
      const { items } = await get(asked(`${api}/results`, { after_step: results.at(-1)?.step ?? 0, limit: PAGE }), { signal });
      results.push(...items);
      changed ||= items.length > 0;
      more = items.length === PAGE;
    }
    if (changed) show();
    showAttempts();
  }

  function show() {
    empty.hidden = results.length > 0;
    const charts = plan(results, objective);
    keyed(grid, charts, ({ title }) => title, makeChart, (element, { traces }) => drawCurves(element, traces, results));
  }

  function showAttempts() {
    const reported = new Map(spans(results).map((span) => [span.attempt, span]));
    const numbers = Array.from({ length: Math.max(attempt(), ...reported.keys()) }, (_, at) => at + 1);
    keyed(rows, numbers, (each) => each, makeAttempt, (row, each) => {
      const span = reported.get(each);
      setText(row.children[1], !span ? "none" : span.first === span.last ? `${span.first}` : `${span.first} – ${span.last}`);
      setText(row.children[2], when(span?.began));
      setText(row.children[3], when(span?.ended));
    });
  }

  window.addEventListener(THEME, () => results.length && show(), { signal });
  signal.addEventListener("abort", () => grid.querySelectorAll(".plot").forEach(clear));
  return { element: h("section", { class: "trial-curves", "aria-label": "Metrics" }, empty, grid), attempts, refresh };
}

/** Which charts there are: one per metric, the objective's first, and one for all of memory. */
function plan(results, objective) {
  const names = new Set();
  for (const { metrics } of results) for (const [name, value] of Object.entries(metrics)) if (typeof value === "number") names.add(name);
  const others = [...names].filter((name) => name !== objective && !name.startsWith(MEMORY));
  const memory = [...names].filter((name) => name.startsWith(MEMORY));
  const charts = [...(names.has(objective) ? [objective] : []), ...others].map((name) => ({ title: name, traces: [name] }));
  return memory.length ? [...charts, { title: "Memory (MB)", traces: memory }] : charts;
}

function makeAttempt(number) {
  return h("tr", null, h("td", { class: "num" }, number), h("td", { class: "num" }), h("td"), h("td"));
}

function makeChart({ title }) {
  return h("section", { class: "panel chart", "aria-label": title, dataset: { figure: title } }, h("div", { class: "chart-head" }, h("h2", null, title)), h("div", { class: "plot" }));
}

async function drawCurves(element, names, results) {
  const steps = results.map(({ step }) => step);
  const colors = COLOURS.map(colour);
  const data = names.map((name, at) => ({
    type: results.length > 2000 ? "scattergl" : "scatter",
    mode: results.length > 60 ? "lines" : "lines+markers",
    name: name.replace(MEMORY, ""),
    x: steps,
    y: results.map(({ metrics }) => metrics[name] ?? null),
    line: { width: 2, color: colors[at % colors.length] },
    marker: { size: 5 },
    hovertemplate: `step %{x}<br>${name.replace(MEMORY, "")} %{y:.5g}<extra></extra>`,
  }));
  const joins = spans(results).slice(1).map(({ first }) => ({ type: "line", x0: first - 0.5, x1: first - 0.5, yref: "paper", y0: 0, y1: 1, line: { width: 1, dash: "dot", color: colour("quiet") } }));
  const axis = { gridcolor: colour("line"), zeroline: false, automargin: true };
  const layout = {
    xaxis: { ...axis, title: { text: "step", standoff: 6 } },
    yaxis: axis,
    shapes: joins, // where an attempt ends and another goes on
    showlegend: names.length > 1,
    legend: { orientation: "h", y: 1.15, x: 0 },
    uirevision: names[0],
  };
  await draw(element.lastChild, { data, layout });
  element.dataset.drawn = "";
}

/** The attempts that reported something, with what they did. */
function spans(results) {
  const found = [];
  for (const { attempt, step, reported_at: at } of results) {
    const last = found.at(-1);
    if (last?.attempt === attempt) Object.assign(last, { last: step, ended: at });
    else found.push({ attempt, first: step, last: step, began: at, ended: at });
  }
  return found;
}
