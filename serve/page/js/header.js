// What stands above every view: where one can go, who is looking, the theme.

import { toast } from "./dialog.js";
import { h, replace } from "./dom.js";
import { THEME, theme } from "./figure.js";

const PLACES = [
  ["/", "Sweeps"],
  ["/cluster", "Cluster"],
  ["/submit", "Submit"],
];

/**
 * Draws the header.
 *
 * @param {HTMLElement} header
 * @param {{auth: boolean, owner: ?string, scope: string}|null} session null: nobody is logged in
 * @param {() => Promise<void>} logOut
 */
export function showHeader(header, session, logOut) {
  const here = location.pathname;
  const places = PLACES.map(([href, name]) => {
    const current = href === here || (href === "/" && here.startsWith("/sweeps/"));
    return h("a", { href, "aria-current": current ? "page" : null }, name);
  });
  replace(
    header,
    h("a", { href: "/", class: "brand", ariaLabel: "Toprung, all sweeps" }, h("img", { src: "/static/icon.svg", alt: "", width: 20, height: 20 }), "Toprung"),
    session ? h("nav", { ariaLabel: "Pages" }, places) : h("span", { class: "grow" }),
    themeButton(),
    session ? who(session, logOut) : null,
  );
}

function who(session, logOut) {
  if (!session.auth) return null;
  const leave = async () => {
    try {
      await logOut();
    } catch (error) {
      toast(`You are still logged in: ${error.message}`, "error");
    }
  };
  return h(
    "span",
    { class: "who" },
    h("span", { class: "name", title: `Your token may ${session.scope}` }, session.owner, h("small", { class: "quiet" }, ` ${session.scope}`)),
    h("button", { class: "button small", onclick: leave, title: `You are ${session.owner}` }, "Log out"),
  );
}

function themeButton() {
  const button = h("button", { class: "button small theme", onclick: change });
  label(button);
  return button;

  function change() {
    const chosen = theme() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = chosen;
    try {
      localStorage.setItem("toprung-theme", chosen);
    } catch {
      // storage is switched off: it holds until the page is left
    }
    window.dispatchEvent(new Event(THEME));
  }
}

/** Says on the button which theme it shows. */
function label(button = document.querySelector("button.theme")) {
  if (!button) return;
  const other = theme() === "dark" ? "light" : "dark";
  replace(button, other === "light" ? "☀" : "☾");
  button.ariaLabel = button.title = `Show the page ${other}`;
}

window.addEventListener(THEME, () => label());
