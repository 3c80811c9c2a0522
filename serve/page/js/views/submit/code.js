// Code from the page: a .py or a .zip becomes a package of the service's, which the spec names.

import { send } from "../../api.js";
import { zip } from "./zip.js";

/**
 * Uploads a file as a package.
 *
 * @param {File} file
 * @param {AbortSignal} signal
 * @returns {Promise<string>} what `code` of a spec names it by
 */
export async function upload(file, signal) {
  if (!globalThis.crypto?.subtle) {
    throw new Error("A browser uploads code only over https, or to localhost. From a terminal: toprung submit sweep.yaml");
  }
  const content = new Uint8Array(await file.arrayBuffer());
  const packed = file.name.toLowerCase().endsWith(".zip") ? content : zip([{ name: file.name, content }]);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", packed));
  const sha256 = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  await send("PUT", `/v1/packages/${sha256}`, packed, { headers: { "Content-Type": "application/zip" }, signal });
  return `sha256:${sha256}`;
}

/** The spec with another `code`, in its old place, or after the trainable that it holds. */
export function withCode(text, code) {
  const line = `code: ${code}`;
  if (/^code:.*$/m.test(text)) return text.replace(/^code:.*$/m, line);
  if (/^trainable:.*$/m.test(text)) return text.replace(/^trainable:.*$/m, (found) => `${found}\n${line}`);
  return `${line}\n${text}`;
}
