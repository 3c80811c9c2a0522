// The page: which view an address means, who is looking, what stands around.

import { ApiError, LOGIN, get, isAway } from "./api.js";
import { closeDialogs, showError } from "./dialog.js";
import { h, replace } from "./dom.js";
import { showHeader } from "./header.js";

/** Path, the view's module, its title; `:name` takes one part of the path. */
const ROUTES = [
  ["/", () => import("./views/sweeps.js"), () => "Sweeps"],
  ["/sweeps/:sweep", () => import("./views/sweep.js"), ({ sweep }) => sweep],
  ["/sweeps/:sweep/trials/:number", () => import("./views/trial.js"), ({ sweep, number }) => `${sweep} trial ${number}`],
  ["/compare", () => import("./views/compare.js"), () => "Compare"],
  ["/cluster", () => import("./views/cluster.js"), () => "Cluster"],
  ["/submit", () => import("./views/submit.js"), () => "Submit"],
  ["/login", () => import("./views/login.js"), () => "Log in"],
];

const AGAIN_MS = 2_000;
const main = document.getElementById("main");
const header = document.getElementById("top");
let leaving = new AbortController();
let session = null;

/** The view of the present address. */
async function render({ focus = false } = {}) {
  leave();
  const { signal } = leaving;
  const root = h("div", { class: "view" });
  replace(main, root);
  const found = match(location.pathname);
  document.title = found ? `${found.title} · Toprung` : "Toprung";
  try {
    const loading = found?.load(); // beside the session
    loading?.catch(() => {}); // it is awaited below, where the session does not fail first
    session ??= await get("/session", { signal });
    if (signal.aborted) return;
    showHeader(header, session, logOut);
    if (!found) return nothingHere(root);
    const view = await loading;
    if (signal.aborted) return;
    if (focus) main.focus({ preventScroll: true });
    await view.show(root, {
      params: found.params,
      query: new URLSearchParams(location.search),
      signal,
      session,
    });
  } catch (error) {
    if (signal.aborted || error.name === "AbortError") return;
    if (error instanceof ApiError && error.status === 401) await askWho(root, signal);
    else showError(root, error, nextStep(error));
    if (isAway(error)) await whenBack(signal);
  }
}

/** Shows the view as soon as the service answers again. */
async function whenBack(signal) {
  do {
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    if (signal.aborted) return;
  } while (!(await get("/session", { signal }).then(() => true, (error) => !isAway(error))));
  if (!signal.aborted) await render();
}

/** The view ends, with all that it asks and listens to. */
function leave() {
  leaving.abort();
  leaving = new AbortController();
  closeDialogs();
}

function match(pathname) {
  const parts = pathname.split("/").filter(Boolean);
  for (const [pattern, load, title] of ROUTES) {
    const wanted = pattern.split("/").filter(Boolean);
    if (wanted.length !== parts.length) continue;
    const params = {};
    if (wanted.every((each, index) => takes(each, parts[index], params))) return { params, load, title: title(params) };
  }
  return null;
}

function takes(wanted, part, params) {
  if (!wanted.startsWith(":")) return wanted === part;
  try {
    params[wanted.slice(1)] = decodeURIComponent(part);
  } catch {
    return false; // a stray %
  }
  return true;
}

function nothingHere(root) {
  replace(
    root,
    h("div", { class: "empty" }, h("h1", null, "There is no such page"), h("a", { href: "/", class: "button" }, "All sweeps")),
  );
}

function nextStep(error) {
  if (error.status === 404) return h("a", { href: "/" }, "All sweeps");
  if (isAway(error)) return "It is asked again every few seconds.";
  return h("button", { class: "button", onclick: () => render() }, "Try again");
}

/** The login in the place of the view; the address stays, so that the view comes once it is known who asks. */
async function askWho(root, signal) {
  session = null;
  showHeader(header, null, logOut);
  const view = await import("./views/login.js");
  if (!signal.aborted) await view.show(root, { query: new URLSearchParams(), signal, onLogin: begin });
}

async function logOut() {
  const { send } = await import("./api.js");
  await send("DELETE", "/session");
  session = null;
  await render();
}

function begin(who) {
  session = who;
  return render({ focus: true });
}

/** Goes to another address of the page. */
export function go(address, { replaced = false } = {}) {
  history[replaced ? "replaceState" : "pushState"](null, "", address);
  window.scrollTo(0, 0);
  return render({ focus: true });
}

function isOurs(link, event) {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return false;
  if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return false;
  return match(link.pathname) !== null;
}

/** A place on the page: the address stays that of the view. */
function toPlace(id) {
  const place = document.getElementById(id);
  place?.scrollIntoView();
  place?.focus();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!isOurs(link, event)) return undefined;
  const same = link.pathname === location.pathname && link.search === location.search;
  event.preventDefault();
  if (same && link.hash) return toPlace(link.hash.slice(1));
  return go(link.pathname + link.search + link.hash, { replaced: same });
});
window.addEventListener("popstate", () => render({ focus: true }));
window.addEventListener(LOGIN, () => {
  if (!leaving.signal.aborted && session?.auth !== false) {
    leave(); // all it asks for would be refused
    const root = h("div", { class: "view" });
    replace(main, root);
    askWho(root, leaving.signal);
  }
});

render().finally(() => {
  // beside what is shown: while the service is away, other views can be gone to, and say that it is
  for (const [, load] of ROUTES) load().catch(() => {});
});
