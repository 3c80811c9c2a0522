// Who is looking: a token is shown once, and a cookie that no script can read stands for it from then on.

import { get, send } from "../api.js";
import { h, replace, words } from "../dom.js";

/**
 * Asks for a token.
 *
 * @param {HTMLElement} root
 * @param {{query: URLSearchParams, onLogin?: (session: Object) => void}} options without `onLogin` the browser goes to
 *   the address that `next` names, on this service alone
 */
export async function show(root, { query, signal, onLogin = () => location.replace(ours(query.get("next"))) }) {
  if (query.has("next")) {
    // from a link on another site the cookie comes only now
    const session = await get("/session", { signal }).catch(() => null);
    if (session) return onLogin(session);
  }
  const token = h("input", { id: "token", type: "password", required: true, autocomplete: "current-password", spellcheck: false });
  const said = h("p", { class: "said bad", role: "alert" });
  const button = h("button", { class: "button primary" }, "Log in");
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    replace(said);
    try {
      const session = await send("POST", "/session", { token: token.value.trim() }, { signal });
      token.value = "";
      onLogin(session);
    } catch (error) {
      if (signal.aborted) return;
      replace(said, words(error.detail || error.message));
      token.select();
    } finally {
      button.disabled = false;
    }
  };
  replace(
    root,
    h(
      "form",
      { class: "login panel", onsubmit: submit },
      h("h1", null, "Log in"),
      h("p", null, "This service asks for a token. An admin makes one with ", h("code", null, "toprung token create"), "; that of the user who started the service is in its folder, in the file ", h("code", null, "token"), "."),
      h("label", { htmlFor: "token" }, "Token"),
      token,
      said,
      button,
    ),
  );
  token.focus();
}

/** An address of this service, whatever a link says. */
export function ours(next) {
  try {
    const url = new URL(next ?? "/", location.origin);
    if (url.origin === location.origin && url.pathname !== "/login") return url.pathname + url.search + url.hash;
  } catch {
    // not an address
  }
  return "/";
}
