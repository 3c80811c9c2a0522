/** The cells of a table: made once, filled with whatever row comes into view. */

import { h } from "./dom.js";
import { number, stateLabel } from "./format.js";

const PX_PER_LETTER = 8.5;

/**
 * The widths of columns, for `grid-template-columns`.
 *
 * @param {{name: string, kind: string}[]} columns
 */
export function template(columns) {
  return columns.map((column, at) => (at === columns.length - 1 ? `minmax(${width(column)}px, 1fr)` : `${width(column)}px`)).join(" ");
}

function width({ name, kind }) {
  if (name === "number") return 76;
  if (name === "reason") return 420;
  if (kind === "state") return 116;
  return Math.min(190, Math.max(kind === "number" ? 92 : 110, name.length * PX_PER_LETTER + 40));
}

/** An empty cell of a column. */
export function makeCell(column, at) {
  if (column.name === "number") return h("div", { class: "grid-cell num", role: "gridcell" }, h("a", { tabindex: "-1" }));
  if (column.kind === "state") return h("div", { class: "grid-cell", role: "gridcell" }, h("span", { class: "chip" }));
  if (column.kind !== "number") return h("div", { class: "grid-cell", role: "gridcell" });
  const cell = h("div", { class: "grid-cell num", role: "gridcell" });
  cell.style.setProperty("--frac", `var(--frac-${at}, 0)`);
  return cell;
}

/**
 * Shows a value in a cell, where it is another than before.
 *
 * @param {HTMLElement} cell
 * @param {{name: string, kind: string}} column
 * @param {unknown} value undefined: it is on its way
 * @param {string} href the page of the row
 * @returns {number} letters after the decimal point, which all cells of the column leave room for
 */
export function fill(cell, column, value, href) {
  if (cell.value === value && cell.filled && column.name !== "number") return 0;
  cell.value = value;
  cell.filled = true;
  if (column.name === "number") return link(cell.firstChild, value, href);
  if (column.kind === "state") return state(cell.firstChild, value);
  const text = value === undefined ? "" : typeof value === "number" ? number(value) : column.kind === "number" ? "–" : String(value ?? "–");
  return column.kind === "number" ? aligned(cell, text) : plain(cell, text);
}

function link(anchor, value, href) {
  anchor.textContent = value ?? "…";
  if (href) anchor.href = href;
  else anchor.removeAttribute("href");
  return 0;
}

function state(chip, value) {
  chip.className = value ? `chip state-${value}` : "";
  chip.textContent = value ? stateLabel(value) : "";
  return 0;
}

function plain(cell, text) {
  cell.textContent = text;
  cell.title = text;
  return 0;
}

/** What comes after the decimal point leaves as much room to its right as the longest of the column has more. */
function aligned(cell, text) {
  const point = text.search(/[.e]/);
  const frac = point < 0 ? 0 : text.length - point;
  cell.textContent = text;
  cell.style.setProperty("--own", frac);
  return frac;
}
