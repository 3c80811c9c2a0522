// Plotly's figures, which the service makes. The library is large, so it comes with the first of them.

import { h } from "./dom.js";

let loading = null;

/** The theme that is shown: "light" or "dark"; see theme.js. */
export function theme() {
  return document.documentElement.dataset.theme;
}

/** Fired on `window` when the theme was changed: figures are asked for anew. */
export const THEME = "toprung:theme";

function source() {
  const version = document.querySelector("meta[name=plotly]").content;
  return `/static/plotly.min.js?v=${encodeURIComponent(version)}`;
}

/** Gets Plotly's library under way without running it: what else the page has to show comes first. */
export function preload() {
  if (loading || document.querySelector("link[rel=preload]")) return;
  document.head.append(h("link", { rel: "preload", as: "script", href: source() }));
}

/** Plotly itself. */
export function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = source();
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      loading = null; // so that the next figure tries again
      reject(new Error("The charts' library did not come from the service. Reload the page."));
    };
    document.head.append(script);
  });
  return loading;
}

const CONFIG = {
  responsive: true,
  displaylogo: false,
  displayModeBar: false,
  doubleClick: "reset",
  showTips: false,
};

/**
 * Draws a figure, or changes the one that is there to it; zoom stays where the figure says so by `layout.uirevision`.
 *
 * @param {HTMLElement} element
 * @param {{data: Object[], layout?: Object, config?: Object}} figure
 * @returns {Promise<HTMLElement>} Plotly's element, with its `on("plotly_click", …)`
 */
export async function draw(element, figure) {
  const library = await plotly();
  if (!element.isConnected) return element; // the view was left meanwhile
  const layout = { ...inTheme(), ...figure.layout };
  element.removeAttribute("aria-busy");
  await library.react(element, figure.data, layout, { ...CONFIG, ...figure.config });
  return element;
}

/** Takes a figure away with all it holds (WebGL contexts are few). */
export function clear(element) {
  if (window.Plotly && element.classList.contains("js-plotly-plot")) window.Plotly.purge(element);
  element.replaceChildren();
}

/** A colour of the stylesheet's, as it is in the theme that is shown: `colour("accent")`. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function inTheme() {
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("ink"), size: 12 },
    margin: { l: 56, r: 12, t: 12, b: 40 },
    hoverlabel: { align: "left" },
  };
}
