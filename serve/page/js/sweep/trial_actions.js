/** What can be done with one trial, on the page of its sweep and on its own. */

import { get, send } from "../api.js";
import { go } from "../app.js";
import { confirm, form, toast } from "../dialog.js";
import { h } from "../dom.js";
import { path } from "../url.js";
import { nested } from "./configuration.js";
import { isOver } from "./words.js";

/** What can be done with a trial as it is: names for `trialButton`. */
export function actionsFor(trial, mayChange) {
  const changes = isOver(trial)
    ? ["Retry", ...(trial.step ? ["Reproduce"] : []), "Enqueue a copy…"]
    : [...(trial.stop_requested ? [] : ["Stop"]), "Enqueue a copy…"];
  return [...(mayChange ? changes : []), ...(trial.checkpoint ? ["Download checkpoint"] : [])];
}

/**
 * The button for one of the things that can be done.
 *
 * @param {string} name of `actionsFor`
 * @param {{api: string, sweep: object, number: number, size?: string, signal: AbortSignal}} options `api`: of the sweep;
 *   `signal`: the view was left
 */
export function trialButton(name, { api, sweep, number, size = "", signal }) {
  if (name === "Download checkpoint") return h("a", { class: `button ${size}`, href: `${api}/trials/${number}/checkpoint`, download: "" }, name);
  const onclick = {
    Stop: () => stopTrial(api, number),
    Retry: () => retryTrial(api, number),
    Reproduce: () => reproduce(api, number, signal),
    "Enqueue a copy…": () => enqueueCopy(api, sweep, number),
  }[name];
  return h("button", { type: "button", class: `button ${size} ${name === "Stop" ? "danger" : ""}`, onclick }, name);
}

async function stopTrial(api, number) {
  const sure = await confirm({ title: `Stop trial ${number}?`, text: "Its results count, and its best checkpoint is kept where it is one of the best.", action: "Stop it", danger: true });
  if (sure) await attempted(() => send("POST", `${api}/trials/${number}:stop`), `Trial ${number} is asked to stop.`);
}

function retryTrial(api, number) {
  return attempted(() => send("POST", `${api}/trials/${number}:retry`), `The configuration of trial ${number} is tried again, as a further trial.`);
}

async function enqueueCopy(api, sweep, number) {
  const trial = await attempted(() => get(`${api}/trials/${number}`));
  if (!trial) return;
  const varied = trial.params;
  const values = await form({
    title: `A trial like ${number}`,
    text: "It runs on top of the budget, before what the search proposes. What is left empty is drawn at random.",
    action: "Enqueue it",
    fields: Object.entries(varied).map(([name, value]) => field(name, value, sweep)),
  });
  if (!values) return;
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== "");
  const config = nested(Object.fromEntries(given.map(([name, value]) => [name, typeof value === "string" ? JSON.parse(value) : value])));
  await attempted(() => send("POST", `${api}:enqueue`, { config }), "The trial is enqueued.");
}

function field(name, value, sweep) {
  const distribution = distributionOf(sweep.spec.parameters, name);
  if (distribution?.choices) {
    return { name, label: name, type: "select", value: JSON.stringify(value), options: distribution.choices.map((each) => ({ value: JSON.stringify(each), label: String(each) })) };
  }
  const range = distribution && `${distribution.low} … ${distribution.high}${distribution.log ? ", logarithmic" : ""}`;
  return { name, label: name, type: "number", step: "any", value, hint: range };
}

function distributionOf(tree, name) {
  return name.split("/").reduce((node, part) => node?.[part], tree);
}

async function reproduce(api, number, signal) {
  const made = await attempted(() => send("POST", `${api}/trials/${number}:reproduce`));
  if (made && !signal.aborted) go(path`/sweeps/${made.id}`);
}

/**
 * Does something, and says that it was done or why not.
 *
 * @returns {Promise<any>} the answer; null where it was refused
 */
export async function attempted(work, done) {
  try {
    const answer = await work();
    if (done) toast(done, "good");
    return answer ?? true;
  } catch (error) {
    const all = (error.problems ?? []).map((each) => `${each.pointer} ${each.message}`).join("; ");
    toast(all ? `${error.detail || error.message} (${all})` : error.detail || error.message, "error");
    return null;
  }
}

