// What the pages' scripts share: calls of the API, messages, and numbers as pages show them.

const ROOT = new URL("..", import.meta.url).pathname.slice(0, -1); // a proxy's prefix, or ""

/** The address of a path of the service. */
export const address = (path) => ROOT + path;

/** What a request must carry that changes something, if the browser has signed in. */
export function csrf() {
  const token = document.querySelector("meta[name=csrf]")?.content;
  return token ? { "X-CSRF-Token": token } : {};
}

/** The answer's JSON; throws an Error with the problem document as `problem`. */
export async function call(method, path, body) {
  const request = { method, headers: { Accept: "application/json", ...csrf() } };
  if (body !== undefined) {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(address(path), request);
  } catch {
    throw Object.assign(new Error("The service does not answer. Try again."), { problem: null });
  }
  const text = await response.text();
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    // Something between the browser and the service answered.
  }
  if (!response.ok) {
    const detail = answer?.detail ?? `The service answered ${response.status}.`;
    throw Object.assign(new Error(detail), { problem: answer });
  }
  return answer;
}

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Like `figure` of app/web/formats.py. */
export function figure(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (Number.isInteger(value) || size >= 10 ** (digits - 1)) {
    return value.toLocaleString("en-US", { maximumFractionDigits: 0 });
  }
  return size >= 1e-4 || size === 0 ? String(Number(value.toPrecision(digits))) : value.toExponential(1);
}

export function percent(share) {
  return `${(100 * share).toFixed(1)}\u00a0%`;
}

export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** Run something that may fail, and put what went wrong into a live region. */
export async function attempt(region, action) {
  region.textContent = "";
  region.hidden = true;
  try {
    return await action();
  } catch (error) {
    region.textContent = error.message;
    region.hidden = false;
    return undefined;
  }
}
