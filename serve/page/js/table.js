/**
 * A table of which only the rows in view exist: they are fetched in blocks as they come into view, and stay while newer
 * ones are on their way, so that nothing jumps.
 */

import { h, replace } from "./dom.js";
import { fill, makeCell, template } from "./cells.js";

const ROW_PX = 32;
/** Rows that are fetched together. */
export const BLOCK = 100;
const KEPT_BLOCKS = 30;
const AROUND = 6;
const SETTLED_MS = 25;

/** Rows by blocks, each as it was last answered. */
class Rows {
  constructor() {
    this.blocks = new Map();
    this.stale = new Set();
  }

  row(index) {
    return this.blocks.get(Math.floor(index / BLOCK))?.[index % BLOCK];
  }

  put(block, rows) {
    this.blocks.delete(block);
    this.blocks.set(block, rows);
    this.stale.delete(block);
    for (const oldest of this.blocks.keys()) {
      if (this.blocks.size <= KEPT_BLOCKS) break;
      this.blocks.delete(oldest);
    }
  }

  wanted(first, last) {
    const found = [];
    for (let block = Math.floor(first / BLOCK); block <= Math.floor(last / BLOCK); block++) {
      if (!this.blocks.has(block) || this.stale.has(block)) found.push(block);
    }
    return found;
  }

  outdate() {
    for (const block of this.blocks.keys()) this.stale.add(block);
  }
}

/**
 * Makes a table.
 *
 * @param {object} options
 * @param {string} options.label what it is a table of, for those who don't see it
 * @param {(offset: number, limit: number, signal: AbortSignal) => Promise<{total: number, columns: object[], rows: any[][]}>}
 *   options.fetch a window of rows; each row's first value is its key
 * @param {(key: number) => string} options.href the page of a row
 * @param {(name: string) => void} options.onSort a header was pressed
 * @param {(key: number | null) => void} options.onSelect a row was chosen
 * @param {(key: number) => void} options.onOpen the chosen row is wanted in full
 * @param {(error: Error) => void} options.onError a window could not be had
 * @param {(total: number, columns: object[]) => void} options.onWindow one was had
 * @param {AbortSignal} options.signal ends it
 */
export class Table {
  #options;
  #rows = new Rows();
  #shown = new Map(); // index -> element
  #columns = [];
  #total = 0;
  #selected = null;
  #order = { name: null, descending: false };
  #query = null; // AbortController of the windows of one filter and order
  #timer = null;
  #fracs = [];

