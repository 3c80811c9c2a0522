// A new sweep: its spec in an editor that says what is wrong with it, and what it would cost.

import { get, send, text } from "../api.js";
import { go } from "../app.js";
import { showError, toast } from "../dialog.js";
import { h, replace } from "../dom.js";
import { path } from "../url.js";
import { upload, withCode } from "./submit/code.js";
import { editor, problemList } from "./submit/editor.js";
import { forecastView } from "./submit/forecast.js";

const TYPING_MS = 350;
const DRAFT = "toprung-draft";
const YAML = { "Content-Type": "application/yaml" };
const MAX_SPEC_BYTES = 1024 * 1024;
const EXAMPLES = [
  ["digits/sweep.yaml", "A small CNN on digits", "seconds a trial, no GPU: a first sweep"],
  ["text/sweep.yaml", "LSTM or transformer", "batches that fit the memory by themselves"],
  ["cifar10/sweep.yaml", "A ResNet on CIFAR-10", "on GPUs, stopped early by ASHA"],
  ["digits/distributed.yaml", "Several workers to a trial", "data-parallel PyTorch"],
];

/** Shows the view; see app.js. `?from=` a sweep begins with its spec, `?example=` with one of ours. */
export async function show(root, { query, signal, session }) {
  const yaml = editor(onInput);
  const parts = build(root, yaml, session, { onSubmit, onFile, onExample });
  let typing = null;
  let asking = new AbortController();
  /** The same key until the text is another one: however often the button is pressed, it is one sweep. */
  let key = null;

  drop(parts.area, onFile, signal);
  signal.addEventListener("abort", () => {
    clearTimeout(typing);
    asking.abort();
  });
  if (query.get("from")) await begin(() => specOf(query.get("from"), signal));
  else if (query.get("example")) await onExample(query.get("example"));
  else yaml.setText(kept());

  function onInput(content) {
    key = null;
    keep(content);
    clearTimeout(typing);
    asking.abort();
    if (content.trim()) typing = setTimeout(validate, TYPING_MS);
    else nothingYet();
  }

  function nothingYet() {
    yaml.mark([]);
    parts.submit.disabled = true;
    replace(parts.said, h("p", { class: "quiet" }, "Begin with an example, paste a spec, or drop a file here. What is wrong with it, and what it would cost, is said as you type."));
  }

  async function validate() {
    asking = new AbortController();
    const { signal: mine } = asking;
    try {
      const forecast = await send("POST", "/v1/sweeps:validate", yaml.text(), { headers: YAML, signal: mine });
      yaml.mark([]);
      replace(parts.said, forecastView(forecast));
      parts.submit.disabled = !parts.maySubmit;
    } catch (error) {
      if (!mine.aborted) refused(error);
    }
  }

  function refused(error) {
    const problems = error.problems ?? [];
    yaml.mark(problems);
    parts.submit.disabled = true;
    if (!problems.length) return showError(parts.said, error);
    const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    replace(parts.said, h("p", { class: "bad" }, h("strong", null, count)), problemList(problems, yaml.goTo));
  }

  async function onSubmit() {
    parts.submit.disabled = true;
    key ??= randomKey();
    try {
      const headers = { ...YAML, "Idempotency-Key": key };
      const sweep = await send("POST", "/v1/sweeps", yaml.text(), { headers, signal });
      keep("");
      toast(`${sweep.name} is submitted`, "good");
      await go(path`/sweeps/${sweep.id}`);
    } catch (error) {
      if (signal.aborted) return;
      parts.submit.disabled = false;
      refused(error);
    }
  }

  async function onFile(file) {
    const name = file.name.toLowerCase();
    try {
      if (/\.(ya?ml|json)$/.test(name)) {
        if (file.size > MAX_SPEC_BYTES) throw new Error("A spec has at most 1 MiB.");
        yaml.setText(await file.text());
      } else if (/\.(py|zip)$/.test(name)) {
        yaml.setText(withCode(yaml.text(), await upload(file, signal)));
        toast(`${file.name} is uploaded, and the spec's code`, "good");
      } else {
        throw new Error(`${file.name} is neither a spec (.yaml, .json) nor code (.py, .zip).`);
      }
    } catch (error) {
      if (!signal.aborted) toast(error.message, "error");
    }
  }

  function onExample(name) {
    return begin(() => text(`/static/examples/${name.split("/").map(encodeURIComponent).join("/")}`, { signal }));
  }

  async function begin(read) {
    try {
      yaml.setText(await read());
    } catch (error) {
      if (!signal.aborted) showError(parts.said, error);
    }
  }
}

/** The spec of a sweep, which as JSON is YAML too; what it left to the service is left out. */
async function specOf(sweep, signal) {
  const { spec } = await get(path`/v1/sweeps/${sweep}`, { signal });
  return `${JSON.stringify(spec, (_, value) => (value === null ? undefined : value), 2)}\n`;
}

function randomKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function kept() {
  try {
    return sessionStorage.getItem(DRAFT) ?? "";
  } catch {
    return "";
  }
}

function keep(content) {
  try {
    sessionStorage.setItem(DRAFT, content);
  } catch {
    // storage is switched off or full: the text is kept while the page is
  }
}

function drop(area, onFile, signal) {
  const over = (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    area.classList.toggle("over", event.type !== "dragleave");
  };
  area.addEventListener("dragover", over, { signal });
  area.addEventListener("dragleave", over, { signal });
  area.addEventListener("drop", (event) => {
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    area.classList.remove("over");
    for (const file of event.dataTransfer.files) onFile(file);
  }, { signal });
}

function build(root, yaml, session, { onSubmit, onFile, onExample }) {
  const maySubmit = session.scope !== "read";
  const submit = h("button", { class: "button primary", disabled: true, onclick: onSubmit }, "Submit");
  const said = h("div", { class: "said", id: "spec-said", role: "status" });
  const file = (label, accept) => {
    const input = h("input", { type: "file", accept, class: "visually-hidden" });
    input.addEventListener("change", () => {
      for (const each of input.files) onFile(each);
      input.value = "";
    });
    return h("label", { class: "button" }, input, label);
  };
  const examples = EXAMPLES.map(([name, title, what]) =>
    h("li", null, h("button", { class: "example", onclick: () => onExample(name) }, h("strong", null, title), h("small", { class: "quiet" }, what))),
  );
  const area = h("div", { class: "panel flush" }, yaml.element);
  replace(
    root,
    h("div", { class: "toolbar" }, h("h1", null, "Submit a sweep"), h("span", { class: "grow" }), file("Open file…", ".yaml,.yml,.json"), submit),
    maySubmit ? null : h("p", { class: "warn" }, "Your token may read: you can try specs here, and submit them with one that may write."),
    h(
      "div",
      { class: "submit" },
      area,
      h(
        "div",
        { class: "side" },
        h("section", { class: "panel" }, h("h2", null, "What it would do"), said),
        h("section", { class: "panel" }, h("h2", null, "Examples"), h("ul", { class: "examples" }, examples)),
        h(
          "section",
          { class: "panel" },
          h("h2", null, "Your own code"),
          h("p", null, h("code", null, "toprung submit sweep.yaml"), " and the Python client pack the folder beside the spec and upload it. Here you can drop a ", h("code", null, ".py"), " or a ", h("code", null, ".zip"), ": it is uploaded, and the spec's ", h("code", null, "code"), " names it."),
          file("Upload code…", ".py,.zip"),
        ),
      ),
    ),
  );
  return { area, said, submit, maySubmit };
}
