// How the cluster was divided among the sweeps, as this browser has seen it. The service keeps no such history.

import { h, replace } from "../../dom.js";
import { colour, draw } from "../../figure.js";
import { lineColour } from "../../palette.js";

const KEPT = "toprung-shares";
/** Some hours of it; older ones are thinned out, since nobody looks at single seconds of the morning. */
const MAX_SAMPLES = 1_000;
const NARROW = 520;

/** The samples, and their chart. */
export class Shares {
  constructor(element) {
    this.element = element;
    this.samples = kept();
  }

  /** Takes what the sweeps have at this moment. */
  add(sweeps) {
    const running = sweeps.filter((sweep) => sweep.state === "running");
    const trials = running.map((sweep) => [sweep.sweep_id, sweep.name, sweep.num_running]);
    this.samples.push({ at: Date.now(), trials });
    if (this.samples.length > MAX_SAMPLES) {
      const half = MAX_SAMPLES / 2;
      this.samples = this.samples.filter((_, index) => index >= half || index % 2 === 0);
    }
    keep(this.samples);
    this.draw();
  }

  /** Draws them as a stack. */
  async draw() {
    const names = new Map(this.samples.flatMap((sample) => sample.trials.map(([id, name]) => [id, name])));
    if (this.samples.length < 2 || !names.size) {
      replace(this.element, h("p", { class: "empty" }, names.size ? "The first points come in some seconds." : "No trial has run while this page was open."));
      return;
    }
    if (this.element.querySelector(".empty")) replace(this.element);
    const counts = this.samples.map((sample) => new Map(sample.trials.map(([id, , count]) => [id, count])));
    const data = [...names].map(([id, name], index) => ({
      type: "scatter",
      mode: "lines",
      stackgroup: "trials",
      name,
      x: this.samples.map((sample) => local(sample.at)),
      y: counts.map((each) => each.get(id) ?? 0),
      line: { shape: "hv", width: 1, color: lineColour(index) },
      hovertemplate: "%{y} trials<extra>%{fullData.name}</extra>",
    }));
    const line = colour("line");
    const layout = {
      xaxis: { type: "date", gridcolor: line, range: [local(this.samples[0].at), local(this.samples.at(-1).at)] },
      yaxis: { gridcolor: line, rangemode: "tozero", zeroline: false, tickformat: "d", automargin: true },
      hovermode: "x unified",
      legend: { orientation: "h", y: -0.2 },
      showlegend: this.element.clientWidth > NARROW, // else hovering says which is which
      uirevision: "shares",
    };
    await draw(this.element, { data, layout });
  }
}

/** A moment as plotly takes it: it has no zones, so it gets the viewer's clock. */
function local(milliseconds) {
  const moment = new Date(milliseconds);
  return new Date(milliseconds - moment.getTimezoneOffset() * 60_000).toISOString().replace("Z", "");
}

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
  } catch {
    return [];
  }
}

function keep(samples) {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(samples));
  } catch {
    // storage is full or switched off: they are kept while the view is
  }
}
