// A key becomes a cookie that no script can read, or the identity provider says who it is.
import { address, attempt, call } from "./api.js";

const form = document.querySelector("#sign-in");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const done = await attempt(form.querySelector("[role=alert]"), async () => {
    await call("POST", "/sign-in", { key: form.key.value.trim() });
    return true;
  });
  if (done) window.location.assign(address(form.dataset.then));
});

const provider = document.querySelector("#provider");
provider?.querySelector("button").addEventListener("click", async () => {
  const begun = await attempt(provider.querySelector("[role=alert]"), () =>
    call("POST", "/sign-in/start", { next: form.dataset.then }),
  );
  if (begun) window.location.assign(begun.location);
});
