// The service's HTTP API, as docs/http.md tells it.

/** What the service refused, or that it did not answer (status 0). */
export class ApiError extends Error {
  constructor(status, document = {}) {
    super(document.detail ?? document.title ?? `the service answered ${status}`);
    this.name = "ApiError";
    this.status = status;
    this.code = document.code ?? null;
    this.title = document.title ?? `Answer ${status}`;
    this.detail = document.detail ?? "";
    /** The state that stands in the way, where one does. */
    this.state = document.state ?? null;
    /** @type {{pointer: string, message: string, hint: ?string, line: ?number, column: ?number}[]} */
    this.problems = document.errors ?? [];
  }
}

/** Whether it is worth while to ask again: the service, or the way to it, is not there. */
export function isAway(error) {
  return error instanceof ApiError && (error.status === 0 || error.status >= 500);
}

/** Fired on `window` when the service asks who this is. */
export const LOGIN = "toprung:login";

/**
 * An answer as parsed JSON.
 *
 * @param {string} path
 * @param {{signal?: AbortSignal, etag?: string}} [options] with `etag`: null comes back where that is still what there is
 */
export async function get(path, { signal, etag } = {}) {
  const headers = etag ? { "If-None-Match": etag } : {};
  const answer = await ask(path, { signal, headers, cache: etag ? "no-store" : "default" });
  return answer.status === 304 ? null : answer.json();
}

/** An answer as JSON with its ETag, for edits that name what they were made to: `{body, etag}`. */
export async function getWithEtag(path, { signal } = {}) {
  const answer = await ask(path, { signal });
  return { body: await answer.json(), etag: answer.headers.get("ETag") };
}

/** An answer as text. */
export async function text(path, { signal } = {}) {
  return (await ask(path, { signal })).text();
}

/** The answer itself, for those who read it as it comes. */
export function stream(path, { signal } = {}) {
  return ask(path, { signal });
}

/**
 * Asks for a change.
 *
 * @param {string} method
 * @param {string} path
 * @param {any} [body] an object goes as JSON; text, a Blob or bytes as they are, with `headers` saying what they are
 * @param {{headers?: Object<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<any>} parsed JSON, null where the answer is empty
 */
export async function send(method, path, body, { headers = {}, signal } = {}) {
  const raw = typeof body === "string" || body instanceof Blob || body instanceof ArrayBuffer || ArrayBuffer.isView(body);
  const given = Object.keys(headers).map((name) => name.toLowerCase());
  const all = { "X-Toprung": "page", ...headers };
  if (body !== undefined && body !== null && !raw && !given.includes("content-type")) all["Content-Type"] = "application/json";
  const sent = body === undefined || body === null ? undefined : raw ? body : JSON.stringify(body);
  const answer = await ask(path, { method, headers: all, body: sent, signal });
  const content = await answer.text();
  return content ? JSON.parse(content) : null;
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (options.signal?.aborted || error.name === "AbortError") throw error;
    throw new ApiError(0, { title: "No answer", detail: "The service does not answer. Is it running? `toprung up` starts it." });
  }
  if (answer.ok || answer.status === 304) return answer;
  const document = await answer.json().catch(() => ({ title: answer.statusText }));
  // a wrong token at the login itself is the login's to tell
  if (answer.status === 401 && path !== "/session") window.dispatchEvent(new Event(LOGIN));
  throw new ApiError(answer.status, document);
}
export { events } from "./events.js";
