// Questions and short messages, on the browser's own <dialog>: it keeps the focus inside, and Escape leaves it.

import { h, replace, words } from "./dom.js";

/**
 * Asks before something is done.
 *
 * @param {{title: string, text: any, action: string, danger?: boolean}} question `action`: the button, a verb
 * @returns {Promise<boolean>}
 */
export function confirm({ title, text, action, danger = false }) {
  const yes = h("button", { class: `button ${danger ? "danger" : "primary"}`, value: "yes", autofocus: true }, action);
  return ask(title, [h("p", null, text)], yes).then((answer) => answer === "yes");
}

/**
 * Asks for values.
 *
 * @param {{title: string, text?: any, action: string, fields: {name: string, label: string, type?: string, value?: any,
 *   hint?: string, required?: boolean, options?: (string|{value: string, label: string})[], min?: number, max?: number,
 *   step?: number|string, rows?: number}[]}} form `type`: text, number, checkbox, textarea, select
 * @returns {Promise<Object<string, any>|null>} by name: numbers are numbers or null, checkboxes true or false
 */
export async function form({ title, text, fields, action }) {
  const inputs = new Map(fields.map((field) => [field, input(field)]));
  const rows = [...inputs].map(([field, element]) => row(field, element));
  const yes = h("button", { class: "button primary", value: "yes" }, action);
  const answer = await ask(title, [text ? h("p", null, text) : null, ...rows], yes);
  if (answer !== "yes") return null;
  return Object.fromEntries([...inputs].map(([field, element]) => [field.name, read(field, element)]));
}

function ask(title, body, yes) {
  const id = `dialog-${Math.random().toString(36).slice(2)}`;
  const no = h("button", { class: "button", value: "no", formNoValidate: true }, "Leave it");
  const dialog = h(
    "dialog",
    { "aria-labelledby": id },
    h("form", { method: "dialog" }, h("h2", { id }, title), body, h("div", { class: "actions" }, no, yes)),
  );
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

function input(field) {
  const { name, value = null, required = false } = field;
  const common = { name, required, id: `field-${name}` };
  if (field.type === "select") {
    const options = field.options.map((each) => (typeof each === "string" ? { value: each, label: each } : each));
    const made = options.map((each) => h("option", { value: each.value, selected: each.value === value }, each.label));
    return h("select", common, made);
  }
  if (field.type === "textarea") return h("textarea", { ...common, rows: field.rows ?? 8, value: value ?? "", spellcheck: false });
  if (field.type === "checkbox") return h("input", { ...common, type: "checkbox", checked: Boolean(value) });
  const { min, max, step } = field;
  return h("input", { ...common, type: field.type ?? "text", min, max, step, value: value ?? "", autocomplete: "off" });
}

function row(field, element) {
  const hint = field.hint ? h("small", { class: "quiet", id: `${element.id}-hint` }, field.hint) : null;
  if (hint) element.setAttribute("aria-describedby", hint.id);
  const label = h("label", { htmlFor: element.id }, field.label);
  return h("div", { class: `field ${field.type ?? "text"}` }, label, element, hint);
}

function read(field, element) {
  if (field.type === "checkbox") return element.checked;
  if (field.type === "number") return element.value === "" ? null : Number(element.value);
  return element.value;
}

/** Takes away what is asked: the view that asks is left. */
export function closeDialogs() {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close("");
}

/**
 * A short message that goes by itself; an error stays until it is closed.
 *
 * @param {string} text
 * @param {"info"|"good"|"error"} [kind]
 */
export function toast(text, kind = "info") {
  const close = h("button", { class: "close", ariaLabel: "Close this message", onclick: () => message.remove() }, "×");
  const message = h("div", { class: `toast ${kind}` }, h("span", null, text), close);
  document.getElementById("toasts").append(message);
  if (kind !== "error") setTimeout(() => message.remove(), 6_000);
}

/**
 * What went wrong, with all that the service says of it, in the place of what was to be shown.
 *
 * @param {HTMLElement} element
 * @param {Error} error
 * @param {any} [next] what to do about it, such as a link
 */
export function showError(element, error, next) {
  const problems = (error.problems ?? []).map((each) =>
    h("li", null, h("code", null, each.pointer), ` ${each.message}`, each.hint ? `; ${each.hint}` : ""),
  );
  replace(
    element,
    h(
      "div",
      { class: "error", role: "alert" },
      h("strong", null, error.title ?? "Something went wrong"),
      h("p", null, words(error.detail || error.message)),
      problems.length ? h("ul", null, problems) : null,
      next ? h("p", null, next) : null,
    ),
  );
}
