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

const region = document.querySelector("[data-charts]");
if (region) showAll(region);

async function showAll(region) {
  let charts;
  try {
    charts = (await call("GET", region.dataset.charts)).data;
  } catch (error) {
    region.append(element("p", { class: "soft" }, `There are no charts: ${error.message}`));
    return;
  }
  for (const { title, description, spec, table } of charts) {
    const place = element("div", { class: "chart", role: "img", "aria-label": `${title}. ${description}` });
    const figureBox = element(
      "figure",
      {},
      element("figcaption", {}, title),
      place,
      element("p", { class: "soft small" }, description),
      numbers(table),
    );
    region.append(figureBox);
    await draw(place, { ...spec, width: "container" });
  }
}

/** A table that is filled when it is opened. */
export function numbers({ columns, rows }) {
  const details = element("details", {}, element("summary", {}, "The numbers"));
  details.addEventListener(
    "toggle",
    () => {
      const cells = (values, name) => values.map((value) => element(name, {}, typeof value === "number" ? figure(value, 6) : String(value ?? "")));
      const body = rows.map((row) => element("tr", {}, ...cells(row, "td")));
      const head = element("thead", {}, element("tr", {}, ...cells(columns, "th")));
      details.append(element("div", { class: "scroll", tabindex: "0" }, element("table", {}, head, element("tbody", {}, ...body))));
    },
    { once: true },
  );
  return details;
}
