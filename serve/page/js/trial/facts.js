/** What is known of a trial besides its results: parameters, decisions, failure, surroundings. */

import { h, keyed, replace, setText } from "../dom.js";
import { bytes, duration, number, value, when } from "../format.js";
import { asJson, asPython, asYaml, flat } from "../sweep/configuration.js";
import { copyText } from "../sweep/actions.js";
import { decided, isOver } from "../sweep/words.js";

/** A trial's configuration: what was varied first, then the constants. */
export function parameters(trial) {
  const all = flat(trial.config);
  const constants = Object.entries(all).filter(([name]) => !(name in trial.params));
  const row = ([name, held], kind) => h("tr", { class: kind }, h("th", { scope: "row" }, name), h("td", { class: "num", title: String(held) }, value(held)));
  const copy = (label, write) => h("button", { type: "button", class: "button small", onclick: () => copyText(write(trial.config), "The configuration is copied.") }, label);
  return panel(
    "Parameters",
    h("table", { class: "table" }, h("tbody", null, ...Object.entries(trial.params).map((each) => row(each, "")), ...constants.map((each) => row(each, "quiet")))),
    [h("span", { class: "quiet" }, "Copy as"), copy("YAML", asYaml), copy("JSON", asJson), copy("Python", asPython)],
  );
}

/** The facts of a trial, kept up to date. */
export function standingFacts() {
  const list = h("dl", { class: "facts" });
  return {
    element: list,
    update(trial) {
      const until = trial.ended_at ? Date.parse(trial.ended_at) : Date.now();
      const took = trial.started_at ? (until - Date.parse(trial.started_at)) / 1000 : null;
      const items = [
        ["value", trial.value === null ? "–" : number(trial.value)],
        ["step", String(trial.step)],
        ["attempt", String(trial.attempt)],
        ["bracket", String(trial.bracket)],
        ["node", trial.node ?? "–"],
        [isOver(trial) ? "took" : "for", took === null ? "–" : duration(took)],
        ["GPU-hours", number(trial.gpu_hours, 3)],
        ["begun", trial.started_at ? when(trial.started_at) : "–"],
        ...(trial.checkpoint ? [["checkpoint", `step ${trial.checkpoint.step}${trial.checkpoint.size_bytes ? `, ${bytes(trial.checkpoint.size_bytes)}` : ""}`]] : []),
      ];
      keyed(list, items, ([name]) => name, ([name]) => h("div", null, h("dt", null, name), h("dd")), (item, [, text]) => setText(item.lastChild, text));
    },
  };
}

/** The decisions about a trial, in words. */
export function decisions() {
  const list = h("ol", { class: "decisions" });
  return {
    element: panel("Decisions", list),
    update(items, spec) {
      if (!items.length) replace(list, h("li", { class: "quiet" }, spec.scheduler.type === "none" ? "This sweep has no early stopping." : "It has not come to a rung yet."));
      else if (list.dataset.count !== String(items.length)) {
        replace(list, ...items.map((each) => h("li", null, h("span", { class: `mark ${each.action}`, "aria-hidden": "true" }), decided(each, spec), " ", h("time", { class: "quiet", dateTime: each.decided_at }, when(each.decided_at)))));
      }
      list.dataset.count = items.length;
    },
  };
}

/** The error of a trial that failed. */
export function failure(trial) {
  const { failure: found } = trial;
  if (!found) return null;
  return h("section", { class: "panel failure", "aria-labelledby": "failure-title" }, h("h2", { id: "failure-title", class: "bad" }, found.message),
    found.traceback ? h("pre", { class: "log", role: "region", tabindex: "0", "aria-label": "Traceback" }, found.traceback.trimEnd()) : null);
}

/**
 * With what a trial ran, and how to run it again.
 *
 * @param {{seed: number | null, environment: object | null}} ranIn
 * @param {string} command
 */
export function surroundings(ranIn, command) {
  const { environment: found, seed } = ranIn;
  const line = h("div", { class: "command" }, h("code", null, command),
    h("button", { type: "button", class: "button small", onclick: () => copyText(command, "The command is copied.") }, "Copy"));
  if (!found) return panel("Environment", h("div", null, h("p", { class: "quiet" }, "It has not told yet what it runs with."), line));
  const facts = [
    ["seed", seed],
    ["Python", found.python],
    ["platform", found.platform],
    ["CPU", found.cpu],
    ["threads", found.torch_threads ?? found.omp_num_threads],
    ["GPU", found.gpus.join(", ") || null],
    ["driver", found.driver && `${found.driver}, CUDA ${found.cuda}`],
    ["code", found.code && `${found.code.slice(0, 19)}…`],
    ["commit", found.git && `${found.git.commit.slice(0, 12)}${found.git.dirty ? `, changed: ${found.git.changed.join(", ")}` : ""}`],
  ].filter(([, each]) => each !== null && each !== undefined);
  const packages = Object.entries(found.packages);
  return panel(
    "Environment",
    h("div", null, line,
      h("table", { class: "table" }, h("tbody", null, ...facts.map(([name, each]) => h("tr", null, h("th", { scope: "row" }, name), h("td", null, String(each)))))),
      h("details", null, h("summary", null, `${packages.length} packages`), h("pre", { class: "log", role: "region", tabindex: "0", "aria-label": "Packages" }, packages.map(([name, version]) => `${name}==${version}`).join("\n")))),
  );
}

/** A panel with a title. */
export function panel(title, content, tools = []) {
  const id = `panel-${title.toLowerCase().replace(/\W+/g, "-")}`;
  return h("section", { class: "panel", "aria-labelledby": id }, h("div", { class: "chart-head" }, h("h2", { id }, title), tools.length ? h("div", { class: "toolbar" }, ...tools) : null), content);
}
