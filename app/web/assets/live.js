// Follows a job by its events: progress, curves that grow, what has happened. When it ends, the page
// is loaded again, which then shows the result.
import { address, duration, element, figure } from "./api.js";
import { draw, style } from "./charts.js";

const live = document.querySelector("#live");
const bar = live.querySelector(".bar");
const stage = live.querySelector("#stage");
const chip = document.querySelector("h1 .chip");
const log = live.querySelector("#log");
const latest = live.querySelector("#latest");
const known = new Map(); // rows by fold and epoch: a resumed run sends some again
const MOST_POINTS = 4000; // drawn; longer histories are thinned
let chart, wanted = false;

const series = (field, dash, opacity) => ({
  mark: { type: "line", strokeDash: dash, opacity, clip: true },
  encoding: { y: { field, type: "quantitative", title: "loss", scale: { type: "log", nice: false }, axis: { tickCount: 4 } } },
});
const SPEC = {
  ...style(),
  height: 240,
  encoding: {
    x: { field: "epoch", type: "quantitative", title: "epoch", axis: { tickMinStep: 1 } },
    color: { field: "fold", type: "nominal", title: "fold" },
  },
  layer: [series("validation_loss", [1, 0], 1), series("train_loss", [2, 3], 0.6)],
};

async function redraw() {
  if (wanted) return;
  wanted = true;
  await new Promise(requestAnimationFrame);
  wanted = false;
  const rows = [...known.values()].filter((row) => row.validation_loss > 0 || row.train_loss > 0);
  const step = Math.ceil(rows.length / MOST_POINTS);
  const values = rows.filter((row) => step === 1 || row.epoch % step === 0);
  if (!values.length) return;
  chart ??= draw(live.querySelector("#curves"), { ...SPEC, data: { name: "epochs", values } });
  const { view } = await chart;
  view.data("epochs", values).run();
}

function tell(text) {
  log.append(element("li", {}, text));
}

const handlers = {
  state({ state, status, attempt, detail }) {
    const what = { queued: "waits for a worker", running: `trains, attempt ${attempt}` }[state] ?? state;
    tell(detail ? `${what}: ${detail}` : what);
    if (["succeeded", "failed", "cancelled"].includes(status)) {
      source.close();
      window.location.reload();
    } else if (state === "running") {
      chip.textContent = chip.className = "running";
      chip.classList.add("chip");
      live.querySelector("#keep")?.removeAttribute("hidden");
      stage.textContent = "Training begins.";
    } else if (attempt) {
      stage.textContent = "Waiting for a worker to go on.";
    }
  },
  epoch({ epochs, progress }) {
    for (const row of epochs) known.set(`${row.fold}/${row.epoch}`, row);
    if (progress) {
      const share = (100 * progress.fraction).toFixed(1);
      bar.firstElementChild.style.width = `${share}%`;
      bar.setAttribute("aria-valuenow", share);
      const left = progress.eta_s === null ? "" : `, about ${duration(progress.eta_s)} left`;
      stage.textContent = `Epoch ${progress.epoch} of ${progress.max_epochs}${left}.`;
    }
    const newest = new Map();
    for (const row of known.values()) if ((newest.get(row.fold)?.epoch ?? -1) < row.epoch) newest.set(row.fold, row);
    latest.replaceChildren(
      ...[...newest.values()].map((row) =>
        element("tr", {}, ...[row.fold, row.epoch, row.train_loss, row.validation_loss].map((value) => element("td", { class: "n" }, figure(value)))),
      ),
    );
    redraw();
  },
  fold({ fold, epochs }) {
    tell(`fold ${fold} was scored after ${epochs} epochs`);
  },
  result({ model_id: model }) {
    tell(`the model ${model} is registered`);
  },
};

const source = new EventSource(address(`/v1/jobs/${live.dataset.job}/events`));
for (const [name, handle] of Object.entries(handlers)) {
  source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
}
let before = ""; // what the stage said until the service no longer answered
source.addEventListener("open", () => {
  if (before) stage.textContent = before;
  before = "";
});
source.addEventListener("error", () => {
  before ||= stage.textContent;
  if (source.readyState === EventSource.CLOSED) stage.textContent = "The connection is lost. Reload the page to go on.";
  else stage.textContent = "The service does not answer; trying again.";
});
