/** The filter of a sweep's trials: an expression that is typed, and what is brushed. */

import { h, keyed, replace, setText } from "../dom.js";
import { number } from "../format.js";

/**
 * @param {import("./model.js").Model} model
 * @param {(filter: string) => Promise<void>} tryFilter asks for the rows of a filter; throws what is wrong with it
 * @param {AbortSignal} signal
 * @returns {HTMLElement}
 */
export function filterBar(model, tryFilter, signal) {
  const input = h("input", {
    id: "filter",
    type: "search",
    class: "filter-input",
    placeholder: example(model.sweep.spec),
    value: model.filter,
    autocomplete: "off",
    "aria-describedby": "filter-problem",
    "aria-keyshortcuts": "/",
  });
  input.spellcheck = false;
  const problem = h("p", { id: "filter-problem", class: "filter-problem", role: "status" });
  const chips = h("div", { class: "brushes" });
  const submit = async () => {
    const text = input.value.trim();
    const wrong = text ? await problemWith(tryFilter, text, signal) : null;
    if (input.value.trim() !== text || signal.aborted) return; // more was typed meanwhile
    input.setAttribute("aria-invalid", String(wrong !== null));
    replace(problem, ...(wrong ?? []));
    if (!wrong) model.setFilter(text);
  };
  const form = h("form", { class: "filter-form", role: "search" }, h("label", { htmlFor: "filter" }, "Filter"), input,
    h("button", { class: "button", type: "submit" }, "Apply"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  input.addEventListener("search", () => input.value || submit()); // the cross in the field; Enter is the form's
  input.addEventListener("keydown", (event) => event.key === "Escape" && input.blur());
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
    event.preventDefault();
    input.focus();
    input.select();
  }, { signal });

  const showBrush = () => keyed(chips, Object.entries(model.brush), ([column]) => column, ([column]) => brushChip(model, column), updateChip);
  model.addEventListener("brush", showBrush, { signal });
  showBrush();
  if (model.filter) submit(); // from an address, which may be wrong
  return h("div", { class: "filter-bar" }, form, chips, problem);
}

function example(spec) {
  const { name, goal } = spec.metric;
  return goal === "minimize" ? `${name} < 0.2 and state == "completed"` : `${name} > 0.9 and state == "completed"`;
}

/** What is wrong with an expression, as children for the line below the field; null: nothing. */
async function problemWith(tryFilter, expression, signal) {
  try {
    await tryFilter(expression);
    return null;
  } catch (error) {
    if (signal.aborted) return null;
    const found = error.problems?.[0];
    return found ? [`The filter ${found.message}${found.hint ? `; ${found.hint}` : ""}`] : [error.detail || error.message];
  }
}

function brushChip(model, column) {
  const remove = h("button", { type: "button", class: "chip-close", "aria-label": `Don't filter by ${column}`, onclick: () => model.clearBrush(column) }, "×");
  return h("span", { class: "chip brush" }, h("span"), remove);
}

function updateChip(chip, [column, parts]) {
  const words = parts.map((part) => (Array.isArray(part) ? `${number(part[0], 3)} … ${number(part[1], 3)}` : String(part)));
  setText(chip.firstChild, `${column}: ${words.join(" or ")}`);
}
