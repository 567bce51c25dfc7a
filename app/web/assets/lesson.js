// Runs a lesson and shows what it found: the verdict of its checks, plots, tables.
import { call, duration, element, figure } from "./api.js";
import { draw, numbers, style } from "./charts.js";

const POLL = 500; // ms
const button = document.querySelector("#run");
const stage = document.querySelector("#stage");
const region = document.querySelector("#outcome");

button.addEventListener("click", async () => {
  button.disabled = true;
  region.replaceChildren();
  try {
    let run = await call("POST", `/v1/lessons/${button.dataset.lesson}`);
    const began = performance.now();
    while (run.status === "queued" || run.status === "running") {
      const seconds = duration((performance.now() - began) / 1000);
      stage.textContent = run.status === "queued" ? "Waiting for a worker." : `It runs: ${seconds}.`;
      await new Promise((done) => setTimeout(done, POLL));
      run = await call("GET", `/v1/lesson-runs/${run.id}`);
    }
    if (run.outcome) show(run.outcome);
    else stage.textContent = `It failed: ${run.error}`;
  } catch (error) {
    stage.textContent = error.message;
  }
  button.disabled = false;
});

function show({ holds, seconds, checks, plots, figures, note }) {
  stage.textContent = `${holds ? "Every check holds" : "Not every check holds"}, after ${duration(seconds)}.`;
  const verdicts = checks.map(({ claim, found, holds: does }) =>
    element("li", {}, element("span", { class: does ? "chip" : "chip failed" }, does ? "holds" : "fails"), ` ${claim} (found ${figure(found)})`),
  );
  region.replaceChildren(element("ul", {}, ...verdicts));
  if (note) region.append(element("p", { class: "note" }, note));
  const grid = element("div", { class: "grid2" });
  region.append(grid);
  for (const plot of plots) {
    const place = element("div", { class: "chart", role: "img", "aria-label": plot.title });
    const rows = plot.series.flatMap(({ name, x, y }) => x.map((each, at) => [name, each, y[at]]));
    const table = numbers({ columns: ["", plot.x, plot.y], rows });
    grid.append(element("figure", {}, element("figcaption", {}, plot.title), place, table));
    draw(place, drawing(plot));
  }
  for (const table of figures) {
    const cells = (values, name) => values.map((value) => element(name, {}, typeof value === "number" ? figure(value) : String(value ?? "–")));
    const head = element("thead", {}, element("tr", {}, ...cells(table.columns, "th")));
    const body = element("tbody", {}, ...table.rows.map((row) => element("tr", {}, ...cells(row, "td"))));
    region.append(element("h2", {}, table.title), element("div", { class: "scroll", tabindex: "0" }, element("table", {}, head, body)));
  }
}

/** The Vega-Lite document of a lesson's plot. */
function drawing({ kind, x, y, series, logarithmic }) {
  const values = series.flatMap(({ name, x: xs, y: ys }) => xs.map((each, place) => ({ name, x: each, y: ys[place] })));
  const isWords = typeof values[0]?.x === "string";
  const scale = (axis) => ({ type: logarithmic.includes(axis) ? "log" : "linear", zero: kind === "bars" && axis === "y" });
  return {
    ...style(),
    height: 240,
    data: { values },
    mark: { line: { type: "line" }, points: { type: "point", filled: true, opacity: 0.6 }, bars: { type: "bar" } }[kind],
    encoding: {
      x: isWords ? { field: "x", type: "nominal", title: x, sort: null } : { field: "x", type: "quantitative", title: x, scale: scale("x") },
      y: { field: "y", type: "quantitative", title: y, scale: scale("y") },
      ...(series.length > 1 ? { color: { field: "name", type: "nominal", title: null } } : {}),
      ...(kind === "bars" && series.length > 1 ? { xOffset: { field: "name" } } : {}),
    },
  };
}
