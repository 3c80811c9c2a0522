/** The charts of a sweep, on two tabs: how it goes, and what its parameters do. */

import { h, replace } from "../dom.js";
import { state } from "../url.js";
import { applyBrush, brushOf } from "./brush.js";
import { Chart } from "./chart.js";

const TABS = { progress: "Progress", parameters: "Parameters" };
const NARROW_PX = 700;

/**
 * @param {import("./model.js").Model} model
 * @param {AbortSignal} signal
 * @returns {{element: HTMLElement, poke: () => void, columns: (columns: object[]) => void}}
 *   `poke`: there are other results; `columns`: these are the table's
 */
export function charts(model, signal) {
  const metric = selectOf("metric", "Metric", model.metric, (name) => model.setMetric(name));
  const progress = [
    new Chart(model, { name: "best", title: "Best so far", axes: ["x", "y"], signal }),
    new Chart(model, { name: "rungs", title: "Rungs", hint: "Each rung's trials: point at one to read why it went on, waits or was stopped", axes: ["y"], signal }),
    new Chart(model, { name: "curves", title: "Learning curves", hint: "A line per trial, coloured by the rung it reached; stopped ones are faint", axes: ["x", "y"], size: "wide", signal }),
  ];
  const slices = pickedChart(model, { name: "slice", title: "Slice", count: 1, signal });
  const contour = pickedChart(model, { name: "contour", title: "Contour", count: 2, signal });
  const parameters = [
    parallel(model, signal),
    new Chart(model, { name: "importance", title: "Importance", hint: "How much of the objective's variation each parameter explains", apart: true, signal }),
    slices.chart,
    contour.chart,
  ];
  const groups = { progress, parameters };
  const panels = Object.fromEntries(
    Object.keys(TABS).map((name) => [name, h("div", { class: "charts", role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}` }, ...groups[name].map((chart) => chart.element))]),
  );
  const tabs = tabBar(panels);
  return {
    element: h("div", { class: "sweep-charts" }, h("div", { class: "tabs-row" }, tabs, metric.element), panels.progress, panels.parameters),
    poke: () => [...progress, ...parameters].forEach((chart) => chart.poke()),
    columns(columns) {
      const objective = model.sweep.spec.metric.name;
      const names = (role) => columns.filter((column) => column.role === role).map((column) => column.name);
      metric.options([...new Set([objective, ...names("metric")])], model.metric ?? objective);
      slices.options(names("param"));
      contour.options(names("param"));
    },
  };
}

/** On a phone there is no room for many numbers below a chart. */
function fewTicks({ layout: { xaxis } }) {
  if (!xaxis || innerWidth >= NARROW_PX) return;
  if (xaxis.ticktext) xaxis.ticktext = xaxis.ticktext.map((text) => text.split("<br>")[0]);
  else Object.assign(xaxis, { nticks: 5, tickangle: -45 });
}

function tabBar(panels) {
  const buttons = Object.entries(TABS).map(([name, label]) =>
    h("button", { type: "button", role: "tab", id: `tab-${name}`, class: "tab", "aria-controls": `panel-${name}`, onclick: () => open(name) }, label),
  );
  const names = Object.keys(TABS);

  function open(name) {
    names.forEach((each, at) => {
      panels[each].hidden = each !== name;
      buttons[at].setAttribute("aria-selected", String(each === name));
      buttons[at].tabIndex = each === name ? 0 : -1;
    });
    state.set({ tab: name === names[0] ? null : name });
  }

  const bar = h("div", { class: "tabs", role: "tablist", "aria-label": "Charts" }, ...buttons);
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = (buttons.indexOf(event.target) + step + names.length) % names.length;
    open(names[at]);
    buttons[at].focus();
  });
  open(names.includes(state.get("tab")) ? state.get("tab") : names[0]);
  return bar;
}

function parallel(model, signal) {
  let cleared = 0;
  const chart = new Chart(model, {
    name: "parallel",
    title: "Parallel coordinates",
    hint: "Drag along an axis to keep only trials in that range, here, in the other charts and in the table",
    size: "wide",
    scrolls: true,
    signal,
    filter: () => model.filter, // what is brushed out stays to be seen, in grey
    prepare({ data, layout }) {
      if (!data.length) return;
      data[0].uirevision = cleared; // as long as it is the same, plotly keeps what was brushed by hand
      applyBrush(data[0].dimensions, layout.meta.dimensions, model.brush);
    },
    drawn: (plot) =>
      plot.on("plotly_restyle", ([changes]) => {
        const brushed = Object.keys(changes).some((key) => key.includes("constraintrange"));
        if (brushed) model.setBrush(brushOf(plot.data[0].dimensions, plot.layout.meta.dimensions));
      }),
  });
  model.addEventListener("unbrush", () => {
    cleared += 1;
    chart.redraw();
  }, { signal });
  return chart;
}

function pickedChart(model, { name, title, count, signal }) {
  const keys = ["parameter", "parameter2"].slice(0, count);
  const prefix = name === "slice" ? "slice-" : "";
  const chosen = keys.map((key) => state.get(prefix + key));
  const selects = keys.map((key, at) =>
    selectOf(`${name}-${key}`, at ? "and" : count > 1 ? "of" : "Parameter", chosen[at], (value) => {
      chosen[at] = value;
      state.set({ [prefix + key]: value });
      chart.again();
    }),
  );
  const chart = new Chart(model, {
    name,
    title,
    controls: selects.map((select) => select.element),
    size: count > 1 ? "wide" : "",
    prepare: fewTicks,
    query: () => (chosen[0] ? Object.fromEntries(keys.map((key, at) => [key, chosen[at]])) : null),
    signal,
  });
  return {
    chart,
    options(names) {
      let other = false;
      selects.forEach((select, at) => {
        if (!names.includes(chosen[at])) {
          chosen[at] = names[at] ?? null;
          other = true;
        }
        select.options(names, chosen[at]);
      });
      if (other) chart.again();
    },
  };
}

function selectOf(id, label, value, onChange) {
  const select = h("select", { id, onchange: () => onChange(select.value) });
  let known = "";
  return {
    element: h("label", { class: "inline-field", htmlFor: id }, label, " ", select),
    options(names, chosen) {
      if (known !== names.join("\n")) {
        known = names.join("\n");
        replace(select, ...names.map((name) => h("option", { value: name }, name)));
      }
      if (chosen !== null && select.value !== chosen) select.value = chosen;
    },
  };
}
