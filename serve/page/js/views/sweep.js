/** The page of one sweep. */

import { events, get, getWithEtag } from "../api.js";
import { showError } from "../dialog.js";
import { h, replace } from "../dom.js";
import { preload } from "../figure.js";
import { path } from "../url.js";
import { actions } from "../sweep/actions.js";
import { charts } from "../sweep/charts.js";
import { filterBar } from "../sweep/filter.js";
import { header } from "../sweep/header.js";
import { Model } from "../sweep/model.js";
import { paced } from "../sweep/pace.js";
import { actionsFor, trialButton } from "../sweep/trial_actions.js";
import { trials } from "../sweep/trials.js";
import { hasEnded } from "../sweep/words.js";

const ROWS_EVERY_MS = 500;
const ENDED_EVERY_MS = 20_000;

/** Shows a sweep, and goes on showing it as it changes. */
export async function show(root, { params, signal, session }) {
  preload(); // its megabytes come beside the data
  const found = await getWithEtag(path`/v1/sweeps/${params.sweep}`, { signal });
  const model = new Model(found.body);
  model.etag = found.etag;

  const mayWrite = !session?.auth || session.scope !== "read";
  const mayChange = mayWrite && (!session?.auth || session.scope === "admin" || session.owner === model.sweep.owner);
  const head = header(model, { actions: actions(model, { mayChange, mayWrite, refresh: () => stand(), signal }), signal });
  const figures = charts(model, signal);
  const table = trials(model, { actions: (number) => trialActions(model, number, mayChange, signal), onColumns: figures.columns, signal });
  replace(root, h("div", { class: "sweep-page" }, head, filterBar(model, table.tryFilter, signal), figures.element, table.element));

  const stand = paced(ROWS_EVERY_MS, () => look(), signal);
  const rows = paced(ROWS_EVERY_MS, () => table.refresh(), signal);
  const everything = () => {
    stand();
    rows();
    figures.poke();
  };

  /** Reads the sweep anew; says whether anything in it is other than before. */
  async function look() {
    try {
      const { body, etag } = await getWithEtag(model.api, { signal });
      const changed = etag !== model.etag;
      model.setSweep(body, etag);
      return changed;
    } catch (error) {
      if (!signal.aborted && error.status === 404) showError(root, error, h("a", { href: "/" }, "All sweeps")); // it was deleted
      return false;
    }
  }

  follow(model, head, { everything, look }, signal);
  try {
    await table.load();
  } finally {
    model.begin();
  }
}

/** Goes on with what happens to the sweep: until it has ended, and again should somebody extend it. */
function follow(model, head, { everything, look }, signal) {
  let ended = false;
  let first = true;
  const open = () => {
    ended = false;
    events(`${model.api}/events?last_event_id=newest`, everything, {
      signal,
      onState(state) {
        head.connection(state);
        ended = state === "ended";
        if (state === "lost") return;
        if (first) look().then((changed) => changed && everything()); // what happened since the page was asked for
        else everything(); // whatever happened while nobody listened
        first = false;
      },
    });
  };
  model.addEventListener("sweep", () => ended && !hasEnded(model.sweep) && open(), { signal });
  const slow = setInterval(() => ended && everything(), ENDED_EVERY_MS);
  signal.addEventListener("abort", () => clearInterval(slow));
  open();
}

async function trialActions(model, number, mayChange, signal) {
  if (number === null) return [];
  const open = { key: `open ${number}`, make: () => h("a", { class: "button small", href: model.trial(number) }, `Open trial ${number}`) };
  const trial = await get(`${model.api}/trials/${number}`, { signal }).catch(() => null);
  const names = trial ? actionsFor(trial, mayChange) : [];
  return [open, ...names.map((name) => ({ key: `${name} ${number}`, make: () => trialButton(name, { api: model.api, sweep: model.sweep, number, size: "small", signal }) }))];
}
