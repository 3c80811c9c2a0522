// Colours of lines that must be told apart, on light and on dark paper; the order is that of use.

const LINES = ["#3572d6", "#d1751f", "#2f9a78", "#b5479b", "#8c7a1e", "#6f5fd0", "#c5423e", "#5b8a96"];

/** The colour of the nth line. */
export function lineColour(index) {
  return LINES[index % LINES.length];
}
