// Jobs that are ticked are compared.
import { address } from "./api.js";

const MOST = 8; // as the page accepts
const button = document.querySelector("#compare");
const ticked = () => [...document.querySelectorAll("input[name=job]:checked")].map((each) => each.value);

document.addEventListener("change", () => {
  const count = ticked().length;
  button.disabled = count < 2 || count > MOST;
  button.textContent = count > MOST ? `At most ${MOST}` : count < 2 ? "Compare" : `Compare ${count}`;
});
button.addEventListener("click", () => {
  window.location.assign(address(`/jobs/compare?${ticked().map((id) => `id=${id}`).join("&")}`));
});
