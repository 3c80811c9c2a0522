// The view's state lies in the address, so that a link shows a colleague the same.

export const state = {
  /** A parameter of the address, or null. */
  get(name) {
    return new URLSearchParams(location.search).get(name);
  },

  /**
   * Changes parameters of the address without a step in the history; null and "" take one out.
   *
   * @param {Object<string, any>} changes
   */
  set(changes) {
    const params = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === undefined || value === "") params.delete(name);
      else params.set(name, String(value));
    }
    // commas and colons are allowed in a query, and easier to read as they are
    const query = params.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
    const address = location.pathname + (query ? `?${query}` : "") + location.hash;
    if (address !== location.pathname + location.search + location.hash) history.replaceState(history.state, "", address);
  },
};

/** A path with each of its parts encoded: path`/v1/sweeps/${name}/best`. */
export function path(strings, ...values) {
  return strings.reduce((text, part, index) => text + encodeURIComponent(String(values[index - 1])) + part);
}
