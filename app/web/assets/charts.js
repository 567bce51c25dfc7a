// Draws the stored chart documents of a job, each with its numbers as a table behind it.
import { call, element, figure } from "./api.js";

const OPTIONS = { actions: false, renderer: "svg", ast: true, defaultStyle: false };

/** Draw a Vega-Lite document; Vega is loaded before this module runs. */
export function draw(place, spec) {
  return window.vegaEmbed(place, spec, OPTIONS);
}

/** What the pages' own charts have in common; like models/charts/theme.py. */
export function style() {
  const text = { labelColor: "var(--soft)", titleColor: "var(--soft)", labelFontSize: 11, titleFontSize: 12, titleFontWeight: "normal" };
  const axis = { ...text, domain: false, ticks: false, gridColor: "var(--line)", tickCount: 5, labelPadding: 6 };
  const legend = { ...text, orient: "bottom", columns: 4, title: null };
  const range = { category: [0, 1, 2, 3, 4].map((place) => `var(--f${place})`) };
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    width: "container",
    background: "transparent",
    config: { axis, axisX: { grid: false }, legend, range, view: { stroke: null }, mark: { color: "var(--accent)" } },
  };
}

const drawn = new Map(); // by the chart's name
let drawing = Promise.resolve(); // one after another: the newest numbers must be the last
const region = document.querySelector("[data-charts]");
if (region) showAll(region);

/** Draw the charts of a region; those that are there already get their new numbers. */
export function showAll(region) {
  drawing = drawing.then(() => drawAll(region));
  return drawing;
}

async function drawAll(region) {
  let charts;
  try {
    charts = (await call("GET", region.dataset.charts)).data;
  } catch (error) {
    if (!drawn.size) region.replaceChildren(element("p", { class: "soft" }, `There are no charts: ${error.message}`));
    return;
  }
  for (const { name, title, description, spec, table } of charts) {
    if (!drawn.has(name)) {
      if (!drawn.size) region.replaceChildren();
      const box = element("figure", {}, element("figcaption"), element("div", { class: "chart", role: "img" }), element("p", { class: "soft small" }), numbers(table));
      drawn.set(name, box);
      region.append(box);
    }
    const [caption, place, words, behind] = drawn.get(name).children;
    caption.textContent = title;
    words.textContent = description;
    place.setAttribute("aria-label", `${title}. ${description}`);
    behind.refill(table);
    await draw(place, { ...spec, width: "container" });
  }
}

/** A table that is filled when it is opened; `refill` gives it other numbers. */
export function numbers(table) {
  const details = element("details", {}, element("summary", {}, "The numbers"));
  let filled = false;
  details.refill = (newer) => {
    table = newer;
    if (filled) fill();
  };
  function fill() {
    filled = true;
    const cells = (values, name) => values.map((value) => element(name, {}, typeof value === "number" ? figure(value, 6) : String(value ?? "")));
    const body = table.rows.map((row) => element("tr", {}, ...cells(row, "td")));
    const head = element("thead", {}, element("tr", {}, ...cells(table.columns, "th")));
    const scroll = element("div", { class: "scroll", tabindex: "0" }, element("table", {}, head, element("tbody", {}, ...body)));
    details.replaceChildren(details.firstElementChild, scroll);
  }
  details.addEventListener("toggle", fill, { once: true });
  return details;
}
