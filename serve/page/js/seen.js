// A browser has few connections to a host, which all of its tabs share: a page that nobody sees holds none of them.

/** Who goes to another tab and comes back at once keeps what is open. */
const HIDDEN_MS = 5_000;

/**
 * Calls `begin` once the page is seen, and `end` when it has been hidden for a while, or `signal` aborts; in turns.
 *
 * @param {() => void} begin
 * @param {() => void} end
 * @param {AbortSignal} signal
 */
export function whileSeen(begin, end, signal) {
  let begun = false;
  let hiding = null;

  const leave = () => {
    clearTimeout(hiding);
    if (!begun) return;
    begun = false;
    end();
  };
  const look = () => {
    clearTimeout(hiding);
    if (document.hidden) {
      hiding = setTimeout(leave, HIDDEN_MS);
    } else if (!begun) {
      begun = true;
      begin();
    }
  };
  if (signal.aborted) return;
  document.addEventListener("visibilitychange", look, { signal });
  signal.addEventListener("abort", leave);
  look(); // a tab that is opened behind another one is hidden from the start
}
