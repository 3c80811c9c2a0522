/** What can be done with a sweep, and with what came of it. */

import { get, send } from "../api.js";
import { confirm, form, toast } from "../dialog.js";
import { h, replace } from "../dom.js";
import { asJson, asPython, asYaml } from "./configuration.js";
import { trackingLinks } from "./tracking.js";
import { attempted } from "./trial_actions.js";
import { hasEnded } from "./words.js";

/**
 * @param {import("./model.js").Model} model
 * @param {{mayChange: boolean, mayWrite: boolean, refresh: () => void, signal: AbortSignal}} options
 *   `mayChange`: this sweep; `mayWrite`: sweeps of one's own; `refresh`: asks for the sweep as it is now
 * @returns {HTMLElement}
 */
export function actions(model, { mayChange, mayWrite, refresh, signal }) {
  const element = h("div", { class: "toolbar sweep-actions" });
  let shown = "";

  async function post(verb, done, body) {
    const sweep = await attempted(() => send("POST", `${model.api}:${verb}`, body), done);
    if (sweep) refresh();
  }

  function show() {
    const { sweep } = model;
    const key = [sweep.state, sweep.cancel_requested, sweep.pause_requested, !sweep.best, !sweep.trials.failed].join();
    if (key === shown) return; // a menu that is open stays open, a button that is being pressed is there
    shown = key;
    const open = element.querySelector("details")?.open ?? false;
    const main = mayChange ? mainButtons(model, post, refresh) : [];
    const menu = moreMenu(model, { mayChange, mayWrite, post, refresh, signal });
    menu.open = open;
    replace(element, ...main, menu);
  }

  model.addEventListener("sweep", show, { signal });
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  }, { signal });
  show();
  return element;
}

function button(label, onclick, kind = "") {
  return h("button", { type: "button", class: `button ${kind}`, onclick }, label);
}

function mainButtons(model, post, refresh) {
  const { sweep } = model;
  if (hasEnded(sweep)) return [button("Extend…", () => extend(model, refresh))];
  if (sweep.cancel_requested) return [];
  const pause = sweep.state === "paused"
    ? button("Resume", () => post("resume", "It goes on where it was."), "primary")
    : h("button", { type: "button", class: "button", disabled: sweep.pause_requested, onclick: () => post("pause", "It pauses: running trials stop at their last checkpoints.") }, "Pause");
  return [pause, button("Cancel", () => cancel(model, post), "danger")];
}

async function cancel(model, post) {
  const text = "Running trials stop. Results and the best checkpoints stay, and it can be extended later.";
  if (await confirm({ title: `Cancel ${model.sweep.name}?`, text, action: "Cancel the sweep", danger: true })) await post("cancel", "It is being cancelled.");
}

function moreMenu(model, { mayChange, mayWrite, post, refresh, signal }) {
  const { sweep } = model;
  const act = (label, work) => {
    const onclick = async () => {
      menu.open = false;
      await work();
    };
    return h("button", { type: "button", class: "menu-item", onclick }, label);
  };
  const link = (label, href, props = {}) => h("a", { class: "menu-item", href, ...props }, label);
  const copy = (label, write) => act(`Copy best as ${label}`, () => copyBest(model, write));
  const stays = sweep.cancel_requested && !hasEnded(sweep); // what is being cancelled is not changed any more
  const changes = stays ? [] : [
    hasEnded(sweep) ? null : act("Extend…", () => extend(model, refresh)),
    hasEnded(sweep) ? null : act("Concurrency, priority, weight…", () => edit(model, refresh)),
    sweep.trials.failed ? act("Retry what failed", () => post("retry", "What failed and was not tried again yet is tried, as further trials.", {})) : null,
  ];
  const download = link("Download best checkpoint", "", { download: "", hidden: true });
  const best = [
    copy("YAML", asYaml),
    copy("JSON", asJson),
    copy("Python", asPython),
    download,
  ];
  const elsewhere = trackingLinks(sweep).map((each) => link(...each));
  const menu = h("details", { class: "menu" }, h("summary", { class: "button", "aria-label": "More actions" }, "More ▾"),
    h("div", { class: "menu-list" }, ...(mayChange ? changes : []), mayWrite ? link("Clone…", `/submit?from=${encodeURIComponent(sweep.id)}`) : null, ...(sweep.best ? best : []), ...elsewhere));
  menu.addEventListener("toggle", async () => {
    const { best: leading } = model.sweep; // another one by now, maybe
    if (!menu.open || !leading) return;
    const trial = await get(`${model.api}/trials/${leading.number}`, { signal }).catch(() => null);
    download.href = `${model.api}/trials/${leading.number}/checkpoint`;
    download.hidden = !trial?.checkpoint; // not all sweeps keep one
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    menu.firstChild.focus();
  });
  return menu;
}

async function copyBest(model, write) {
  const trial = await attempted(() => get(`${model.api}/trials/${model.sweep.best.number}`));
  if (trial) await copyText(write(trial.config), `The configuration of trial ${trial.number} is copied.`);
}

/**
 * Puts text on the clipboard, and says so.
 *
 * @param {string} text
 * @param {string} done
 */
export async function copyText(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    toast(done, "good");
  } catch {
    // not over plain HTTP from another machine: it is shown, to be copied by hand
    await form({ title: "Copy this", action: "Done", fields: [{ name: "text", label: "Text", type: "textarea", value: text, rows: 12 }] });
  }
}

const BUDGET = [["trials", "Trials"], ["steps", "Steps of all trials"], ["wall_time_s", "Seconds"], ["gpu_hours", "GPU-hours"], ["cost", "Cost"]];

async function extend(model, refresh) {
  const { budget } = model.sweep.spec;
  const bounds = BUDGET.filter(([name]) => budget[name] !== null && budget[name] !== undefined);
  const values = await form({
    title: `Extend ${model.sweep.name}`,
    text: "The budget as it is to be in all. A sweep that has ended goes on with all that it knows.",
    action: "Extend it",
    fields: (bounds.length ? bounds : BUDGET.slice(0, 1)).map(([name, label]) => ({ name, label, type: "number", step: "any", value: budget[name] })),
  });
  if (!values) return;
  await attempted(() => send("POST", `${model.api}:extend`, { budget: values }), "It has the larger budget.");
  refresh();
}

async function edit(model, refresh) {
  const { spec } = model.sweep;
  const tag = model.etag; // of what is shown: another's edit since then is not overwritten
  const values = await form({
    title: `Change ${model.sweep.name}`,
    text: "A running sweep adapts.",
    action: "Change it",
    fields: [
      { name: "concurrency", label: "Concurrency", type: "number", min: 1, step: 1, value: spec.concurrency, hint: "most trials at once; empty: as many as fit the cluster" },
      { name: "priority", label: "Priority", type: "number", step: 1, value: spec.priority, hint: "higher goes first" },
      { name: "weight", label: "Weight", type: "number", min: 0, step: "any", value: spec.weight, hint: "share among sweeps of the same priority" },
    ],
  });
  if (!values) return;
  const headers = { "If-Match": tag, "Content-Type": "application/merge-patch+json" };
  const changed = Object.fromEntries(Object.entries(values).filter(([name, value]) => value !== spec[name]));
  if (Object.keys(changed).length) await attempted(() => send("PATCH", model.api, JSON.stringify(changed), { headers }), "Changed.");
  refresh();
}
