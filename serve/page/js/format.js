// Numbers, times and states as text, in one way everywhere.

const NONE = "–";

/**
 * A number with so many significant digits: 0.0831, 3.1e-4, 12,400.
 *
 * @param {number|null|undefined} x
 * @param {number} [digits]
 */
export function number(x, digits = 4) {
  if (x === null || x === undefined || !Number.isFinite(x)) return NONE;
  if (x === 0) return "0";
  if (Number.isInteger(x) && Math.abs(x) < 1e12) return x.toLocaleString("en-US");
  const size = Math.abs(x);
  if (size < 1e-3 || size >= 1e7) {
    const [mantissa, exponent] = x.toExponential(digits - 1).split("e");
    return `${mantissa.replace(/\.?0+$/, "")}e${Number(exponent)}`;
  }
  const text = x.toPrecision(digits);
  if (text.includes("e")) return Math.round(x).toLocaleString("en-US");
  const shown = text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  return size >= 1000 ? Number(shown).toLocaleString("en-US") : shown;
}

/** `1 trial`, `1,200 trials`. */
export function plural(count, noun) {
  return `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** Anything that a parameter or a metric may be. */
export function value(x) {
  if (x === null || x === undefined) return NONE;
  if (typeof x === "number") return number(x);
  return typeof x === "string" ? x : JSON.stringify(x);
}

/** Seconds in the two largest units: 42 s, 3 min 10 s, 2 h 5 min, 4 d 3 h. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return NONE;
  if (seconds < 10) return `${number(seconds, 2)} s`;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return join(Math.floor(s / 60), "min", s % 60, "s");
  if (s < 86_400) return join(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
  return join(Math.floor(s / 86_400), "d", Math.floor((s % 86_400) / 3600), "h");
}

function join(large, unit, small, smallUnit) {
  return small ? `${large} ${unit} ${small} ${smallUnit}` : `${large} ${unit}`;
}

/** How long ago: just now, 5 min ago. */
export function ago(iso) {
  if (!iso) return NONE;
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

/** A moment in the viewer's zone and manner. */
export function when(iso) {
  if (!iso) return NONE;
  return new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** 1,536 → 1.5 KiB */
export function bytes(n) {
  if (n === null || n === undefined) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let index = 0;
  let size = n;
  while (size >= 1024 && index < units.length - 1) {
    size /= 1024;
    index += 1;
  }
  return `${number(size, 3)} ${units[index]}`;
}

const MARKS = {
  queued: "◌", pending: "◌", running: "●", paused: "‖", succeeded: "✓", completed: "✓", pruned: "✂", failed: "✕", cancelled: "∅",
};

/** A state in words, with a mark so that it is not told by colour alone. */
export function stateLabel(state) {
  return MARKS[state] ? `${MARKS[state]} ${state}` : String(state ?? NONE);
}
