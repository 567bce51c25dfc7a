// The form of a new job or sweep. The spec is one object: inputs write into it, the JSON shows it and
// can be edited, and every change of a job is checked with POST /v1/jobs:validate.
import { address, call, duration, element, figure } from "./api.js";

const WAIT = 350; // ms without another change, before a check
const form = document.querySelector("#job");
// What is submitted: data-noun="jobs" or "sweeps". Only jobs have a check before.
if (form) begin();

function begin() {
  const inputs = [...form.querySelectorAll("[data-path]")];
  const json = form.querySelector("#json");
  const submit = form.querySelector("[type=submit]");
  const noun = form.getAttribute("data-noun"); // form.dataset is the input of that name
  let spec = JSON.parse(document.querySelector("#spec").textContent);
  let timer, newest = 0;

  if (history.state?.spec) {
    spec = history.state.spec; // as it was left, when one comes back
  } else if (window.location.hash.length > 1) {
    try {
      spec = merged(spec, JSON.parse(decodeURIComponent(window.location.hash.slice(1))));
    } catch {
      // Not a spec.
    }
  }

  function show({ typed = null } = {}) {
    for (const input of inputs) if (input !== typed) input.value = written(at(spec, input.dataset.path), input);
    if (typed !== json) json.value = JSON.stringify(spec, null, 2);
    const body = JSON.stringify(spec).replaceAll("'", "'\\''");
    form.querySelector("#curl").textContent =
      `curl -H 'Content-Type: application/json' \\\n  ${window.location.origin}${address(`/v1/${noun}`)} \\\n  -d '${body}'`;
    form.querySelector("#copy").textContent = "Copy";
    history.replaceState({ spec }, "");
    clearTimeout(timer);
    timer = setTimeout(check, WAIT);
  }

  async function check() {
    const mine = ++newest;
    let answer = null, problem = null, message = "";
    if (!spec.target) message = "Choose the column to predict.";
    else if (noun !== "jobs") answer = { warnings: [] };
    else try {
      answer = await call("POST", "/v1/jobs:validate", spec);
    } catch (error) {
      problem = error.problem;
      message = error.message;
    }
    if (mine !== newest) return; // a later change is being checked
    submit.disabled = answer === null;
    form.querySelector("#verdict").textContent = answer ? "Ready to train" : "Not yet";
    tell(problem, message);
    form.querySelector("#warnings").replaceChildren(
      ...(answer?.warnings ?? []).map((warning) => element("li", {}, warning.detail)),
    );
    if (noun !== "jobs") return;
    form.querySelector("#estimate").replaceChildren(...(answer ? facts(answer) : []));
    for (const input of inputs) {
      const value = answer && written(at(answer.resolved_spec, input.dataset.path), input);
      if (input.tagName === "INPUT") input.placeholder = value ?? "";
      const empty = input.tagName === "SELECT" && input.querySelector("option[value='']");
      if (empty && input.id !== "target" && input.id !== "architecture") {
        empty.textContent = value ? `as resolved: ${value}` : "as resolved";
      }
    }
  }

  function tell(problem, message) {
    const left = [];
    const places = new Map(inputs.map((input) => [input.dataset.path, input]));
    for (const input of inputs) input.removeAttribute("aria-invalid");
    for (const fault of form.querySelectorAll("[data-fault]")) fault.hidden = true;
    for (const { pointer, detail } of problem?.errors ?? []) {
      const path = (pointer ?? "").slice(1).replaceAll("/", ".");
      const name = [path, path.split(".").slice(0, -1).join("."), path.split(".")[0]].find(
        (each) => form.querySelector(`[data-fault="${CSS.escape(each)}"]`),
      );
      if (!name) {
        left.push(pointer ? `${pointer}: ${detail}` : detail);
        continue;
      }
      const place = form.querySelector(`[data-fault="${CSS.escape(name)}"]`);
      place.textContent = detail;
      place.hidden = false;
      places.get(name)?.setAttribute("aria-invalid", "true");
      place.closest("details")?.setAttribute("open", "");
    }
    if (message && !problem?.errors?.length) left.push(message);
    form.querySelector("#faults").replaceChildren(...left.map((each) => element("li", {}, each)));
  }

  function facts({ estimate, parameters, features, resolved_spec: resolved }) {
    const kinds = resolved.members?.map((member) => member.architecture.type);
    const pairs = [
      ["time", `about ${duration(estimate.seconds)}`],
      ["memory", `${figure(estimate.memory_bytes / 2 ** 20)} MiB`],
      ["columns", features.length],
      ["model", kinds ? `a blend of ${kinds.join(", ")}` : resolved.architecture.type],
      ["weights", `${figure(parameters)} in a network`],
    ];
    return pairs.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, String(value))]);
  }

  form.addEventListener("input", ({ target }) => {
    if (target === json) {
      const fault = form.querySelector("#json-fault");
      try {
        const read = JSON.parse(json.value);
        if (read === null || typeof read !== "object" || Array.isArray(read)) throw new Error("must be an object");
        spec = read;
        fault.hidden = true;
      } catch (error) {
        fault.textContent = `Not JSON yet: ${error.message}`;
        fault.hidden = false;
        return;
      }
    } else if (target.dataset.path) {
      put(spec, target.dataset.path.split("."), readInput(target));
    } else {
      return;
    }
    show({ typed: target });
  });
  form.querySelector("#dataset").addEventListener("change", ({ target }) => {
    window.location.assign(address(`/${noun}/new?dataset_id=${target.value}`));
  });
  form.querySelector("#copy").addEventListener("click", async ({ target }) => {
    const command = form.querySelector("#curl");
    if (!navigator.clipboard) return getSelection().selectAllChildren(command); // not on HTTPS
    await navigator.clipboard.writeText(command.textContent);
    target.textContent = "Copied";
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    clearTimeout(timer);
    newest += 1; // a check that is under way would hide what the answer says
    try {
      const { id } = await call("POST", `/v1/${noun}`, spec);
      window.location.assign(address(`/${noun}/${id}`));
    } catch (error) {
      submit.disabled = false;
      tell(error.problem, error.message);
    }
  });
  show();
}

