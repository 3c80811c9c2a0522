// Events as they happen, by server-sent events, without a gap.

import { LOGIN } from "./api.js";
import { whileSeen } from "./seen.js";

const TYPES = ["sweep.state", "sweep.edited", "trial.state", "trial.results", "decision", "budget", "warning", "message"];
const AGAIN_MS = 1_500;
/** The service ends each stream now and then, and a browser is back within this: nobody needs to hear of it. */
const LOST_MS = 2_500;

/**
 * Follows a stream while the page is seen, until `signal` aborts or it has ended. The browser comes back by itself with
 * the last event's id; where it has given up (the service answered with an error), or the page was hidden, this does.
 *
 * @param {string} path such as /v1/events?last_event_id=newest
 * @param {(event: {id: number, sweep_id: string, type: string, at: string, data: Object}) => void} onEvent
 * @param {{signal: AbortSignal, onState?: (state: "open"|"lost"|"ended") => void}} options
 */
export function events(path, onEvent, { signal, onState = () => {} }) {
  let source = null;
  let seen = false;
  let last = null;
  let said = null;
  let waiting = null;
  let losing = null;

  const say = (state) => {
    clearTimeout(losing);
    losing = null;
    if (state !== said) onState((said = state));
  };
  const lose = () => {
    losing ??= setTimeout(say, LOST_MS, "lost");
  };
  const hear = (message) => {
    last = message.lastEventId || last;
    onEvent(JSON.parse(message.data));
  };
  const open = () => {
    clearTimeout(waiting);
    if (!seen || source || said === "ended") return;
    const mine = (source = new EventSource(last === null ? path : withLast(path, last)));
    for (const type of TYPES) mine.addEventListener(type, hear);
    mine.onopen = () => say("open");
    mine.onerror = async () => {
      lose();
      if (mine.readyState !== EventSource.CLOSED) return; // it comes back by itself
      const over = await isOver(last === null ? path : withLast(path, last), signal);
      if (source !== mine) return; // it was given up meanwhile
      source = null;
      said = null; // what came meanwhile is not sent again where no event was heard yet: who follows looks
      if (over) say("ended");
      else waiting = setTimeout(open, AGAIN_MS);
    };
  };
  const close = () => {
    clearTimeout(waiting);
    clearTimeout(losing);
    losing = null;
    source?.close();
    source = null;
    if (said !== "ended") said = null; // who follows hears "open" again, and looks at what was missed
  };
  // a connection over a network that is gone says nothing, for minutes
  const onOffline = () => {
    if (said === "ended" || !seen) return;
    close();
    say("lost");
  };

  window.addEventListener("offline", onOffline, { signal });
  window.addEventListener("online", open, { signal });
  whileSeen(() => {
    seen = true;
    open();
  }, () => {
    seen = false;
    close();
  }, signal);
}

/** Why a stream was refused: an EventSource does not tell. */
async function isOver(path, signal) {
  const probe = new AbortController();
  signal.addEventListener("abort", () => probe.abort(), { signal: probe.signal });
  try {
    const answer = await fetch(path, { signal: probe.signal });
    if (answer.status === 401) window.dispatchEvent(new Event(LOGIN));
    return [204, 401, 403, 404].includes(answer.status);
  } catch {
    return signal.aborted;
  } finally {
    probe.abort();
  }
}

function withLast(path, id) {
  const url = new URL(path, location.origin);
  url.searchParams.set("last_event_id", id);
  return url.pathname + url.search;
}
