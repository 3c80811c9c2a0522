/**
 * What is brushed in the parallel coordinates, as ranges of columns and chosen values, and as an expression.
 *
 * A brush is `{column: [[low, high], …]}` for numbers and `{column: ["adam", …]}` for choices.
 */

const DIGITS = 6;

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
 */
export function brushOf(dimensions) {
  const brush = {};
  for (const dimension of dimensions) {
    const given = dimension.constraintrange;
    if (!given?.length) continue;
    const ranges = Array.isArray(given[0]) ? given : [given];
    const parts = choices(dimension) ? chosen(dimension, ranges) : ranges.map((range) => range.map((x) => onAxis(dimension, x)));
    if (parts.length) brush[dimension.name] = parts;
  }
  return brush;
}

/**
 * Gives the dimensions of a figure the ranges of a brush.
 *
 * @param {object[]} dimensions
 * @param {Record<string, any[]>} brush
 */
export function applyBrush(dimensions, brush) {
  for (const dimension of dimensions) {
    const parts = brush[dimension.name];
    if (!parts) continue;
    const ranges = choices(dimension) ? parts.map((part) => around(dimension, part)).filter(Boolean) : parts.map((range) => range.map((x) => toAxis(dimension, x)));
    if (ranges.length) dimension.constraintrange = ranges.length === 1 ? ranges[0] : ranges;
  }
}
