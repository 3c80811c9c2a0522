// All sweeps, live: who runs what, how far it is, what it has found and used.

import { events, get } from "../api.js";
import { showError } from "../dialog.js";
import { h, keyed, replace, setText } from "../dom.js";
import { ticking } from "../sweep/pace.js";
import { path, state } from "../url.js";
import { COLUMNS, makeRow, order, updateRow, updateTimes } from "./sweeps/rows.js";

const PAGE = 50;
const STATES = ["queued", "running", "paused", "succeeded", "failed", "cancelled"];
/** However many events come, the list is read anew at most this often. */
const COALESCE_MS = 1_000;
/** So few sweeps are asked for one by one. */
const FEW = 4;
const TYPING_MS = 250;
const TICK_MS = 10_000;
/** The list is read once its changes are heard, so that it is read once; or after this, if they are not. */
const FIRST_MS = 1_000;

/** Shows the view; see app.js. */
export async function show(root, { signal }) {
  const known = { sweeps: new Map(), pages: 1, next: null, currency: "", chosen: new Set(), loaded: false };
  const parts = build(root, { onFilter, onSort, onMore, onChoice });
  let asked = 0;

  replace(parts.body, waiting());
  get("/v1/usage", { signal }).then(onUsage).catch(() => {}); // without it there is no list of owners, no currency
  follow();

  async function load() {
    const mine = ++asked;
    const found = new Map();
    let cursor = null;
    for (let page = 0; page < known.pages; page += 1) {
      const answer = await get(address(cursor), { signal });
      for (const sweep of answer.items) found.set(sweep.id, sweep);
      cursor = answer.next_cursor;
      if (cursor === null) break;
    }
    if (mine !== asked) return; // another question was asked meanwhile
    known.sweeps = found;
    known.next = cursor;
    known.loaded = true;
    draw();
  }

  function draw() {
    if (!known.loaded) return;
    const sweeps = order([...known.sweeps.values()], state.get("sort"), state.get("desc") === "1");
    const row = (sweep) => makeRow(sweep, { signal, chosen: known.chosen, onChoice });
    keyed(parts.body, sweeps, (sweep) => sweep.id, row, (element, sweep) => updateRow(element, sweep, known.currency));
    replace(parts.message, sweeps.length ? null : nothing());
    parts.table.hidden = !sweeps.length;
    parts.more.hidden = known.next === null;
    setText(parts.count, counted(sweeps.length, known.next === null));
    parts.showSort();
  }

  function again() {
    return h("button", { class: "button", onclick: () => refresh() }, "Try again");
  }

  async function refresh() {
    const mine = asked + 1;
    try {
      await load();
    } catch (error) {
      if (signal.aborted || mine !== asked) return;
      if (!known.loaded) replace(parts.body);
      showError(parts.message, error, again());
    }
  }

  function onFilter(changes) {
    state.set(changes);
    known.pages = 1;
    refresh();
  }

  function onSort(name) {
    const down = state.get("sort") === name ? state.get("desc") !== "1" : COLUMNS[name].down === true;
    state.set({ sort: name, desc: down ? "1" : null });
    draw();
  }

  function onMore() {
    known.pages += 1;
    refresh();
  }

  function onChoice(id, on) {
    if (on) known.chosen.add(id);
    else known.chosen.delete(id);
    parts.showChosen([...known.chosen]);
  }

  function onUsage(usage) {
    known.currency = usage.currency;
    parts.showOwners(usage.items.map((item) => item.owner).filter(Boolean).sort());
    draw();
  }

  /** Those sweeps anew that results came for; all of them where one began or ended, since places in the queue change. */
  async function catchUp(changed) {
    if (changed.whole || changed.ids.size > FEW) return refresh();
    const mine = asked;
    try {
      const sweeps = await Promise.all([...changed.ids].map((id) => get(path`/v1/sweeps/${id}`, { signal })));
      if (mine !== asked) return undefined; // all were asked for meanwhile
      for (const sweep of sweeps) known.sweeps.set(sweep.id, sweep);
      return draw();
    } catch {
      return refresh(); // one was deleted, say
    }
  }

  function follow() {
    let last = 0;
    let changed = { whole: true, ids: new Set() };
    const now = () => {
      clearTimeout(timer);
      timer = null;
      last = Date.now();
      const found = changed;
      changed = { whole: false, ids: new Set() };
      catchUp(found);
    };
    let timer = setTimeout(now, document.hidden ? 0 : FIRST_MS);
    const soon = () => {
      timer ??= setTimeout(now, Math.max(0, last + COALESCE_MS - Date.now()));
    };
    const onEvent = (event) => {
      if (known.sweeps.has(event.sweep_id) && event.type !== "sweep.state") changed.ids.add(event.sweep_id);
      else if (event.type.startsWith("sweep.")) changed.whole = true;
      else return; // of one that is not shown
      soon();
    };
    const onState = (name) => {
      parts.showLive(name);
      if (name !== "open") return;
      changed.whole = true; // whatever happened while nobody listened
      if (last === 0) now();
      else soon();
    };
    events("/v1/events?last_event_id=newest", onEvent, { signal, onState });
    ticking(TICK_MS, () => parts.body.keyedChildren?.forEach((row, id) => updateTimes(row, known.sweeps.get(id))), signal);
    signal.addEventListener("abort", () => clearTimeout(timer));
  }
}

