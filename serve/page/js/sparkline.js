// A tiny step chart of the best value so far.

import { replace, svg } from "./dom.js";

const WIDTH = 84;
const HEIGHT = 22;

/**
 * Draws points, the first at the left and the last at the right edge; better is up, whatever the goal.
 *
 * @param {HTMLElement} element
 * @param {[number, number][]} points trial and value
 * @param {"minimize"|"maximize"} goal
 */
export function sparkline(element, points, goal) {
  const drawn = points.filter((point) => Number.isFinite(point[1]));
  if (drawn.length < 2) {
    replace(element);
    return;
  }
  const xs = drawn.map((point) => point[0]);
  const ys = drawn.map((point) => (goal === "minimize" ? -point[1] : point[1]));
  const [left, right] = [xs[0], xs[xs.length - 1]];
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  const x = (value) => 1 + ((value - left) / (right - left || 1)) * (WIDTH - 2);
  const y = (value) => (high === low ? HEIGHT / 2 : HEIGHT - 2 - ((value - low) / (high - low)) * (HEIGHT - 4));
  let path = `M${x(xs[0]).toFixed(1)} ${y(ys[0]).toFixed(1)}`;
  for (let index = 1; index < drawn.length; index += 1) path += `H${x(xs[index]).toFixed(1)}V${y(ys[index]).toFixed(1)}`;
  const line = svg("path", { d: path, fill: "none", stroke: "currentColor", "stroke-width": 1.5 });
  replace(element, svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, line));
}
