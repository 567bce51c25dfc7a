// The form of a prediction: an answer as one types, on demand with each column's contribution and
// the most similar training rows; and a CSV that is dropped in.
import { address, attempt, call, csrf, element, figure, percent } from "./api.js";
import { onFile } from "./drop.js";

const WAIT = 250; // ms without another change
const SHOWN = 10; // contributions
const form = document.querySelector("#predict");
const answer = form.querySelector("#answer");
const why = form.querySelector("#why");
const fault = form.querySelector("#fault");
const path = `/v1/models/${form.dataset.model}/predict`;
let timer, newest = 0;

function row() {
  const inputs = [...form.querySelectorAll("[data-column]")].filter((input) => input.value.trim() !== "");
  const cell = ({ value, dataset }) => ("number" in dataset && Number.isFinite(Number(value)) ? Number(value) : value);
  return Object.fromEntries(inputs.map((input) => [input.dataset.column, cell(input)]));
}

const coverage = () => Number(form.querySelector("#coverage").value);

async function ask() {
  const mine = ++newest;
  const found = await attempt(fault, () => call("POST", path, { rows: [row()], coverage: coverage() }));
  if (!found || mine !== newest) return;
  const [{ value, interval, probabilities, set, warnings }] = found.predictions;
  const parts = [element("p", { class: "price" }, typeof value === "number" ? figure(value) : String(value ?? "–"))];
  if (interval?.low != null) {
    parts.push(element("p", {}, `Between ${figure(interval.low)} and ${figure(interval.high)} in ${percent(interval.coverage)} of such cases.`));
  }
  if (set) parts.push(element("p", {}, `One of ${set.levels.join(", ") || "none"} in ${percent(set.coverage)} of such cases.`));
  if (probabilities) parts.push(bars(Object.entries(probabilities).sort((a, b) => b[1] - a[1]).slice(0, SHOWN), percent, "Probabilities"));
  const told = [...found.warnings, ...warnings].map((warning) => warning.detail);
  const list = [...new Set(told)];
  if (list.length) {
    const summary = element("summary", {}, `${list.length} ${list.length === 1 ? "remark" : "remarks"} on this row`);
    parts.push(element("details", { class: "small" }, summary, element("ul", {}, ...list.map((text) => element("li", {}, text)))));
  }
  answer.replaceChildren(...parts);
}

/** Bars of [name, number], around zero if some are negative. */
function bars(pairs, text, label) {
  const most = Math.max(...pairs.map(([, number]) => Math.abs(number))) || 1;
  const isSigned = pairs.some(([, number]) => number < 0);
  const scale = isSigned ? 50 / most : 100 / most;
  const middle = isSigned ? 50 : 0;
  return element(
    "div",
    { class: "bars small", role: "table", "aria-label": label },
    ...pairs.map(([name, number]) => {
      const width = Math.abs(number) * scale;
      const bar = element("i", { class: number < 0 ? "down" : null });
      bar.style.left = `${number < 0 ? middle - width : middle}%`;
      bar.style.width = `${width}%`;
      const track = element("span", { class: "track", "aria-hidden": "true" }, bar);
      const cells = [element("span", { role: "rowheader" }, name), track, element("span", { class: "n", role: "cell" }, text(number))];
      return element("span", { role: "row", style: "display: contents" }, ...cells);
    }),
  );
}

async function explain() {
  const asked = row();
  const found = await attempt(fault, async () => {
    const explained = await call("POST", `${path}?explain=true`, { rows: [asked] });
    // The table may have been deleted; the contributions are there all the same.
    const like = await call("POST", `${path}?comparables=5`, { rows: [asked] }).catch((error) => ({ gone: error.message }));
    return { explained, like };
  });
  if (!found) return;
  const [{ explanation }] = found.explained.predictions;
  const pairs = Object.entries(explanation.contributions).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  const rest = pairs.slice(SHOWN).reduce((sum, [, number]) => sum + number, 0);
  const shown = pairs.slice(0, SHOWN);
  if (pairs.length > SHOWN) shown.push([`${pairs.length - SHOWN} others`, rest]);
  const signed = (number) => (number > 0 ? "+" : "") + figure(number, 3);
  const unit = explanation.level === null ? "" : `, in log-odds of ${explanation.level}`;
  why.replaceChildren(
    element("h2", {}, "Why"),
    element("p", { class: "small soft" }, `A typical row has ${figure(explanation.base)}${unit}. These columns add and take:`),
    bars(shown, signed, "Contributions"),
    element("h2", {}, "What is like it"),
    found.like.gone ? element("p", { class: "small" }, found.like.gone) : comparables(found.like.predictions[0].comparables, pairs),
  );
}

function comparables(rows, pairs) {
  const columns = pairs.slice(0, 4).map(([name]) => name);
  const cell = (value) => (typeof value === "number" ? figure(value) : String(value ?? ""));
  const head = ["Row", "Alike", "Truth"].map((name) => element("th", {}, name));
  head.push(...columns.map((name) => element("th", { class: "wide" }, name)));
  const body = rows.map(({ row, similarity, actual, values }) =>
    element("tr", {}, ...[row, percent(similarity), cell(actual), ...columns.map((name) => cell(values[name]))].map((text) => element("td", {}, String(text)))),
  );
  return element("div", { class: "scroll small", tabindex: "0" }, element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body)));
}

form.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(ask, WAIT);
});
form.addEventListener("submit", (event) => event.preventDefault());
form.querySelector("#explain").addEventListener("click", explain);
ask();

const batch = document.querySelector("#batch");
const file = batch.querySelector("input");
onFile(batch, predictAll);

async function predictAll(table) {
  const state = batch.querySelector("[role=status]");
  state.textContent = `Predicting ${table.name} …`;
  const headers = { "Content-Type": "text/csv", Accept: "text/csv, application/problem+json", ...csrf() };
  let text;
  try {
    const response = await fetch(address(`${path}?coverage=${coverage()}`), { method: "POST", headers, body: table });
    if (!response.ok) throw new Error((await response.json()).detail);
    text = await response.text();
  } catch (error) {
    state.textContent = `No row was predicted: ${error.message}`;
    return;
  } finally {
    file.value = ""; // so that the same file can be chosen again
  }
  const lines = text.trimEnd().split("\n").slice(1);
  const warned = lines.filter((line) => !/,(""|)\r?$/.test(line)).length;
  const link = element("a", { download: "predictions.csv", href: URL.createObjectURL(new Blob([text], { type: "text/csv" })) }, "predictions.csv");
  state.replaceChildren(`${figure(lines.length)} rows predicted, ${figure(warned)} of them with a warning: `, link);
}
