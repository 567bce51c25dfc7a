// A CSV that is dropped or chosen goes to POST /v1/datasets, with its progress.
import { address, csrf, percent } from "./api.js";
import { onFile } from "./drop.js";

const drop = document.querySelector(".drop");
const file = drop.querySelector("input[type=file]");
const state = drop.querySelector("[role=status]");
const bar = drop.querySelector(".bar");

onFile(drop, (table) => send(table));
drop.querySelector("button[data-example]")?.addEventListener("click", async (event) => {
  event.target.disabled = true;
  try {
    const table = await fetch(address(event.target.dataset.example));
    // One network of a quick recipe: a first price is a minute away.
    const quick = encodeURIComponent(JSON.stringify({ effort: "quick" }));
    send(new File([await table.blob()], "houses.csv"), (id) => `/jobs/new?dataset_id=${id}#${quick}`);
  } catch {
    fail("The service does not answer. Try again.");
  }
});

function send(table, next = (id) => `/datasets/${id}`) {
  const request = new XMLHttpRequest(); // fetch does not tell how far an upload has got
  const marks = [...drop.querySelectorAll("select[name]")].filter((each) => each.value);
  const query = marks.map((each) => `&${each.name}=${encodeURIComponent(each.value)}`).join("");
  state.classList.remove("fault");
  request.open("POST", address(`/v1/datasets?name=${encodeURIComponent(table.name.slice(-200))}${query}`));
  const headers = { "Content-Type": "text/csv", ...csrf() };
  for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
  request.upload.addEventListener("progress", (event) => {
    const share = event.total ? event.loaded / event.total : 1;
    bar.hidden = false;
    bar.firstElementChild.style.width = `${100 * share}%`;
    state.textContent = share < 1 ? `Uploading ${table.name}: ${percent(share)}` : `Reading ${table.name} …`;
  });
  request.addEventListener("load", () => {
    let answer;
    try {
      answer = JSON.parse(request.responseText);
    } catch {
      return fail(`The service answered ${request.status}.`); // it may be a proxy's answer
    }
    if (request.status < 300) return window.location.assign(address(next(answer.id)));
    const places = (answer.errors ?? []).slice(0, 5).map((fault) => fault.detail);
    fail([answer.detail, ...places.filter((place) => !answer.detail.includes(place))].join(" "));
  });
  request.addEventListener("error", () => fail("The upload did not arrive. Try again."));
  request.send(table);
}

function fail(reason) {
  bar.hidden = true;
  file.value = ""; // so that the same file can be chosen again
  state.textContent = reason;
  state.classList.add("fault");
  for (const button of drop.querySelectorAll("button")) button.disabled = false;
}
