/** The page of one trial. */

import { events, get, isAway } from "../api.js";
import { go } from "../app.js";
import { h, keyed, replace, setText } from "../dom.js";
import { stateLabel } from "../format.js";
import { paced, ticking } from "../sweep/pace.js";
import { asked } from "../sweep/model.js";
import { actionsFor, trialButton } from "../sweep/trial_actions.js";
import { story } from "../sweep/words.js";
import { trackingLinks } from "../sweep/tracking.js";
import { curves } from "../trial/curves.js";
import { decisions, failure, panel, parameters, standingFacts, surroundings } from "../trial/facts.js";
import { logs } from "../trial/logs.js";
import { path } from "../url.js";

const EVERY_MS = 1000;
const AGAIN_MS = 3_000;
const TICK_MS = 5_000;

/** Shows a trial, and goes on showing it as it changes. */
export async function show(root, { params, signal, session }) {
  const sweepApi = path`/v1/sweeps/${params.sweep}`;
  const api = path`/v1/sweeps/${params.sweep}/trials/${params.number}`;
  const [sweep, first] = await Promise.all([get(sweepApi, { signal }), get(api, { signal })]);
  let trial = first;
  let again = null;
  const mayChange = !session?.auth || session.scope === "admin" || (session.scope === "write" && session.owner === sweep.owner);

  const head = trialHead(sweep, trial.number, signal);
  const facts = standingFacts();
  const why = h("div", { class: "sweep-why" });
  const tools = h("div", { class: "toolbar" });
  const metrics = curves(api, { objective: sweep.spec.metric.name, attempt: () => trial.attempt, signal });
  const decided = decisions();
  const broken = h("div", null);
  const around = h("div", null);
  const output = logs(api, () => trial, signal);
  const sides = h("div", { class: "trial-sides" }, parameters(trial), decided.element, panel("Attempts", metrics.attempts), around);
  replace(root, h("div", { class: "trial-page" }, head.element, h("header", { class: "sweep-head" }, h("div", { class: "toolbar" }, tools, trackingLinks(sweep, first).map(([label, href, props]) => h("a", { class: "button", href, ...props }, label))), facts.element, why), broken, metrics.element, sides, output.element));

  function tell() {
    head.update(trial);
    facts.update(trial);
    keyed(why, story(trial, sweep.spec.metric.name), (text) => text, (text) => h("p", null, text));
    keyed(tools, actionsFor(trial, mayChange), (each) => each, (name) => trialButton(name, { api: sweepApi, sweep, number: trial.number, signal }));
    if (!broken.firstChild && trial.failure) replace(broken, failure(trial));
    output.changed();
  }

  async function environment() {
    const ranIn = await get(`${api}/environment`, { signal });
    replace(around, surroundings(ranIn, `toprung reproduce ${sweep.name} ${trial.number}`));
    around.dataset.attempt = ranIn.environment ? trial.attempt : 0;
  }

  async function refresh() {
    try {
      trial = await get(api, { signal });
      tell();
      const [, { items }] = await Promise.all([metrics.refresh(), get(asked(`${sweepApi}/decisions`, { number: trial.number }), { signal })]);
      decided.update(items, sweep.spec);
      if (around.dataset.attempt !== String(trial.attempt)) await environment();
      head.problem("");
    } catch (error) {
      if (signal.aborted) return;
      head.problem(error.detail || error.message);
      if (isAway(error)) again = setTimeout(soon, AGAIN_MS);
    }
  }

  tell();
  signal.addEventListener("abort", () => clearTimeout(again));
  ticking(TICK_MS, () => facts.update(trial), signal);
  const soon = paced(EVERY_MS, refresh, signal);
  soon();
  events(`${sweepApi}/events?last_event_id=newest`, (event) => {
    if (event.data.number === trial.number || event.type === "sweep.state") soon();
  }, {
    signal,
    onState(state) {
      head.connection(state);
      if (state === "open") soon();
    },
  });
}

function trialHead(sweep, number, signal) {
  const chip = h("span", { class: "chip" });
  const link = h("span", { class: "link-state quiet", role: "status" });
  let connection = "";
  let problem = "";
  const showLink = () => {
    setText(link, problem || connection);
    link.classList.toggle("bad", Boolean(problem) || element.dataset.connection === "lost");
  };
  const page = (at) => path`/sweeps/${sweep.id}/trials/${at}`;
  const back = `${path`/sweeps/${sweep.id}`}?trial=${number}`;
  const previous = number > 0 ? h("a", { class: "button small", href: page(number - 1), rel: "prev" }, "← Previous") : null;
  const next = h("a", { class: "button small", href: page(number + 1), rel: "next" }, "Next →");
  const count = Object.values(sweep.trials).reduce((sum, each) => sum + each, 0);
  next.hidden = number + 1 >= count;
  const element = h(
    "div",
    { class: "sweep-title" },
    h("a", { href: "/", class: "quiet" }, "Sweeps"),
    h("span", { class: "quiet", "aria-hidden": "true" }, "▸"),
    h("a", { href: back }, sweep.name),
    h("span", { class: "quiet", "aria-hidden": "true" }, "▸"),
    h("h1", null, `Trial ${number}`),
    chip,
    link,
    h("nav", { class: "toolbar", "aria-label": "Other trials" }, previous, next),
  );
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, textarea, select, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "[" && previous) go(page(number - 1));
    if (event.key === "]" && !next.hidden) go(page(number + 1));
  }, { signal });
  return {
    element,
    update(trial) {
      chip.className = `chip state-${trial.state}`;
      setText(chip, stateLabel(trial.state));
      document.title = `Trial ${number} · ${sweep.name} · Toprung`;
    },
    connection(state) {
      element.dataset.connection = state;
      connection = { open: "live", lost: "connection lost, trying again…", ended: "" }[state];
      if (state === "lost") problem = ""; // it says the same
      showLink();
    },
    problem(text) {
      problem = element.dataset.connection === "lost" ? "" : text;
      showLink();
    },
  };
}
