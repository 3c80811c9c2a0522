// Elements without a framework.

/**
 * An element. Text is always text: nothing is ever parsed as HTML.
 *
 * @param {string} tag
 * @param {Object<string, any>|null} [props] `class`, `dataset`, `on*` listeners, `aria-*` or `aria*` (ariaLabel), other
 *   properties and attributes; null, undefined and false leave one out.
 * @param {...any} children nodes, text, numbers, arrays of these; null and false are left out.
 * @returns {HTMLElement}
 */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) setProp(element, name, value);
  element.append(...nodes(children));
  return element;
}

/** An SVG element, with attributes only. */
export function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  element.append(...nodes(children));
  return element;
}

function setProp(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name.startsWith("on") && typeof value === "function") {
    element.addEventListener(name.slice(2).toLowerCase(), value);
  } else if (name === "class") {
    element.className = value;
  } else if (name === "dataset") {
    Object.assign(element.dataset, value);
  } else if (name === "style") {
    for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
  } else if (/^aria[A-Z]/.test(name)) {
    element.setAttribute(`aria-${name.slice(4).toLowerCase()}`, value);
  } else if (name in element && !name.includes("-") && name !== "list" && name !== "form") {
    element[name] = value;
  } else {
    element.setAttribute(name, value === true ? "" : value);
  }
}

function nodes(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

/** Text of the service's, whose commands stand between backticks, as nodes. */
export function words(text) {
  return String(text).split(/`([^`]+)`/).map((part, index) => (index % 2 ? h("code", null, part) : part));
}

/** What may be wider than the window: it scrolls by itself, by keyboard too. */
export function scrolling(label, content) {
  return h("div", { class: "scroll", tabIndex: 0, role: "region", ariaLabel: label }, content);
}

/** Gives an element other children, and returns it. */
export function replace(element, ...children) {
  element.replaceChildren(...nodes(children));
  return element;
}

/** Changes text only where it is another one, so that nothing is painted or selected anew without need. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes the children of an element those of a list, without rebuilding those that stay: what has the focus keeps it.
 *
 * @template T
 * @param {HTMLElement} element
 * @param {T[]} items
 * @param {(item: T) => string|number} key unique among the items
 * @param {(item: T) => HTMLElement} make
 * @param {(element: HTMLElement, item: T) => void} [update] called for new ones too
 */
export function keyed(element, items, key, make, update = () => {}) {
  const known = (element.keyedChildren ??= new Map());
  const wanted = new Map();
  let place = element.firstChild;
  for (const item of items) {
    const id = key(item);
    const child = known.get(id) ?? make(item);
    wanted.set(id, child);
    update(child, item);
    if (child === place) place = place.nextSibling;
    else element.insertBefore(child, place);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
  element.keyedChildren = wanted;
}
