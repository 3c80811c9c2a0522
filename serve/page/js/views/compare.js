// Sweeps beside each other: what they found in how many trials, where their specs differ, what won.

import { events, get } from "../api.js";
import { showError } from "../dialog.js";
import { h, replace, scrolling, setText } from "../dom.js";
import { THEME, clear, colour, draw } from "../figure.js";
import { number, stateLabel, value } from "../format.js";
import { lineColour } from "../palette.js";
import { path, state } from "../url.js";
import { numFinished } from "./sweeps/rows.js";

const MAX = 8;
const COALESCE_MS = 2_000;

/** Shows the view; see app.js. `?sweeps=` ids or names, separated by commas. */
export async function show(root, { signal }) {
  const parts = build(root, add);
  const chosen = () => (state.get("sweeps") ?? "").split(",").filter(Boolean).slice(0, MAX);
  let sides = [];
  let timer = null;
  let loading = new AbortController();

  window.addEventListener(THEME, () => plot(parts.plot, sides), { signal });
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    loading.abort();
    clear(parts.plot);
  });
  await load();
  events("/v1/events?last_event_id=newest", onEvent, { signal, onState });

  async function load() {
    loading.abort(); // an older answer must not come after this one
    const mine = (loading = new AbortController());
    const answers = await Promise.allSettled(chosen().map((name) => sideOf(name, mine.signal)));
    if (mine.signal.aborted || signal.aborted) return;
    const failed = answers.filter((answer) => answer.status === "rejected").map((answer) => answer.reason);
    sides = answers.filter((answer) => answer.status === "fulfilled").map((answer) => answer.value);
    replace(parts.errors);
    if (failed.length) showError(parts.errors, failed[0], "The others are shown.");
    parts.all.hidden = sides.length === 0;
    replace(parts.hint, sides.length < 2 ? nextStep(sides.length) : null);
    replace(parts.chips, sides.map((side, index) => chip(side, index, remove)));
    if (!sides.length) return;
    replace(parts.best, bestTable(sides));
    replace(parts.differences, differencesTable(sides));
    await plot(parts.plot, sides);
  }

  function onEvent(event) {
    if (sides.some((side) => side.sweep.id === event.sweep_id)) soon();
  }

  function onState(name) {
    setText(parts.live, name === "lost" ? "○ connection lost, trying again" : "");
    if (name === "open") soon(); // whatever happened while nobody listened
  }

  function soon() {
    timer ??= setTimeout(() => {
      timer = null;
      load();
    }, COALESCE_MS);
  }

  function add(name) {
    state.set({ sweeps: [...new Set([...chosen(), name])].join(",") });
    return load();
  }

  function remove(side) {
    const left = chosen().filter((name) => name !== side.asked);
    state.set({ sweeps: left.join(",") || null });
    return load();
  }
}

async function sideOf(asked, signal) {
  const sweep = await get(path`/v1/sweeps/${asked}`, { signal });
  const [best, curve] = await Promise.all([
    get(path`/v1/sweeps/${sweep.id}/best?k=1`, { signal }),
    get(path`/v1/sweeps/${sweep.id}/best-so-far`, { signal }).catch(() => ({ points: [] })), // then there is no line of it
  ]);
  return { asked, sweep, best: best.items[0] ?? null, points: curve.points };
}

function nextStep(count) {
  const text = count ? "Add a second sweep by its name or id, or tick several in the list." : "Tick the sweeps to compare in the list, or add them here by name or id.";
  return h("div", { class: "empty" }, h("p", null, text), h("a", { class: "button", href: "/" }, "All sweeps"));
}

function chip(side, index, remove) {
  const { sweep } = side;
  const swatch = h("i", { class: "swatch", style: { background: lineColour(index) } });
  const leave = h("button", { class: "close", ariaLabel: `Take ${sweep.name} out`, onclick: () => remove(side) }, "×");
  return h("span", { class: "side-chip" }, swatch, h("a", { href: path`/sweeps/${sweep.id}` }, sweep.name), leave);
}

async function plot(element, sides) {
  const goals = new Set(sides.map((side) => side.sweep.spec.metric.name));
  const data = sides.map((side, index) => ({
    type: "scatter",
    mode: "lines",
    name: side.sweep.name,
    x: side.points.map((point) => point[0]),
    y: side.points.map((point) => point[1]),
    line: { shape: "hv", width: 2, color: lineColour(index) },
    hovertemplate: "trial %{x}: %{y}<extra>%{fullData.name}</extra>",
  }));
  if (!data.some((trace) => trace.x.length)) {
    replace(element, h("p", { class: "empty" }, "There are no values to draw yet."));
    return;
  }
  const axis = { gridcolor: colour("line"), zeroline: false, automargin: true };
  const layout = {
    xaxis: { ...axis, title: { text: "trial" } },
    yaxis: { ...axis, title: { text: goals.size === 1 ? `best ${[...goals][0]} so far` : "best value so far" } },
    showlegend: false,
    hovermode: "closest",
    uirevision: "compare",
  };
  if (element.querySelector(".empty")) replace(element);
  await draw(element, { data, layout });
}

