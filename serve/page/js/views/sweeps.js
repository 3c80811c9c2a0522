import { h, replace } from "../dom.js";

/** Shows the view; see app.js. */
export async function show(root) {
  replace(root, h("h1", null, "Sweeps"));
}
