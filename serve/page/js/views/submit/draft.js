// What is in the editor outlives the view: until it is submitted, or the tab is closed.

const KEPT = "toprung-draft";

/** The text, what was typed before another took its place, and the key under which it is submitted. */
export class Draft {
  #kept = read();

  get text() {
    return this.#kept.text ?? "";
  }

  /** What was typed before it. */
  get before() {
    return this.#kept.before ?? "";
  }

  /** The same until the text is another one: however often it is submitted, it is one sweep. */
  get key() {
    if (!this.#kept.key) this.#keep({ ...this.#kept, key: random() });
    return this.#kept.key;
  }

  /** Whether it was written at this place of the browser's history: after a reload, or on the way back. */
  get isHere() {
    return Boolean(this.#kept.id) && history.state?.draft === this.#kept.id;
  }

  /** Takes what was typed. */
  type(text) {
    this.#keep({ id: random(), ...this.#kept, text, typed: true, key: null });
  }

  /** Takes a text from elsewhere in its place. */
  begin(text) {
    const { text: old = "", typed, before } = this.#kept;
    this.#keep({ id: random(), text, before: typed && old.trim() && old !== text ? old : before });
  }

  /** Takes back what was typed before. */
  bringBack() {
    this.#keep({ id: random(), text: this.before, typed: true });
  }

  /** It is submitted. */
  clear() {
    this.#keep({});
  }

  #keep(kept) {
    this.#kept = kept;
    if (history.state?.draft !== kept.id) history.replaceState({ ...history.state, draft: kept.id }, "");
    try {
      sessionStorage.setItem(KEPT, JSON.stringify(kept));
    } catch {
      // storage is switched off or full: the text is kept while the view is
    }
  }
}

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT)) ?? {};
  } catch {
    return {};
  }
}

function random() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
