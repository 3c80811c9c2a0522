/** The table of a sweep's trials, with what is shown of them and in which order. */

import { get } from "../api.js";
import { go } from "../app.js";
import { h, keyed, replace, setText } from "../dom.js";
import { plural } from "../format.js";
import { BLOCK, Table } from "../table.js";
import { state } from "../url.js";
import { asked, joined, parted } from "./model.js";
import { paced } from "./pace.js";

const ACTIONS_EVERY_MS = 250;
const COLUMNS_EVERY_MS = 5_000;

/**
 * @param {import("./model.js").Model} model
 * @param {{actions: (number: number | null) => Promise<{key: string, make: () => HTMLElement}[]>, onColumns: (columns: object[]) => void, signal: AbortSignal}} options
 *   `actions`: what can be done with the chosen trial; `onColumns`: told which columns there are
 * @returns {{element: HTMLElement, load: () => Promise<void>, refresh: () => Promise<void>, tryFilter: (filter: string) => Promise<void>}}
 *   `refresh`: what is in view, as it is now
 */
export function trials(model, { actions, onColumns, signal }) {
  const order = { name: state.get("sort"), descending: state.get("desc") === "1" };
  let chosen = state.get("columns") === null ? null : parted(state.get("columns"));
  let offered = "";
  const count = h("span", { class: "quiet count", role: "status" }, " ");
  const problem = h("p", { class: "error-line bad", role: "alert" });
  const csv = h("a", { class: "button", download: "" }, "CSV");
  const menu = columnsMenu((names) => {
    chosen = names;
    state.set({ columns: names && joined(names) });
    table.reload();
  });
  const acts = h("span", { class: "toolbar trial-actions" });
  const rowsPath = (filter, offset, limit) =>
    asked(`${model.api}/table`, { columns: chosen && joined(chosen), filter, ...sortQuery(), offset, limit });
  let tried = null; // the first rows of a filter that is about to be set
  const sortQuery = () => ({ order_by: order.name, descending: order.name ? order.descending : null });

  const table = new Table({
    label: "Trials",
    href: (number) => model.trial(number),
    fetch(offset, limit, aborted) {
      const path = rowsPath(model.wanted, offset, limit);
      const { path: known, answer } = tried ?? {};
      tried = null;
      return known === path ? answer : get(path, { signal: aborted });
    },
    onSort(name) {
      const again = order.name === name;
      // once: as it reads; twice: the other way; thrice: by number again
      Object.assign(order, again && order.descending ? { name: null, descending: false } : { name, descending: again });
      state.set({ sort: order.name, desc: order.descending ? 1 : null });
      table.setOrder(order.name, order.descending);
      table.reload();
    },
    onSelect: (number) => model.select(number),
    onOpen: (number) => go(model.trial(number)),
    onError: (error) => setText(problem, error.problems?.[0]?.message ?? error.detail ?? error.message),
    onWindow(total, columns) {
      if (chosen === null) offer(columns);
      setText(problem, "");
      setText(count, total === 0 && !model.wanted ? "No trials yet: the first appears when it starts." : counted(total, model));
    },
    signal,
  });
  table.setOrder(order.name, order.descending);
  table.select(model.selected);

  // a table of chosen columns says nothing of others, which may be new
  const lookForColumns = paced(COLUMNS_EVERY_MS, async () => {
    const found = await get(`${model.api}/table?limit=1`, { signal }).catch(() => null);
    if (found) offer(found.columns);
  }, signal);
  const showActions = paced(ACTIONS_EVERY_MS, async () => {
    const number = model.selected;
    const found = await actions(number);
    if (number === model.selected) keyed(acts, found, (each) => each.key, (each) => each.make());
  }, signal);
  model.addEventListener("selection", () => {
    table.select(model.selected);
    showActions();
  }, { signal });
  model.addEventListener("filter", () => table.reload(), { signal });
  csv.addEventListener("mousedown", setCsv, { signal });
  csv.addEventListener("focus", setCsv, { signal });
  setCsv();
  showActions();

  function setCsv() {
    csv.href = asked(`${model.api}/trials.csv`, { columns: chosen && joined(chosen), filter: model.wanted, ...sortQuery() });
  }

  function offer(columns) {
    const names = columns.map((column) => column.name).join("\n");
    if (names === offered) return;
    offered = names;
    menu.offer(columns, chosen);
    onColumns(columns);
  }

  return {
    element: h(
      "section",
      { class: "panel trials", "aria-labelledby": "trials-title" },
      h("div", { class: "chart-head" }, h("h2", { id: "trials-title" }, "Trials"), count, acts, h("div", { class: "toolbar" }, menu.element, csv)),
      problem,
      table.element,
    ),
    async refresh() {
      showActions();
      if (chosen) lookForColumns();
      await table.refresh();
    },
    /** Asks for the first rows of another filter, which the table takes once it is set. Throws what is wrong with it. */
    async tryFilter(filter) {
      const path = rowsPath(model.wantedWith(filter), 0, BLOCK);
      const answer = await get(path, { signal });
      tried = filter === model.filter ? null : { path, answer };
    },
    async load() {
      if (chosen) lookForColumns();
      await table.reload();
    },
  };
}

function counted(total, model) {
  const all = Object.values(model.sweep.trials).reduce((sum, each) => sum + each, 0);
  return model.wanted ? `${total.toLocaleString("en")} of ${plural(all, "trial")}` : plural(total, "trial");
}

function columnsMenu(onChange) {
  const list = h("div", { class: "menu-list" });
  const element = h("details", { class: "menu" }, h("summary", { class: "button" }, "Columns"), list);
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    element.open = false;
    element.firstChild.focus();
  });
  return {
    element,
    offer(columns, chosen) {
      const boxes = columns.slice(1).map(({ name }) =>
        h("label", null, h("input", { type: "checkbox", value: name, checked: chosen === null || chosen.includes(name), onchange: changed }), " ", name),
      );
      replace(list, h("button", { type: "button", class: "button small", onclick: () => all() }, "All"), ...boxes);

      function changed() {
        const names = [...list.querySelectorAll("input:checked")].map((box) => box.value);
        onChange(names.length === columns.length - 1 ? null : ["number", ...names]);
      }
      function all() {
        for (const box of list.querySelectorAll("input")) box.checked = true;
        onChange(null);
      }
    },
  };
}
