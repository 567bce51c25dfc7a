// The identity provider has led the browser back: its answer becomes a cookie that no script can read.
import { address, attempt, call } from "./api.js";

const sent = new URLSearchParams(window.location.search);
// The code is used once. It should not stay in the address and the history.
window.history.replaceState(null, "", window.location.pathname);
const answer = { code: sent.get("code") ?? "", state: sent.get("state") ?? "" };
const done = await attempt(document.querySelector("#failed"), () => call("POST", "/sign-in/callback", answer));
if (done) window.location.replace(address(done.next));
else document.querySelector("#waiting").hidden = true;
