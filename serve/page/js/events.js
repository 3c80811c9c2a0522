// Events as they happen, by server-sent events, without a gap.

import { LOGIN } from "./api.js";

const TYPES = ["sweep.state", "sweep.edited", "trial.state", "trial.results", "decision", "budget", "warning", "message"];
const AGAIN_MS = 1_500;
/** The service ends each stream now and then, and a browser is back within this: nobody needs to hear of it. */
const LOST_MS = 2_500;
/** A stream is worth a connection, and browsers have few to a host: a page that nobody sees gives its own up. */
const HIDDEN_MS = 60_000;

/**
 * Follows a stream until `signal` aborts or it has ended. The browser comes back by itself with the last event's id;
 * where it has given up (the service answered with an error), this does.
 *
 * @param {string} path such as /v1/events?last_event_id=newest
 * @param {(event: {id: number, sweep_id: string, type: string, at: string, data: Object}) => void} onEvent
 * @param {{signal: AbortSignal, onState?: (state: "open"|"lost"|"ended") => void}} options
 */
export function events(path, onEvent, { signal, onState = () => {} }) {
  let source = null;
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
    if (signal.aborted || source) return;
    source = new EventSource(last === null ? path : withLast(path, last));
    for (const type of TYPES) source.addEventListener(type, hear);
    source.onopen = () => say("open");
    source.onerror = async () => {
      if (source?.readyState !== EventSource.CLOSED) {
        lose(); // it comes back by itself
        return;
      }
      source = null;
      if (await isOver(last === null ? path : withLast(path, last), signal)) {
        if (!signal.aborted) say("ended");
        return;
      }
      lose();
      waiting = setTimeout(open, AGAIN_MS);
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
  const onVisibility = () => {
    clearTimeout(waiting);
    if (document.hidden) waiting = setTimeout(close, HIDDEN_MS);
    else if (said !== "ended") open();
  };
  // a connection over a network that is gone says nothing, for minutes
  const onOffline = () => {
    if (said === "ended") return;
    close();
    say("lost");
  };
  const onOnline = () => {
    if (said !== "ended") open();
  };

  open();
  document.addEventListener("visibilitychange", onVisibility, { signal });
  window.addEventListener("offline", onOffline, { signal });
  window.addEventListener("online", onOnline, { signal });
  signal.addEventListener("abort", close);
}

/** Why a stream was refused: an EventSource does not tell. */
async function isOver(path, signal) {
  const probe = new AbortController();
  signal.addEventListener("abort", () => probe.abort());
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
