// Jobs that are ticked are compared.
const button = document.querySelector("#compare");
const ticked = () => [...document.querySelectorAll("input[name=job]:checked")].map((each) => each.value);

document.addEventListener("change", () => {
  const count = ticked().length;
  button.disabled = count < 2;
  button.textContent = count < 2 ? "Compare" : `Compare ${count}`;
});
button.addEventListener("click", () => {
  window.location.assign(`/jobs/compare?${ticked().map((id) => `id=${id}`).join("&")}`);
});
