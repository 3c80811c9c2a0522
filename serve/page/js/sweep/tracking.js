/** Where else a sweep and its trials are to be seen. */

import { path } from "../url.js";

/**
 * Links to the trackers that a sweep is sent to.
 *
 * @param {object} sweep
 * @param {object} [trial] then to its own run, where a tracker has a page for it
 * @returns {[string, string, object][]} what stands on the link, its address, its properties
 */
export function trackingLinks(sweep, trial = null) {
  const { tensorboard, wandb } = sweep.spec.tracking;
  const found = [];
  if (tensorboard) found.push(["TensorBoard ↗", path`/tensorboard/${sweep.id}/`, { target: "_blank" }]);
  if (wandb?.mode === "online" && wandb.entity) { // without one, the tracker's key alone says whose runs they are
    const group = wandb.group || `${sweep.name}-${sweep.id.slice(-6)}`; // as the tracker names it
    const page = trial ? path`runs/${sweep.id}-${trial.number}` : path`groups/${group}/workspace`;
    found.push(["Weights & Biases ↗", `https://wandb.ai${path`/${wandb.entity}/${wandb.project}`}/${page}`, { target: "_blank", rel: "noreferrer" }]);
  }
  return found;
}
