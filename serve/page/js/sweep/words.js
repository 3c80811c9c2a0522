/** A sweep, its trials and the scheduler's decisions in words. */

import { duration, number, plural } from "../format.js";

const OVER = ["completed", "pruned", "failed", "cancelled"];
const FAILURES = {
  user_error: "its code raised an error",
  gpu_oom: "it ran out of GPU memory",
  host_oom: "it ran out of memory",
  node_lost: "its node was lost",
  preempted: "its node was taken away",
  timeout: "it took too long",
  non_finite_metric: "it reported a metric that is no number",
};
const ENDED = new Set(["succeeded", "failed", "cancelled"]);

/** Whether nothing more happens to a sweep unless somebody wants it to. */
export function hasEnded(sweep) {
  return ENDED.has(sweep.state);
}

/** Whether a trial is over for good. */
export function isOver(trial) {
  return OVER.includes(trial.state);
}

/**
 * How many trials of a sweep are over, of how many.
 *
 * @returns {{done: number, total: number | null, started: number}}
 */
export function progress(sweep) {
  const count = (states) => states.reduce((sum, state) => sum + (sweep.trials[state] ?? 0), 0);
  return { done: count(OVER), total: sweep.num_trials, started: count(Object.keys(sweep.trials)) };
}

/**
 * Seconds until a running sweep ends, if its trials go on ending as they did; null where nothing says so.
 */
export function timeLeft(sweep, now = Date.now()) {
  const { done, total } = progress(sweep);
  if (sweep.state !== "running" || !done || total === null || !sweep.started_at) return null;
  const active = (now - Date.parse(sweep.started_at)) / 1000 - sweep.idle_s;
  return active > 0 ? (active / done) * Math.max(0, total - done) : null;
}

/** Why a sweep is in its state, or what it waits for; "" where its state says it all. */
export function standing(sweep, now = Date.now()) {
  if (sweep.reason) return sweep.reason;
  if (sweep.cancel_requested && !hasEnded(sweep)) return "It is being cancelled: running trials stop.";
  if (sweep.pause_requested) return "It is pausing: running trials stop at their last checkpoints.";
  if (sweep.state === "paused") return "Nothing runs. It goes on where it was when it is resumed.";
  if (sweep.queue) return waiting(sweep.queue, now);
  return "";
}

function waiting(place, now) {
  let text = place.position === 1 ? "It is next in the queue" : `It is number ${place.position} in the queue`;
  if (place.quota) text += ", held by its owner's quota";
  if (!place.expected_start_at) return `${text}.`;
  const left = (Date.parse(place.expected_start_at) - now) / 1000;
  return `${text}, expected to start ${left > 1 ? `in ${duration(left)}` : "any moment"}.`;
}

/** How far a trial came and why it is in its state, as sentences. */
export function story(trial, metric) {
  const told = [];
  if (trial.value === null) {
    told.push(trial.step ? `It reported ${plural(trial.step, "step")}, no ${metric} yet.` : "It has reported nothing yet.");
  } else {
    told.push(`Its best ${metric} is ${number(trial.value)}, at step ${trial.best_step} of ${trial.step}.`);
  }
  if (trial.retry_of !== null) told.push(`It tries the configuration of trial ${trial.retry_of} again.`);
  else if (trial.request_id !== null) told.push("It was asked for by hand.");
  if (trial.failure) told.push(`It failed: ${FAILURES[trial.failure.kind]} (${trial.failure.message}).`);
  else if (trial.reason) told.push(sentence(trial.reason));
  else if (trial.state === "completed") told.push("It was trained to its end.");
  if (trial.stop_requested && !isOver(trial)) told.push("It is asked to stop.");
  if (trial.ladder_step) told.push(`Its memory ran out: it is at step ${trial.ladder_step} of resources.ladder.`);
  return told;
}

/**
 * A decision of the scheduler in words.
 *
 * @param {object} decision
 * @param {object} spec of the sweep: what is compared, and by which rule
 */
export function decided(decision, spec) {
  const { action, rank, seen, places } = decision;
  const metric = `${spec.metric.name} was ${number(decision.value)}`;
  const ending = { promote: "It went on.", stop: "It was stopped.", pause: "It waits here, and goes on once it is among the best." };
  if (spec.scheduler.type === "median") {
    return `At step ${decision.rung} its ${metric}; the others' median was ${number(decision.cutoff)}. ${ending[action]}`;
  }
  const others = seen === 1 ? "the first trial there" : `rank ${rank} of the ${seen} trials there`;
  const allowed = `${places} of them may go on, the last with ${number(decision.cutoff)}`;
  return `At rung ${decision.rung} its ${metric}, ${others}. ${places ? allowed : "None may go on yet"}. ${ending[action]}`;
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");
}
