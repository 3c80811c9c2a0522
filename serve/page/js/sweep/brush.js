/**
 * What is brushed in the parallel coordinates, as ranges of columns and chosen values, and as an expression.
 *
 * A brush is `{column: [[low, high], …]}` for numbers and `{column: ["adam", …]}` for choices; null is one without a value.
 */

const DIGITS = 6;
const WIDTH = 0.03;

/**
 * The expression of a brush; "" where nothing is brushed.
 *
 * @param {Record<string, any[]>} brush
 */
export function expression(brush) {
  return Object.entries(brush)
    .map(([column, parts]) => anyOf(parts.map((part) => (Array.isArray(part) ? between(column, part) : `${name(column)} == ${literal(part)}`))))
    .join(" and ");
}

function between(column, [low, high]) {
  return `${low} <= ${name(column)} <= ${high}`;
}

function anyOf(parts) {
  return parts.length === 1 ? parts[0] : `(${parts.join(" or ")})`;
}

function literal(value) {
  if (typeof value === "boolean") return value ? "true" : "false";
  return JSON.stringify(value);
}

function name(column) {
  return `\`${column}\``; // whatever signs are in it
}

/** A brush from the address; none where it is not one. */
export function readBrush(text) {
  try {
    const found = JSON.parse(text ?? "{}");
    const sound = found && typeof found === "object" && Object.values(found).every((parts) => Array.isArray(parts) && parts.length);
    return sound ? found : {};
  } catch {
    return {};
  }
}

/** A brush for the address; "" where nothing is brushed. */
export function writeBrush(brush) {
  return Object.keys(brush).length ? JSON.stringify(brush) : "";
}

/**
 * What is brushed in a figure of parallel coordinates.
 *
 * @param {object[]} dimensions of its trace, as plotly has them now
 * @param {Record<string, {log: boolean, levels: any[] | null, missing: number | null}>} scales of `layout.meta.dimensions`
 */
export function brushOf(dimensions, scales) {
  const brush = {};
  for (const { name, values, constraintrange: given } of dimensions) {
    if (!given?.length) continue;
    const ranges = Array.isArray(given[0]) ? given : [given];
    const parts = ranges.flatMap((range) => partsIn(range, scales[name], values));
    // a brush between two choices, say, leaves nothing: then it is none
    if (parts.length) brush[name] = parts;
  }
  return brush;
}

function partsIn([low, high], { log, levels, missing }, values) {
  const absent = missing !== null && low <= missing && missing <= high ? [null] : [];
  if (levels) return [...absent, ...levels.filter((_, place) => low <= place && place <= high)];
  // trials without a value lie below the lowest of the others
  const from = absent.length ? values.reduce((least, x) => (x > missing ? Math.min(least, x) : least), Infinity) : low;
  return from < high ? [...absent, [from, high].map((x) => rounded(log ? 10 ** x : x))] : absent;
}

/**
 * Gives the dimensions of a figure the ranges of a brush.
 *
 * @param {object[]} dimensions
 * @param {Record<string, object>} scales as `brushOf` has them
 * @param {Record<string, any[]>} brush
 */
export function applyBrush(dimensions, scales, brush) {
  for (const dimension of dimensions) {
    const ranges = (brush[dimension.name] ?? []).map((part) => rangeOf(part, scales[dimension.name], dimension.range)).filter(Boolean);
    if (ranges.length) dimension.constraintrange = ranges.length === 1 ? ranges[0] : ranges;
  }
}

function rangeOf(part, { log, levels, missing }, [low, high]) {
  const around = (place) => [place - (high - low) * WIDTH, place + (high - low) * WIDTH];
  if (part === null) return missing === null ? null : around(missing);
  if (Array.isArray(part)) return part.map((x) => (log ? Math.log10(x) : x));
  const place = levels ? levels.indexOf(part) : -1;
  return place < 0 ? null : around(place);
}

function rounded(x) {
  return Number(x.toPrecision(DIGITS));
}
