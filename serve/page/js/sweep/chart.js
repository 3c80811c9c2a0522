/** One figure of the service's on the page of a sweep. */

import { text } from "../api.js";
import { go } from "../app.js";
import { h, setText } from "../dom.js";
import { THEME, clear, draw, theme } from "../figure.js";
import { state } from "../url.js";
import { asked } from "./model.js";
import { chosenTrace, highlight, trialOf } from "./marks.js";
import { breath, paced, queue } from "./pace.js";

const EVERY_MS = 2000;
const SOON_MS = 60;
const MARK_MS = 80;
// one figure after the other: asked for together they would all come late, as the service makes them on one core
const asks = queue();
const draws = queue();

/**
 * Makes a panel with a figure, which is fetched once it is in view, and again as trials come.
 *
 * @param {import("./model.js").Model} model
 * @param {object} options
 * @param {string} options.name of the figure
 * @param {string} options.title
 * @param {string} [options.hint] a sentence for those who see it for the first time
 * @param {string[]} [options.axes] which can be logarithmic: "x", "y"
 * @param {() => object | null} [options.query] more of what is asked; null: it can't be asked yet
 * @param {() => string} [options.filter] the expression; as a rule the model's
 * @param {string} [options.size] a class: "tall", "wide"
 * @param {boolean} [options.apart] whether the service takes seconds for it: others don't wait for its turn
 * @param {boolean} [options.scrolls] whether it is wider than a phone
 * @param {HTMLElement[]} [options.controls] beside the title
 * @param {(figure: object) => void} [options.prepare] before it is drawn
 * @param {(element: HTMLElement) => void} [options.drawn] after it was drawn for the first time
 * @param {AbortSignal} options.signal ends it
 */
export class Chart {
  #model;
  #options;
  #plot = h("div", { class: "plot", role: "figure", "aria-busy": "true" });
  #note = h("p", { class: "plot-note quiet" });
  #seen = null; // the text of the figure that is drawn
  #askedFor = null; // the path of the figure that is drawn or on its way
  #asking = null;
  #marking = null;
  #held = false;
  #missed = false; // whether there was something new meanwhile
  #inView = false;
  #drawn = false;
  #logs;