function bestTable(sides) {
  const names = [...new Set(sides.flatMap((side) => Object.keys(side.best?.trial.params ?? {})))].sort();
  const best = (side) => (side.best ? number(side.best.trial.value) : "–");
  const rows = [
    ["state", sides.map((side) => h("span", { class: `chip state-${side.sweep.state}` }, stateLabel(side.sweep.state)))],
    ["objective", sides.map((side) => `${side.sweep.spec.metric.goal} ${side.sweep.spec.metric.name}`)],
    ["best value", sides.map((side) => h("strong", null, best(side)))],
    ["best trial", sides.map((side) => (side.best ? trialLink(side) : "–"))],
    ["trials", sides.map(({ sweep }) => `${number(numFinished(sweep))}${sweep.num_trials ? ` of ${number(sweep.num_trials)}` : ""}`)],
    ["GPU-hours", sides.map((side) => number(side.sweep.gpu_hours, 3))],
    ...names.map((name) => [h("code", null, name), sides.map((side) => value(side.best?.trial.params[name]))]),
  ];
  return table(sides, rows);
}

function trialLink({ sweep, best }) {
  return h("a", { href: path`/sweeps/${sweep.id}/trials/${best.trial.number}` }, `trial ${best.trial.number}, step ${best.trial.best_step ?? "–"}`);
}

function differencesTable(sides) {
  const specs = sides.map((side) => flat(side.sweep.spec));
  const pointers = [...new Set(specs.flatMap((spec) => [...spec.keys()]))].filter((pointer) => pointer !== "/name");
  const rows = pointers
    .filter((pointer) => new Set(specs.map((spec) => spec.get(pointer))).size > 1)
    .map((pointer) => [h("code", null, pointer), specs.map((spec) => spec.get(pointer) ?? "–")]);
  return rows.length ? table(sides, rows) : h("p", { class: "quiet" }, "Their specs are the same.");
}

/** A spec's values by their JSON pointers, as text. */
function flat(node, pointer = "", found = new Map()) {
  if (node === null || node === undefined) return found;
  const inner = typeof node === "object" && (!Array.isArray(node) || node.some((each) => typeof each === "object"));
  if (inner) for (const [name, each] of Object.entries(node)) flat(each, `${pointer}/${name}`, found);
  else found.set(pointer, Array.isArray(node) ? node.map(value).join(", ") : value(node));
  return found;
}

function table(sides, rows) {
  const head = sides.map((side, index) => h("th", { scope: "col" }, h("i", { class: "swatch", style: { background: lineColour(index) } }), side.sweep.name));
  const body = rows.map(([name, cells]) => h("tr", null, h("th", { scope: "row" }, name), cells.map((cell) => h("td", null, cell))));
  const made = h("table", { class: "table compared" }, h("thead", null, h("tr", null, h("td"), head)), h("tbody", null, body));
  return scrolling("Sweeps beside each other", made);
}

function build(root, add) {
  const name = h("input", { placeholder: "name or id", ariaLabel: "Add a sweep by name or id", required: true });
  const onAdd = (event) => {
    event.preventDefault();
    add(name.value.trim());
    name.value = "";
  };
  const parts = Object.fromEntries(["chips", "errors", "hint", "best", "differences"].map((each) => [each, h("div", { class: each })]));
  parts.live = h("span", { class: "live warn", role: "status" });
  parts.plot = h("div", { class: "figure compare-plot" });
  parts.all = h(
    "div",
    { class: "stack", hidden: true },
    h("section", { class: "panel" }, h("h2", null, "Best so far"), parts.plot),
    h("section", { class: "panel" }, h("h2", null, "Best configurations"), parts.best),
    h("section", { class: "panel" }, h("h2", null, "Where the specs differ"), parts.differences),
  );
  replace(
    root,
    h("div", { class: "toolbar" }, h("h1", null, "Compare"), parts.live, parts.chips, h("span", { class: "grow" }), h("form", { class: "filters", onsubmit: onAdd }, name, h("button", { class: "button" }, "Add"))),
    parts.errors,
    parts.hint,
    parts.all,
  );
  return parts;
}
