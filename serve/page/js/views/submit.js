// A new sweep: its spec in an editor that says what is wrong with it, and what it would cost.

import { isAway, send, text } from "../api.js";
import { go } from "../app.js";
import { showError, toast } from "../dialog.js";
import { h, replace } from "../dom.js";
import { plural } from "../format.js";
import { path } from "../url.js";
import { upload, withCode } from "./submit/code.js";
import { Draft } from "./submit/draft.js";
import { editor, problemList } from "./submit/editor.js";
import { forecastView } from "./submit/forecast.js";

const TYPING_MS = 350;
const AGAIN_MS = 3_000;
const YAML = { "Content-Type": "application/yaml" };
const MAX_SPEC_BYTES = 1024 * 1024;
const SPEC = /\.(ya?ml|json)$/i;
const CODE = /\.(py|zip)$/i;
const EXAMPLES = [
  ["digits/sweep.yaml", "A small CNN on digits", "seconds a trial, no GPU: a first sweep"],
  ["text/sweep.yaml", "LSTM or transformer", "batches that fit the memory by themselves"],
  ["cifar10/augmented.yaml", "A CNN on CIFAR-10", "augmented images, a learning rate that falls"],
  ["digits/distributed.yaml", "Several workers to a trial", "data-parallel PyTorch"],
];

/** Shows the view; see app.js. `?from=` a sweep begins with its spec, `?example=` with one of ours. */
export async function show(root, { query, signal, session }) {
  const draft = new Draft();
  const yaml = editor((content) => {
    draft.type(content);
    changed(content);
  });
  const parts = build(root, yaml, session, { onSubmit, onFiles, onExample, onBack });
  let typing = null;
  let asking = new AbortController();
  let version = 0; // of the text: what was asked for to take its place must not come after another one
  let submitting = false;
  let away = false; // the service gave no answer

  drop(parts.area, onFiles, signal);
  signal.addEventListener("abort", () => {
    clearTimeout(typing);
    asking.abort();
  });
  if (draft.isHere || !(query.get("from") || query.get("example"))) put(draft.text);
  else if (query.get("from")) await begin(path`/v1/sweeps/${query.get("from")}/spec`);
  else await onExample(query.get("example"));

  function put(content) {
    yaml.setText(content);
    changed(content);
  }

  function changed(content) {
    version += 1;
    parts.back.hidden = !draft.before;
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
      away = false;
      yaml.mark([]);
      replace(parts.said, forecastView(forecast));
      parts.submit.disabled = !parts.maySubmit;
    } catch (error) {
      if (mine.aborted) return;
      if (isAway(error)) {
        if (!away) showError(parts.said, error, "It is asked again every few seconds.");
        away = true;
        typing = setTimeout(validate, AGAIN_MS);
      } else {
        away = false;
        refused(error);
      }
    }
  }

  function refused(error) {
    const problems = error.problems ?? [];
    yaml.mark(problems);
    parts.submit.disabled = true;
    if (!problems.length) return showError(parts.said, error);
    replace(parts.said, h("p", { class: "bad" }, h("strong", null, plural(problems.length, "problem"))), problemList(problems, yaml.goTo));
  }

  async function onSubmit() {
    if (submitting) return; // not disabled meanwhile: it has the focus
    submitting = true;
    const sent = version;
    try {
      const headers = { ...YAML, "Idempotency-Key": draft.key };
      const sweep = await send("POST", "/v1/sweeps", yaml.text(), { headers, signal });
      draft.clear();
      toast(`${sweep.name} is submitted`, "good");
      await go(path`/sweeps/${sweep.id}`);
    } catch (error) {
      if (signal.aborted) return;
      if (sent !== version) toast(error.message, "error"); // what is said is of another text
      else if (error.problems?.length) refused(error);
      else showError(parts.said, error, isAway(error) ? "Press Submit again: it is one sweep however often you do." : null);
    } finally {
      submitting = false;
    }
  }

  /** Specs before code, which is written into them; one after the other. */
  async function onFiles(files) {
    const all = files.sort((one, other) => CODE.test(one.name) - CODE.test(other.name));
    for (const file of all) await onFile(file);
  }

  async function onFile(file) {
    try {
      if (SPEC.test(file.name)) {
        if (file.size > MAX_SPEC_BYTES) throw new Error("A spec has at most 1 MiB.");
        await take(() => file.text());
      } else if (CODE.test(file.name)) {
        const code = await upload(file, signal);
        const content = withCode(yaml.text(), code); // as it is now, not as it was before the upload
        draft.type(content);
        put(content);
        toast(`${file.name} is uploaded, and the spec's code`, "good");
      } else {
        throw new Error(`${file.name} is neither a spec (.yaml, .json) nor code (.py, .zip).`);
      }
    } catch (error) {
      if (!signal.aborted) toast(error.message, "error");
    }
  }

  function onExample(name) {
    return begin(`/static/examples/${name.split("/").map(encodeURIComponent).join("/")}`);
  }

  function onBack() {
    draft.bringBack();
    put(draft.text);
    yaml.focus(); // the button is gone
  }

  async function begin(address) {
    try {
      await take(() => text(address, { signal }));
    } catch (error) {
      if (!signal.aborted) showError(parts.said, error);
    }
  }

  /** A text from elsewhere; what was typed, or chosen, since it was asked for stays. */
  async function take(read) {
    const mine = (version += 1);
    const content = await read();
    if (mine !== version || signal.aborted) return;
    draft.begin(content);
    put(content);
  }
}

function drop(area, onFiles, signal) {
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
    onFiles([...event.dataTransfer.files]);
  }, { signal });
}

function build(root, yaml, session, { onSubmit, onFiles, onExample, onBack }) {
  const maySubmit = session.scope !== "read";
  const submit = h("button", { class: "button primary", disabled: true, onclick: onSubmit }, "Submit");
  const back = h("button", { class: "button", hidden: true, onclick: onBack }, "Bring my text back");
  const said = h("div", { class: "said", id: "spec-said", role: "status" });
  const file = (label, accept) => {
    const input = h("input", { type: "file", accept, class: "visually-hidden" });
    input.addEventListener("change", () => {
      onFiles([...input.files]);
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
    h("div", { class: "toolbar" }, h("h1", null, "Submit a sweep"), h("span", { class: "grow" }), back, file("Open file…", ".yaml,.yml,.json")),
    maySubmit ? null : h("p", { class: "warn" }, "Your token may read: you can try specs here, and submit them with one that may write."),
    h(
      "div",
      { class: "submit" },
      area,
      h(
        "div",
        { class: "side" },
        h("section", { class: "panel" }, h("div", { class: "chart-head" }, h("h2", null, "What it would do"), h("div", { class: "toolbar" }, submit)), said), // after the editor for the keyboard, too
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
  return { area, back, said, submit, maySubmit };
}
