// The machines: what they have, who uses them, how that was divided while this page was open.

import { get, send } from "../api.js";
import { showError, toast } from "../dialog.js";
import { h, keyed, replace, scrolling } from "../dom.js";
import { THEME, clear } from "../figure.js";
import { bytes, duration, number, stateLabel } from "../format.js";
import { path } from "../url.js";
import { Shares } from "./cluster/shares.js";

const EVERY_MS = 4_000;

/** Shows the view; see app.js. */
export async function show(root, { signal, session }) {
  const parts = build(root, session, onCheckUp);
  const shares = new Shares(parts.plot);
  let timer = null;

  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    clear(parts.plot);
  });
  window.addEventListener(THEME, () => shares.draw(), { signal });
  document.addEventListener("visibilitychange", () => !document.hidden && look(), { signal });
  const takeBack = session.scope === "admin" ? giveTrials : null;
  usage();
  await look();

  async function look() {
    clearTimeout(timer);
    try {
      const cluster = await get("/v1/cluster", { signal });
      if (parts.errors.firstChild) usage(); // of when the service was away
      replace(parts.errors);
      parts.all.hidden = false;
      drawTotals(parts.totals, cluster.nodes);
      keyed(parts.nodes, cluster.nodes, (node) => node.id, () => h("tr"), (row, node) => drawNode(row, node, takeBack));
      keyed(parts.sweeps, cluster.sweeps, (sweep) => sweep.sweep_id, () => h("tr"), drawSweep);
      parts.nobody.hidden = cluster.sweeps.length > 0;
      parts.users.hidden = cluster.sweeps.length === 0;
      shares.add(cluster.sweeps);
    } catch (error) {
      if (signal.aborted) return;
      showError(parts.errors, error, "It is asked again every few seconds.");
    }
    if (!signal.aborted && !document.hidden) timer = setTimeout(look, EVERY_MS);
  }

  async function giveTrials(node) {
    try {
      await send("DELETE", path`/v1/cluster/set-aside/${node.id}`, undefined, { signal });
      toast(`${node.name} gets trials again`, "good");
      await look();
    } catch (error) {
      if (!signal.aborted) toast(error.message, "error");
    }
  }

  async function usage() {
    try {
      const { items, currency } = await get("/v1/usage", { signal });
      replace(parts.usage, items.length ? usageTable(items, currency) : h("p", { class: "quiet" }, "Nobody has used anything yet."));
    } catch (error) {
      if (!signal.aborted) showError(parts.usage, error);
    }
  }

  async function onCheckUp(button) {
    button.disabled = true;
    replace(parts.findings, h("p", { class: "quiet", role: "status" }, "All nodes are asked how they are; that takes some seconds…"));
    try {
      const found = await send("POST", "/v1/cluster:doctor", undefined, { signal });
      replace(parts.findings, findings(found));
    } catch (error) {
      if (!signal.aborted) showError(parts.findings, error);
    }
    button.disabled = false;
  }
}

function drawTotals(element, nodes) {
  const there = nodes.filter((node) => node.state !== "lost");
  const sum = (name) => there.reduce((total, node) => total + node[name], 0);
  const totals = [
    ["Nodes", `${number(there.length)}`, null],
    ["CPUs in use", `${number(sum("cpus_used"))} of ${number(sum("cpus"))}`, sum("cpus") ? sum("cpus_used") / sum("cpus") : null],
    ["GPUs in use", sum("gpus") ? `${number(sum("gpus_used"))} of ${number(sum("gpus"))}` : "none", sum("gpus") ? sum("gpus_used") / sum("gpus") : null],
    ["Memory for trials", bytes(sum("memory_bytes")), null],
    ["Trials running", number(sum("num_trials")), null],
  ];
  replace(element, totals.map(([name, text, part]) => h("div", { class: "total" }, h("dt", null, name), h("dd", null, text, part === null ? null : bar(part)))));
}

function bar(part) {
  return h("div", { class: "bar", ariaHidden: "true" }, h("i", { style: { width: `${Math.min(100, part * 100)}%` } }));
}

/** Whether a row shows this already: then it stays as it is, since what is in it may have the focus. */
function isDrawn(row, record) {
  const key = JSON.stringify(record);
  if (row.dataset.drawn === key) return true;
  row.dataset.drawn = key;
  return false;
}

