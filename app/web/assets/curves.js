// Validation losses of several jobs in one drawing.
import { call } from "./api.js";
import { draw, numbers, style } from "./charts.js";

const place = document.querySelector("#curves");
const names = Object.keys(place.dataset).filter((key) => key.startsWith("job-")).map((key) => key.slice(4));

const rows = [];
for (const number of names) {
  const { data } = await call("GET", `/v1/jobs/${place.dataset[`job-${number}`]}/metrics`);
  const epochs = Map.groupBy(data.filter((row) => row.validation_loss > 0), (row) => row.epoch);
  for (const [epoch, folds] of epochs) {
    const loss = folds.reduce((sum, row) => sum + row.validation_loss, 0) / folds.length;
    rows.push({ job: place.dataset[`name-${number}`], epoch, loss });
  }
}
draw(place, {
  ...style(),
  height: 260,
  data: { values: rows },
  mark: { type: "line" },
  encoding: {
    x: { field: "epoch", type: "quantitative", title: "epoch", axis: { tickMinStep: 1 } },
    y: { field: "loss", type: "quantitative", title: "validation loss", scale: { type: "log" } },
    color: { field: "job", type: "nominal", title: null },
  },
});
place.after(numbers({ columns: ["job", "epoch", "validation loss"], rows: rows.map((row) => [row.job, row.epoch, row.loss]) }));
