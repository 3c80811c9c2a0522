/** A configuration as text that can be pasted elsewhere. */

const WORDS = new Set(["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"]);

/**
 * A nested configuration as YAML that versions 1.1 and 1.2 read alike.
 *
 * @param {object} config
 * @returns {string}
 */
export function asYaml(config) {
  return `${yamlLines(config, "").join("\n")}\n`;
}

/**
 * @param {object} config
 * @returns {string} indented JSON
 */
export function asJson(config) {
  return `${JSON.stringify(config, null, 2)}\n`;
}

/**
 * @param {object} config
 * @returns {string} an assignment of a Python dict
 */
export function asPython(config) {
  return `config = ${python(config, "")}\n`;
}

/**
 * A nested configuration with the names of parameters: `optimizer/lr`.
 *
 * @param {object} config
 * @returns {Record<string, unknown>}
 */
export function flat(config, prefix = "") {
  const found = {};
  for (const [name, value] of Object.entries(config)) {
    if (isGroup(value)) Object.assign(found, flat(value, `${prefix}${name}/`));
    else found[prefix + name] = value;
  }
  return found;
}

/**
 * The way back from `flat`.
 *
 * @param {Record<string, unknown>} values
 * @returns {object}
 */
export function nested(values) {
  const config = {};
  for (const [path, value] of Object.entries(values)) {
    const names = path.split("/");
    const last = names.pop();
    let group = config;
    for (const name of names) group = group[name] ??= {};
    group[last] = value;
  }
  return config;
}

function isGroup(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function yamlLines(group, indent) {
  return Object.entries(group).flatMap(([name, value]) => {
    const key = `${indent}${yamlText(name)}:`;
    if (!isGroup(value)) return [`${key} ${yamlScalar(value)}`];
    const lines = yamlLines(value, `${indent}  `);
    return lines.length ? [key, ...lines] : [`${key} {}`];
  });
}

function yamlScalar(value) {
  if (Array.isArray(value)) return `[${value.map(yamlScalar).join(", ")}]`;
  if (typeof value === "string") return yamlText(value);
  if (typeof value === "number") return exactNumber(value);
  return JSON.stringify(value);
}

function yamlText(text) {
  // quotes wherever either version could take the text for something else
  const plain = /^[A-Za-z](?:[A-Za-z0-9_ -]*[A-Za-z0-9_])?$/.test(text) && !WORDS.has(text.toLowerCase());
  return plain ? text : JSON.stringify(text);
}

function exactNumber(value) {
  const text = String(value);
  return text.includes("e") && !text.includes(".") ? text.replace("e", ".0e") : text; // YAML 1.1 wants the point
}

function python(value, indent) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number") return String(value);
  if (Array.isArray(value)) return `[${value.map((item) => python(item, indent)).join(", ")}]`;
  const inner = `${indent}    `;
  const lines = Object.entries(value).map(([name, item]) => `${inner}${JSON.stringify(name)}: ${python(item, inner)},\n`);
  return lines.length ? `{\n${lines.join("")}${indent}}` : "{}";
}
