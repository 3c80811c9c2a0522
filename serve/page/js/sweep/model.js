/** What the parts of a sweep's page have in common: the sweep, what is filtered, which trial is chosen. */

import { path, state } from "../url.js";
import { expression, readBrush, writeBrush } from "./brush.js";

/**
 * Tells of `sweep` (another record), `filter` (other trials are wanted), `metric`, and `selection` (another trial is
 * chosen), as events of these names. What a colleague should see as well lies in the address.
 */
export class Model extends EventTarget {
  constructor(sweep) {
    super();
    this.sweep = sweep;
    this.etag = null;
    /** Settled when the first rows are on the screen: charts come after, as their library takes a while to start. */
    this.begun = new Promise((resolve) => (this.begin = () => requestAnimationFrame(() => setTimeout(resolve))));
    this.api = path`/v1/sweeps/${sweep.id}`;
    this.page = path`/sweeps/${sweep.id}`;
    this.filter = state.get("filter") ?? "";
    this.brush = readBrush(state.get("brush"));
    this.metric = state.get("metric");
    this.selected = state.get("trial") === null ? null : Number(state.get("trial"));
  }

  /** The expression that all but the parallel coordinates are filtered by; "" is none. */
  get wanted() {
    return this.wantedWith(this.filter);
  }

  /** The same with another filter. */
  wantedWith(filter) {
    return [filter, expression(this.brush)].filter(Boolean).map((part, at, all) => (all.length > 1 ? `(${part})` : part)).join(" and ");
  }

  setSweep(sweep, etag) {
    this.sweep = sweep;
    this.etag = etag;
    this.#tell("sweep");
  }

  setFilter(text) {
    if (text === this.filter) return;
    this.filter = text;
    state.set({ filter: text });
    this.#tell("filter");
  }

  setBrush(brush) {
    if (writeBrush(brush) === writeBrush(this.brush)) return;
    this.brush = brush;
    state.set({ brush: writeBrush(brush) });
    this.#tell("brush");
    this.#tell("filter");
  }

  /** Nothing is brushed any more; charts that show the brush have to be told. */
  clearBrush(column) {
    const { [column]: _, ...kept } = this.brush;
    this.setBrush(kept);
    this.#tell("unbrush");
  }

  setMetric(name) {
    this.metric = name || null;
    state.set({ metric: this.metric });
    this.#tell("metric");
  }

  select(number) {
    if (number === this.selected) return;
    this.selected = number;
    state.set({ trial: number });
    this.#tell("selection");
  }

  /** The page of a trial. */
  trial(number) {
    return `${this.page}/trials/${number}`;
  }

  #tell(type) {
    this.dispatchEvent(new Event(type));
  }
}

/** Names in one text, and back: with commas between, quoted where a name has one (as CSV does). */
export const joined = (names) => names.map((name) => (/[",]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name)).join(",");
export const parted = (text) => [...text.matchAll(/"((?:[^"]|"")*)"|[^,]+/g)].map(([plain, quoted]) => quoted?.replaceAll('""', '"') ?? plain);

/**
 * A path with a query of what is neither null nor empty.
 *
 * @param {string} base
 * @param {Record<string, any>} params
 */
export function asked(base, params) {
  const given = Object.entries(params).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `${base}?${new URLSearchParams(given)}` : base;
}
