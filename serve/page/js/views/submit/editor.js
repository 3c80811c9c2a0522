// A text field for YAML: line numbers, lines with problems, and Enter that keeps the indentation.

import { h } from "../../dom.js";

const MIN_LINES = 20;

/**
 * An editor.
 *
 * @param {(text: string) => void} onInput another text was typed
 * @returns {{element: HTMLElement, text: () => string, setText: (text: string) => void, focus: () => void,
 *   mark: (problems: {line: ?number, message: string}[]) => void, goTo: (line: number, column: ?number) => void}}
 */
export function editor(onInput) {
  const numbers = h("div", { class: "numbers", ariaHidden: "true" });
  const area = h("textarea", {
    id: "spec",
    ariaLabel: "The spec, in YAML",
    "aria-describedby": "spec-said",
    spellcheck: false,
    autocomplete: "off",
    autocapitalize: "off",
    wrap: "off",
  });
  let wrong = new Map();

  area.addEventListener("input", () => {
    drawNumbers();
    onInput(area.value);
  });
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.metaKey) indent(area, event);
  });
  drawNumbers();

  function drawNumbers() {
    const count = Math.max(MIN_LINES, area.value.split("\n").length);
    area.rows = count;
    while (numbers.children.length > count) numbers.lastChild.remove();
    while (numbers.children.length < count) numbers.append(h("span", null, numbers.children.length + 1));
    [...numbers.children].forEach((element, index) => {
      element.className = wrong.has(index + 1) ? "wrong" : "";
      element.title = wrong.get(index + 1) ?? "";
    });
  }

  return {
    element: h("div", { class: "editor" }, numbers, area),
    text: () => area.value,
    setText(text) {
      area.value = text;
      drawNumbers();
    },
    focus: () => area.focus(),
    mark(problems) {
      wrong = new Map(problems.filter((each) => each.line).map((each) => [each.line, each.message]));
      drawNumbers();
    },
    goTo(line, column) {
      const lines = area.value.split("\n");
      const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
      const end = start + (lines[line - 1]?.length ?? 0);
      area.focus({ preventScroll: true });
      numbers.children[line - 1]?.scrollIntoView({ block: "center" }); // the field is as tall as its text
      area.setSelectionRange(Math.min(start + (column ? column - 1 : 0), end), end);
    },
  };
}

function indent(area, event) {
  const before = area.value.slice(0, area.selectionStart);
  const line = before.slice(before.lastIndexOf("\n") + 1);
  const spaces = line.match(/^ */)[0] + (/:\s*$/.test(line) ? "  " : "");
  if (!spaces) return;
  event.preventDefault();
  // the one way to insert text that undo knows
  document.execCommand("insertText", false, `\n${spaces}`);
}

/** What is wrong, as a list whose items lead to their lines. */
export function problemList(problems, onChoice) {
  const items = problems.map((each) => {
    const place = each.line ? `line ${each.line}` : "";
    const said = [h("span", { class: "line" }, place), h("code", null, each.pointer || "/"), h("span", null, ` ${each.message}${each.hint ? `; ${each.hint}` : ""}`)];
    const go = () => onChoice(each.line, each.column);
    return h("li", null, each.line ? h("button", { onclick: go }, said) : h("div", null, said));
  });
  return h("ul", { class: "problems" }, items);
}
