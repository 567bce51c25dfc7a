// Follows a sweep by its events: each trial that ends refreshes the answer, the leaderboard and the
// charts. When it ends, the page is loaded again, which then shows the model.
import { address } from "./api.js";
import { showAll } from "./charts.js";

const LEAST_WAIT = 2000; // ms between two refreshes
const found = () => document.querySelector("#found");
const region = document.querySelector("[data-charts]");
let wait = LEAST_WAIT, wanted = false;

async function refresh() {
  if (wanted) return;
  wanted = true;
  await new Promise((resolve) => setTimeout(resolve, wait));
  wanted = false;
  const began = performance.now();
  found().dispatchEvent(new Event("refresh"));
  await showAll(region);
  wait = Math.max(LEAST_WAIT, 5 * (performance.now() - began)); // many trials take longer to draw
}

const source = new EventSource(address(`/v1/sweeps/${found().dataset.sweep}/events`));
source.addEventListener("trial", refresh);
source.addEventListener("state", (event) => {
  if (!["succeeded", "failed", "cancelled"].includes(JSON.parse(event.data).status)) return;
  source.close();
  window.location.reload();
});
