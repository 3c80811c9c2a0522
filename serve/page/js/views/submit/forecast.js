// What a sweep would do and cost, in the words of `toprung validate`.

import { h, scrolling } from "../../dom.js";
import { duration, number, plural } from "../../format.js";

const ALGORITHMS = {
  auto: "TPE/GP",
  tpe: "TPE",
  gp: "GP",
  cmaes: "CMA-ES",
  qmc: "quasi-random search",
  random: "random search",
  grid: "grid search",
};

/** The forecast as elements. */
export function forecastView(forecast) {
  const lines = [headline(forecast), steps(forecast), costs(forecast), room(forecast)].filter(Boolean);
  return h("div", { class: "forecast" }, h("strong", null, lines[0]), rungs(forecast), lines.slice(1).map((line) => h("p", null, line)));
}

function headline({ spec, num_trials: trials }) {
  const parts = spec.name ? [spec.name] : [];
  parts.push(trials ? plural(trials, "trial") : "trials until the budget ends");
  return [...parts, method(spec), `${spec.metric.goal} ${spec.metric.name}`].join(" · ");
}

function method({ search, scheduler }) {
  const algorithm = ALGORITHMS[search.algorithm] ?? search.algorithm;
  if (scheduler.type === "none") return `${algorithm}, no early stopping`;
  if (scheduler.type === "median") return `${algorithm} + median stopping rule`;
  return `${algorithm} + ASHA (${scheduler.mode}, η = ${number(scheduler.reduction_factor)})`;
}

function rungs({ rungs: plans }) {
  if (!plans.length) return null;
  const row = (label, values) => h("tr", null, h("th", { scope: "row" }, label), values.map((value) => h("td", { class: "num" }, number(value))));
  const table = h("table", { class: "table" }, h("tbody", null, row("rung", plans.map((plan) => plan.rung)), row("trials", plans.map((plan) => plan.trials))));
  return scrolling("Trials expected at each rung", table);
}

function steps({ expected_steps: expected, worst_case_steps: worst, full_steps: full }) {
  if (expected === null) return worst === null ? "" : `at most ${plural(worst, "step")}`;
  let text = `≈ ${plural(expected, "step")}`;
  if (worst !== null && worst !== expected) text += `, at worst ${number(worst)}`;
  if (full !== null && full !== expected) text += ` (without early stopping: ${number(full)})`;
  return text;
}

function costs(forecast) {
  if (forecast.step_s === null) return "How long that takes is known once a sweep of this trainable has run.";
  const parts = [`${number(forecast.step_s, 3)} s a step, as in ${forecast.step_s_from}`];
  if (forecast.expected_steps !== null && forecast.slots) {
    parts.push(`≈ ${duration((forecast.expected_steps * forecast.step_s) / forecast.slots)} on this cluster`);
  }
  const amounts = [
    [forecast.expected_gpu_hours, forecast.worst_case_gpu_hours, "GPU-hours"],
    [forecast.expected_cost, forecast.worst_case_cost, forecast.currency],
  ];
  for (const [expected, worst, unit] of amounts) {
    if (worst === null) continue;
    parts.push(`${expected === null ? "" : `≈ ${number(expected, 3)} ${unit}, `}at worst ${number(worst, 3)} ${unit}`);
  }
  return parts.join(" · ");
}

function room({ spec, slots }) {
  const parts = [needs(spec.resources)];
  if (slots === null) parts.push("the cluster's size is not known");
  else if (slots === 0) parts.push("this cluster has no room for a trial");
  else parts.push(`this cluster: ${plural(slots, "trial")} at once`);
  if (spec.budget.wall_time_s) parts.push(`ends after ${duration(spec.budget.wall_time_s)}`);
  return parts.join(" · ");
}

function needs({ cpu, gpu, accelerator_type: kind, memory_gb: memory, workers }) {
  const parts = [`${number(cpu)} CPU`];
  if (gpu) parts.push(`${number(gpu)} ${kind ?? "GPU"}`);
  if (memory) parts.push(`${number(memory)} GB`);
  const several = workers !== null && workers !== undefined;
  const who = several ? `a trial has ${plural(workers, "worker")} with` : "a trial takes";
  return `${who} ${parts.join(", ")}${several && workers > 1 ? " each" : ""}`;
}