function drawNode(row, node, takeBack) {
  if (isDrawn(row, node)) return;
  const used = (name) => (node[name] ? [h("span", null, `${number(node[`${name}_used`])} of ${number(node[name])}`), bar(node[`${name}_used`] / node[name])] : "–");
  const tone = { alive: "good", leaving: "warn", "set aside": "warn", lost: "bad" }[node.state];
  const aside = node.state === "set aside" && takeBack;
  const again = aside ? h("button", { class: "button small", onclick: () => takeBack(node) }, "Give it trials again") : null;
  const cells = [
    h("td", null, h("strong", null, node.name), node.is_head ? h("span", { class: "quiet" }, " (the head)") : null, h("small", { class: "quiet block" }, node.address)),
    h("td", null, h("span", { class: tone }, node.state), node.reason ? h("small", { class: "quiet block" }, node.reason) : null, again),
    h("td", { class: "num" }, used("cpus")),
    h("td", { class: "num" }, used("gpus"), node.gpu_type ? h("small", { class: "quiet block" }, node.gpu_type) : null),
    h("td", { class: "num" }, node.memory_bytes ? bytes(node.memory_bytes) : "–"),
    h("td", { class: "num" }, number(node.num_trials)),
  ];
  replace(row, cells);
}

function drawSweep(row, sweep) {
  const start = sweep.queue?.expected_start_at;
  const wait = start ? (Date.parse(start) - Date.now()) / 1000 : null;
  const queue = sweep.queue ? `${sweep.queue.position}. in line${wait > 0 ? `, ≈ ${duration(wait)}` : ""}` : "–";
  if (isDrawn(row, [sweep, queue])) return;
  replace(
    row,
    h("td", null, h("a", { href: path`/sweeps/${sweep.sweep_id}` }, sweep.name)),
    h("td", null, sweep.owner ?? "–"),
    h("td", null, h("span", { class: `chip state-${sweep.state}` }, stateLabel(sweep.state))),
    h("td", { class: "num" }, number(sweep.num_running)),
    h("td", { class: "num" }, number(sweep.share)),
    h("td", { class: "num" }, number(sweep.weight)),
    h("td", { class: "num" }, number(sweep.priority)),
    h("td", null, queue),
  );
}

function usageTable(items, currency) {
  const rows = items.map((item) =>
    h("tr", null, h("td", null, item.owner ?? "nobody in particular"), ["sweeps", "trials", "steps"].map((name) => h("td", { class: "num" }, number(item[name]))), h("td", { class: "num" }, number(item.gpu_hours, 3)), h("td", { class: "num" }, `${number(item.cost, 3)} ${currency}`)),
  );
  return table(["Owner", "Sweeps", "Trials", "Steps", "GPU-hours", "Cost"], h("tbody", null, rows), 1, "Use so far by owner");
}

function findings({ findings: found, nodes, took_s: took }) {
  if (!found.length) return h("p", { class: "good" }, `Nothing is wrong: ${nodes.length} asked in ${duration(took)}.`);
  return h("ul", null, found.map((each) => h("li", null, h("strong", { class: each.severity === "error" ? "bad" : "warn" }, `${each.place}: ${each.message}`), h("div", null, each.remedy))));
}

function table(names, body, firstNumber, label, lastText = names.length) {
  const heads = names.map((name, index) => h("th", { scope: "col", class: index >= firstNumber && index < lastText ? "num" : "" }, name));
  return scrolling(label, h("table", { class: "table cluster" }, h("thead", null, h("tr", null, heads)), body));
}

function build(root, session, onCheckUp) {
  const parts = {
    errors: h("div"),
    totals: h("dl", { class: "totals" }),
    nodes: h("tbody"),
    sweeps: h("tbody"),
    nobody: h("p", { class: "quiet" }, "No sweep runs or waits. ", h("a", { href: "/submit" }, "Submit one")),
    plot: h("div", { class: "figure" }),
    usage: h("div"),
    findings: h("div"),
  };
  parts.users = table(["Sweep", "Owner", "State", "Running", "Share", "Weight", "Priority", "Queue"], parts.sweeps, 3, "Sweeps that use the cluster", 7);
  const check = h("button", { class: "button", hidden: session.scope === "read" }, "Check up");
  check.addEventListener("click", () => onCheckUp(check));
  parts.all = h(
    "div",
    { class: "stack", hidden: true },
    parts.totals,
    h("section", { class: "panel" }, h("h2", null, "Nodes"), table(["Node", "State", "CPUs", "GPUs", "Memory", "Trials"], parts.nodes, 2, "Nodes"), parts.findings),
    h("section", { class: "panel" }, h("h2", null, "Who uses it"), parts.nobody, parts.users),
    h("section", { class: "panel" }, h("h2", null, "Trials running, by sweep"), h("p", { class: "quiet" }, "Since this page was opened here; it goes on while the page is open."), parts.plot),
    h("section", { class: "panel" }, h("h2", null, "Used so far, by owner"), parts.usage),
  );
  replace(root, h("div", { class: "toolbar" }, h("h1", null, "Cluster"), h("span", { class: "grow" }), check), parts.errors, parts.all);
  return parts;
}
