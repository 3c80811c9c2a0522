/** The chosen trial in figures: what belongs to it is drawn once more, on top. */

import { colour } from "../figure.js";

const NAME = "chosen trial";

/**
 * The number of the trial that a point is of; null where it is of none.
 *
 * @param {{customdata?: unknown}} point
 */
export function trialOf(point) {
  const found = Array.isArray(point.customdata) ? point.customdata[0] : point.customdata;
  return typeof found === "number" ? found : null;
}

/**
 * Traces that show the points of a trial once more.
 *
 * @param {object[]} traces of the figure
 * @param {number} number of the trial
 */
export function chosenTrace(traces, number) {
  return traces.filter(isDrawn).flatMap((trace) => {
    const at = pointsOf(trace, number);
    if (!at.length) return [];
    const pick = (values) => at.map((index) => values[index]);
    return [
      {
        type: "scatter",
        mode: trace.connectgaps === false && at.length > 1 ? "lines+markers" : "markers", // a curve among many
        name: NAME,
        x: pick(trace.x),
        y: pick(trace.y),
        xaxis: trace.xaxis,
        yaxis: trace.yaxis,
        customdata: pick(trace.customdata),
        hoverinfo: "skip",
        showlegend: false,
        marker: { size: 11, symbol: "circle-open", color: colour("accent"), line: { width: 2.5 } },
        line: { width: 3, color: colour("accent") },
      },
    ];
  });
}

/**
 * Marks another trial in a figure that is drawn.
 *
 * @param {HTMLElement} plot plotly's
 * @param {number | null} number none: no trial is marked any more
 */
export function highlight(plot, number) {
  const shown = plot.data ?? [];
  const kept = shown.filter((trace) => trace.name !== NAME);
  const added = number === null ? [] : chosenTrace(kept, number);
  if (kept.length === shown.length && !added.length) return;
  window.Plotly.react(plot, [...kept, ...added], plot.layout, plot._context);
}

function isDrawn(trace) {
  if (trace.line?.shape === "hv") return false; // steps from trial to trial, of which none has the whole
  return ["scatter", "scattergl", undefined].includes(trace.type) && Array.isArray(trace.customdata) && trace.name !== NAME && Array.isArray(trace.x) && Array.isArray(trace.y);
}

function pointsOf(trace, number) {
  const found = [];
  trace.customdata.forEach((each, index) => {
    if ((Array.isArray(each) ? each[0] : each) === number) found.push(index);
  });
  return found;
}
