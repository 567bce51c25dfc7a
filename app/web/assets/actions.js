// Buttons that call the API: data-call="POST /v1/jobs/…/cancel", with data-body, data-confirm, and
// data-then, the page to go to ("" reloads this one; "job" the job that was answered).
import { address, attempt, call } from "./api.js";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-call]");
  if (!button) return;
  if (button.dataset.confirm && !window.confirm(button.dataset.confirm)) return;
  const [method, path] = button.dataset.call.split(" ");
  const region = document.querySelector("#said");
  button.disabled = true;
  const done = await attempt(region, async () => {
    const body = button.dataset.body ? JSON.parse(button.dataset.body) : undefined;
    return { answer: await call(method, path, body) };
  });
  button.disabled = false;
  if (!done) return;
  const then = button.dataset.then;
  if (then === "job") window.location.assign(address(`/jobs/${done.answer.id}`));
  else if (then) window.location.assign(address(then));
  else window.location.reload();
});
