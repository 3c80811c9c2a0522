/** Work that follows events: not more often than it can be seen, and not at all while nobody looks. */

/**
 * Makes a function that asks for work to be done soon.
 *
 * @param {number} everyMs the least time between the starts of two rounds
 * @param {() => Promise<void> | void} work never runs twice at a time
 * @param {AbortSignal} signal ends it
 * @returns {() => void} asks for a round; what is asked while one waits or runs is one more round
 */
export function paced(everyMs, work, signal) {
  let wanted = false;
  let busy = false;
  let timer = null;
  let last = -Infinity;

  async function round() {
    timer = null;
    if (document.hidden || signal.aborted) return; // it is still wanted when the page is seen again
    wanted = false;
    busy = true;
    last = performance.now();
    try {
      await work();
    } finally {
      busy = false;
      if (wanted) plan();
    }
  }

  function plan() {
    if (busy || timer !== null || signal.aborted) return;
    timer = setTimeout(round, Math.max(0, last + everyMs - performance.now()));
  }

  document.addEventListener("visibilitychange", () => wanted && !document.hidden && plan(), { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  return () => {
    wanted = true;
    plan();
  };
}

/**
 * Does work again and again while the page is seen: "5 min ago" goes on though nothing happens.
 *
 * @param {number} everyMs
 * @param {() => void} work
 * @param {AbortSignal} signal ends it
 */
export function ticking(everyMs, work, signal) {
  const clock = setInterval(() => document.hidden || work(), everyMs);
  signal.addEventListener("abort", () => clearInterval(clock));
}

/**
 * Makes a queue: what is put into it is done one after the other.
 *
 * @returns {<T>(work: () => Promise<T>) => Promise<T>} `work` begins when all before it has ended, well or badly
 */
export function queue() {
  let last = Promise.resolve();
  return (work) => {
    const mine = last.then(work);
    last = mine.catch(() => {});
    return mine;
  };
}

/** Lets keys and clicks come in between. */
export const breath = () => new Promise((resolve) => setTimeout(resolve));