  constructor(model, options) {
    this.#model = model;
    this.#options = { axes: [], controls: [], query: () => ({}), filter: () => model.wanted, size: "", prepare: () => {}, drawn: () => {}, ...options };
    const { name, title, hint, axes, controls, size, scrolls, signal } = this.#options;
    this.#logs = new Set((state.get(`log-${name}`) ?? "").split(",").filter((axis) => axes.includes(axis)));
    const id = `chart-${name}`;
    this.element = h(
      "section",
      { class: `panel chart ${size}`, "aria-labelledby": id, dataset: { figure: name } },
      h("div", { class: "chart-head" }, h("h2", { id, title: hint }, title), h("div", { class: "toolbar" }, ...controls, ...axes.map((axis) => this.#logButton(axis)))),
      h("div", { class: "plot-box", ...(scrolls ? { tabindex: "0", role: "group", "aria-labelledby": id } : {}) }, this.#plot),
      this.#note,
    );
    this.poke = paced(EVERY_MS, () => this.#refresh(), signal);
    const soon = paced(SOON_MS, () => this.#refresh(), signal);
    this.again = () => {
      this.#asking?.abort();
      soon();
    };
    const observer = new IntersectionObserver(([entry]) => this.#viewed(entry.isIntersecting), { rootMargin: "200px" });
    model.begun.then(() => signal.aborted || observer.observe(this.element));
    // a figure that changed under the pointer would break off what is being brushed
    this.#plot.addEventListener("pointerdown", () => (this.#held = true), { signal });
    for (const end of ["pointerup", "pointercancel"]) window.addEventListener(end, () => this.#release(), { signal });
    window.addEventListener(THEME, () => this.again(), { signal });
    // what is brushed is no filter of the figure that it is brushed in
    for (const news of ["filter", "metric"]) model.addEventListener(news, () => this.#path() !== this.#askedFor && this.again(), { signal });
    model.addEventListener("selection", () => this.#markSoon(), { signal });
    signal.addEventListener("abort", () => {
      observer.disconnect();
      this.#asking?.abort();
      clearTimeout(this.#marking);
      clear(this.#plot);
    });
  }

  /** Draws it again though the service has nothing new. */
  redraw() {
    this.#seen = null;
    this.again();
  }

  #logButton(axis) {
    const button = h("button", { class: "button small", type: "button", "aria-pressed": String(this.#logs.has(axis)) }, `log ${axis}`);
    button.addEventListener("click", () => {
      if (!this.#logs.delete(axis)) this.#logs.add(axis);
      button.setAttribute("aria-pressed", String(this.#logs.has(axis)));
      state.set({ [`log-${this.#options.name}`]: [...this.#logs].sort().join(",") });
      this.again();
    });
    return button;
  }

  /** After the table has shown the choice: a chart of thousands of points takes longer than a key that is held down. */
  #markSoon() {
    clearTimeout(this.#marking);
    this.#marking = setTimeout(() => this.#drawn && this.#inView && highlight(this.#plot, this.#model.selected), MARK_MS);
  }

  #viewed(inView) {
    const begins = inView && !this.#inView;
    this.#inView = inView;
    if (begins) {
      this.again();
      this.#markSoon();
    }
  }

  #release() {
    if (!this.#held) return;
    this.#held = false;
    if (this.#missed) this.poke();
  }

  async #refresh() {
    this.#asking?.abort(); // an older answer must not come after this one
    this.#missed = this.#held;
    if (!this.#inView || this.#held || !this.element.isConnected || this.#options.query() === null) return;
    const asking = (this.#asking = new AbortController());
    const path = (this.#askedFor = this.#path());
    try {
      const ask = () => text(path, { signal: asking.signal });
      const found = await (this.#options.apart ? ask() : asks(ask));
      this.#missed = this.#held;
      if (asking.signal.aborted || this.#held) return;
      if (found !== this.#seen) await this.#show(found);
      else if (this.#note.classList.contains("bad")) this.#say("", false);
    } catch (error) {
      if (!asking.signal.aborted && !this.#options.signal.aborted) this.#say(error.detail || error.message, true);
    }
  }

  #path() {
    const { name, query, filter } = this.#options;
    const log = [...this.#logs].sort().join(",");
    return asked(`${this.#model.api}/figures/${name}`, { filter: filter(), log, theme: theme(), metric: this.#model.metric, ...query() });
  }

  async #show(found) {
    const figure = JSON.parse(found);
    const { note, empty, parameter, parameter2 } = figure.layout.meta ?? {};
    this.#say("", false);
    this.#plot.setAttribute("aria-label", [this.#options.title, empty ?? note].filter(Boolean).join(": "));
    this.#options.prepare(figure);
    // zoom stays when trials come, and goes when the axes mean something else
    figure.layout.uirevision = [this.#options.name, ...this.#logs, this.#model.metric, parameter, parameter2].join();
    if (this.#model.selected !== null) figure.data.push(...chosenTrace(figure.data, this.#model.selected));
    await draws(() => breath().then(() => draw(this.#plot, figure)));
    this.#seen = found;
    if (this.#drawn) return;
    this.#drawn = true;
    this.element.dataset.drawn = "";
    this.#plot.on?.("plotly_click", (event) => this.#open(event));
    this.#options.drawn(this.#plot);
  }

  #open(event) {
    const number = trialOf(event.points[0]);
    if (number !== null) go(this.#model.trial(number));
  }

  #say(words, bad) {
    setText(this.#note, words);
    this.#note.classList.toggle("bad", bad);
  }
}