  constructor(options) {
    this.#options = options;
    this.header = h("div", { class: "grid-row grid-head", role: "row", "aria-rowindex": "1" });
    this.body = h("div", { class: "grid-body", role: "rowgroup" });
    this.element = h(
      "div",
      { class: "grid", role: "grid", tabindex: "0", "aria-label": options.label },
      h("div", { class: "grid-top", role: "rowgroup" }, this.header),
      this.body,
    );
    const { signal } = options;
    this.element.addEventListener("scroll", () => this.#scrolled(), { signal, passive: true });
    this.element.addEventListener("keydown", (event) => this.#keyed(event), { signal });
    this.body.addEventListener("click", (event) => this.#clicked(event), { signal });
    const observer = new ResizeObserver(() => this.#render());
    observer.observe(this.element);
    signal.addEventListener("abort", () => {
      observer.disconnect();
      clearTimeout(this.#timer);
      this.#query?.abort();
    });
  }

  /** Other rows: of another filter, order or columns. Shows from the top once they are there. */
  async reload() {
    this.#query?.abort();
    const query = (this.#query = new AbortController());
    const rows = new Rows();
    const answer = await this.#ask(0, query.signal);
    if (!answer) return;
    this.#rows = rows;
    this.element.scrollTop = 0;
    this.#take(answer, 0);
  }

  /** The same rows, as they are now: those in view at once, others when they come into view. */
  async refresh() {
    if (!this.#query) return;
    this.#rows.outdate();
    await this.#load();
  }

  /** Marks the header of the column that orders the rows. */
  setOrder(name, descending) {
    this.#order = { name, descending };
    this.#renderHeader();
  }

  /** Marks a row as chosen, without telling `onSelect`. */
  select(key) {
    this.#selected = key;
    for (const element of this.#shown.values()) this.#mark(element);
  }

  async #ask(block, signal) {
    try {
      return await this.#options.fetch(block * BLOCK, BLOCK, signal);
    } catch (error) {
      if (!signal.aborted && !this.#options.signal.aborted) this.#options.onError(error);
      return null;
    }
  }

  #take(answer, block) {
    // of the kind too: before the first trial nobody knows which columns are text
    const named = (columns) => columns.map(({ name, kind }) => `${kind} ${name}`).join("\n");
    if (named(answer.columns) !== named(this.#columns)) {
      this.#fracs.forEach((_, at) => this.element.style.removeProperty(`--frac-${at}`));
      this.#columns = answer.columns;
      this.#fracs = answer.columns.map(() => 0);
      replace(this.body);
      this.#shown.clear();
      this.element.style.setProperty("--columns", template(answer.columns));
      this.element.setAttribute("aria-colcount", answer.columns.length);
      this.#renderHeader();
    }
    this.#rows.put(block, answer.rows);
    if (answer.total !== this.#total) {
      this.#total = answer.total;
      this.body.style.height = `${answer.total * ROW_PX}px`;
      this.element.setAttribute("aria-rowcount", answer.total + 1);
    }
    this.#options.onWindow(answer.total, answer.columns);
    this.#render();
  }

  #range() {
    const top = Math.max(0, this.element.scrollTop);
    const first = Math.max(0, Math.floor(top / ROW_PX) - AROUND);
    const last = Math.min(this.#total - 1, Math.ceil((top + this.element.clientHeight) / ROW_PX) + AROUND);
    return [first, last];
  }

  async #load() {
    const [first, last] = this.#range();
    const query = this.#query;
    const take = async (block) => {
      const answer = await this.#ask(block, query.signal);
      if (answer && query === this.#query) this.#take(answer, block);
    };
    await Promise.all(this.#rows.wanted(first, Math.max(first, last)).map(take));
  }

  #scrolled() {
    this.#render();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#query && this.#load(), SETTLED_MS);
  }

  #render() {
    if (!this.#columns.length) return;
    const [first, last] = this.#range();
    const free = [];
    for (const [index, element] of this.#shown) {
      if (index < first || index > last) {
        this.#shown.delete(index);
        free.push(element);
      }
    }
    for (let index = first; index <= last; index++) {
      let element = this.#shown.get(index);
      if (!element) {
        element = free.pop() ?? this.#makeRow();
        element.style.transform = `translateY(${index * ROW_PX}px)`;
        element.setAttribute("aria-rowindex", index + 2);
        this.#shown.set(index, element);
      }
      this.#fillRow(element, this.#rows.row(index));
    }
    for (const element of free) element.remove();
  }

  #makeRow() {
    const row = h("div", { class: "grid-row", role: "row" }, ...this.#columns.map(makeCell));
    this.body.append(row);
    return row;
  }

  #fillRow(element, row) {
    if (element.row === row) return;
    element.row = row;
    const key = row ? row[0] : null;
    element.id = key === null ? "" : `row-${key}`;
    this.#columns.forEach((column, at) => {
      const frac = fill(element.children[at], column, row?.[at], row && this.#options.href(key));
      if (frac > this.#fracs[at]) {
        this.#fracs[at] = frac;
        this.element.style.setProperty(`--frac-${at}`, frac);
      }
    });
    this.#mark(element);
  }

  #mark(element) {
    const chosen = element.row !== undefined && element.row[0] === this.#selected;
    element.setAttribute("aria-selected", chosen);
    if (chosen) this.element.setAttribute("aria-activedescendant", element.id);
  }

  #renderHeader() {
    const { name, descending } = this.#order;
    const cells = this.#columns.map((column) => {
      const ordered = column.name === name;
      const sort = ordered ? (descending ? "descending" : "ascending") : "none";
      const button = h("button", { type: "button", title: `Sort by ${column.name}`, onclick: () => this.#options.onSort(column.name) },
        column.name === "number" ? "#" : column.name,
        h("span", { class: "grid-sort", "aria-hidden": "true" }, ordered ? (descending ? "▾" : "▴") : ""),
      );
      return h("div", { class: `grid-cell ${column.kind === "number" ? "num" : ""}`, role: "columnheader", "aria-sort": sort }, button);
    });
    replace(this.header, ...cells);
  }

  #clicked(event) {
    const element = event.target.closest(".grid-row");
    if (element?.row) this.#choose(element.row[0]);
  }

  #choose(key) {
    this.select(key);
    this.#options.onSelect(key);
  }

  #keyed(event) {
    if (event.target !== this.element || event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / ROW_PX) - 2);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const at = this.#indexOf(this.#selected);
    if (event.key === "Enter" && this.#selected !== null) {
      this.#options.onOpen(this.#selected);
    } else if (event.key in moves && this.#total) {
      event.preventDefault();
      const start = at ?? this.#range()[0] + AROUND * (this.element.scrollTop > 0) - 1;
      this.#moveTo(Math.min(this.#total - 1, Math.max(0, start + moves[event.key])));
    }
  }

  #indexOf(key) {
    if (key === null) return null;
    for (const [block, rows] of this.#rows.blocks) {
      const at = rows.findIndex((row) => row[0] === key);
      if (at >= 0) return block * BLOCK + at;
    }
    return null;
  }

  async #moveTo(index) {
    const head = this.header.offsetHeight;
    const top = index * ROW_PX;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + ROW_PX > scrollTop + clientHeight - head) this.element.scrollTop = top + ROW_PX - clientHeight + head;
    this.#render();
    if (!this.#rows.row(index)) await this.#load();
    const row = this.#rows.row(index);
    if (row) this.#choose(row[0]);
  }
}