function address(cursor) {
  const params = new URLSearchParams({ limit: PAGE });
  for (const name of ["state", "owner", "text"]) if (state.get(name)) params.set(name, state.get(name));
  if (cursor) params.set("cursor", cursor);
  return `/v1/sweeps?${params}`;
}

/** Sorted is what is here: older sweeps may come before it. */
function counted(count, all) {
  if (!all && state.get("sort")) return `the newest ${count} sweeps, sorted`;
  return `${count}${all ? "" : "+"} ${count === 1 ? "sweep" : "sweeps"}`;
}

function waiting() {
  return h("tr", { class: "waiting" }, h("td", { colSpan: Object.keys(COLUMNS).length + 1 }, "Loading…"));
}

function nothing() {
  if (state.get("state") || state.get("owner") || state.get("text")) {
    return h("div", { class: "empty" }, h("p", null, "No sweep is like that."), h("a", { class: "button", href: "/" }, "Show all"));
  }
  return h(
    "div",
    { class: "empty" },
    h("h2", null, "No sweeps yet"),
    h("p", null, "A sweep is a file that says what to train, which parameters to try, and when to stop. Begin from an example, or send your own with ", h("code", null, "toprung submit sweep.yaml"), "."),
    h("a", { class: "button primary", href: "/submit" }, "Submit a sweep"),
  );
}

function build(root, { onFilter, onSort, onMore }) {
  const count = h("span", { class: "quiet count", role: "status" });
  const live = h("span", { class: "live quiet", role: "status" });
  const text = h("input", { type: "search", placeholder: "Search names", ariaLabel: "Search names", value: state.get("text") ?? "" });
  let typing = null;
  text.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => onFilter({ text: text.value.trim() || null }), TYPING_MS);
  });
  const states = select("State", "any state", STATES, state.get("state"), (value) => onFilter({ state: value }));
  const owners = select("Owner", "any owner", [state.get("owner")].filter(Boolean), state.get("owner"), (value) => onFilter({ owner: value }));
  owners.hidden = true;
  const compare = h("a", { class: "button", hidden: true });
  const headers = Object.entries(COLUMNS).map(([name, column]) => {
    const button = h("button", { onclick: () => onSort(name) }, column.label, h("span", { class: "arrow", ariaHidden: "true" }));
    return [name, h("th", { scope: "col", role: "columnheader", class: column.num ? "num" : "" }, button)];
  });
  const body = h("tbody", { role: "rowgroup" });
  const choose = h("th", { scope: "col", role: "columnheader" }, h("span", { class: "visually-hidden" }, "Compare"));
  // cells become cards on narrow pages: roles are said, since browsers forget those of cells that are no table's
  const table = h(
    "table",
    { class: "table sweeps", role: "table" },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, choose, headers.map(([, header]) => header))),
    body,
  );
  const message = h("div");
  const more = h("button", { class: "button", hidden: true, onclick: onMore }, "Show older ones");
  replace(
    root,
    h(
      "div",
      { class: "toolbar" },
      h("h1", null, "Sweeps"),
      count,
      live,
      h("span", { class: "grow" }),
      h("div", { class: "filters" }, text, states, owners),
      compare,
      h("a", { class: "button primary spare", href: "/submit" }, "Submit a sweep"),
    ),
    h("div", { class: "panel flush" }, table, message),
    h("p", { class: "more" }, more),
  );
  return {
    body,
    count,
    message,
    more,
    table,
    showSort: () => showSort(headers),
    showOwners: (names) => showOwners(owners, names),
    showChosen: (ids) => showChosen(compare, ids),
    showLive: (name) => showLive(live, name),
  };
}

function showSort(headers) {
  const sorted = state.get("sort");
  const down = state.get("desc") === "1";
  for (const [name, header] of headers) {
    header.ariaSort = name === sorted ? (down ? "descending" : "ascending") : "none";
    setText(header.querySelector(".arrow"), name === sorted ? (down ? " ↓" : " ↑") : "");
  }
}

function showOwners(owners, names) {
  const chosen = state.get("owner");
  const all = chosen && !names.includes(chosen) ? [chosen, ...names] : names;
  replace(owners, h("option", { value: "" }, "any owner"), all.map((name) => h("option", { value: name, selected: name === chosen }, name)));
  owners.hidden = all.length === 0;
}

function showChosen(compare, ids) {
  compare.hidden = ids.length === 0;
  compare.href = `/compare?sweeps=${ids.join(",")}`;
  setText(compare, ids.length === 1 ? "Compare with…" : `Compare ${ids.length}`);
}

function showLive(live, name) {
  live.className = `live ${name === "open" ? "good" : "warn"}`;
  setText(live, name === "open" ? "● live" : name === "lost" ? "○ connection lost, trying again" : "○ not live");
}

function select(label, any, options, chosen, onChange) {
  const made = options.map((each) => h("option", { value: each, selected: each === chosen }, each));
  const element = h("select", { ariaLabel: label }, h("option", { value: "" }, any), made);
  element.addEventListener("change", () => onChange(element.value || null));
  return element;
}