function at(spec, path) {
  return path.split(".").reduce((part, name) => part?.[name], spec);
}

/** Set a value, or take it away, with the parts that become empty. */
function put(part, [name, ...rest], value) {
  if (rest.length) {
    if (part[name] === null || typeof part[name] !== "object") part[name] = {};
    put(part[name], rest, value);
    if (!Object.keys(part[name]).length) delete part[name];
  } else if (value === undefined) {
    delete part[name];
  } else {
    part[name] = value;
  }
}

function merged(one, other) {
  const found = { ...one };
  for (const [name, value] of Object.entries(other)) {
    const isPart = (each) => each !== null && typeof each === "object" && !Array.isArray(each);
    found[name] = isPart(value) && isPart(found[name]) ? merged(found[name], value) : value;
  }
  return found;
}

/** The parts of a list, as in a CSV: what has a comma stands in double quotes. */
function partsOf(text) {
  const parts = text.match(/\s*"(?:[^"]|"")*"\s*(?=,|$)|[^,]+/g) ?? [];
  return parts.map(unquoted).filter(Boolean);
}

function unquoted(part) {
  return part.trim().replace(/^"(.*)"$/s, (_, inner) => inner.replaceAll('""', '"'));
}

function quoted(part) {
  return /[",]/.test(part) ? `"${part.replaceAll('"', '""')}"` : String(part);
}

/** What an input says; undefined if it says nothing. What is no number is sent as it is, and refused. */
function readInput({ value, dataset: { kind } }) {
  const text = value.trim();
  if (text === "") return undefined;
  if (kind === "json") return JSON.parse(text);
  if (kind === "list") return partsOf(text);
  if (kind === "numbers") return partsOf(text).map(number);
  return kind === "number" || kind === "integer" ? number(text) : text;
}

function number(text) {
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

function written(value, { dataset: { kind }, options }) {
  if (value === undefined || (value === null && kind !== "json")) return "";
  if (kind !== "json") return Array.isArray(value) ? value.map(quoted).join(", ") : String(value);
  const text = JSON.stringify(value);
  const same = [...(options ?? [])].find((each) => each.value && JSON.stringify(JSON.parse(each.value)) === text);
  return same?.value ?? "";
}
