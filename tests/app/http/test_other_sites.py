"""Pages of other sites in a real browser, at names that are not localhost: browsers send
`Sec-Fetch-Site` to none of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from browser import chromium, listening
from fastapi.testclient import TestClient
from house_api import serving, submit, train
from playwright.sync_api import BrowserContext, Page

from app.main import create_app
from app.settings import Settings

SERVICE = "service.example"
OWN_PAGE = "/page"
FLAGS = (
    "--host-resolver-rules=MAP * 127.0.0.1",
    # Pages on the service's own network, before which browsers put no other fence.
    "--disable-features=LocalNetworkAccessChecks",
)

# Requests that browsers send without asking first, and some for which they ask.
ATTACK = """
async (base) => {
  const table = new FormData();
  table.append("file", new Blob(["a,b\\n1,2\\n3,4\\n"]), "planted.csv");
  const read = [];
  const send = async (path, options) => {
    try { read.push(await (await fetch(base + path, options)).text()); } catch (error) {}
  };
  for (const mode of ["no-cors", "cors"]) {
    await send("/v1/datasets", {mode, method: "POST", body: table});
    await send("/v1/jobs/latest/cancel", {mode, method: "POST"});
    await send("/v1/aliases/champion/rollback", {mode, method: "POST"});
    await send("/v1/jobs", {mode});
  }
  await send("/v1/jobs/latest/cancel", {method: "POST", referrerPolicy: "no-referrer"});
  await send("/v1/aliases/second", {method: "DELETE"});
  await send("/v1/jobs", {method: "POST", headers: {"Content-Type": "application/json"},
                          body: JSON.stringify({dataset_id: "latest", target: "Price"})});
  navigator.sendBeacon(base + "/v1/jobs/latest/cancel", "{}");
  return read.join("");
}
"""

FORM = """
(action) => {
  const form = document.createElement("form");
  Object.assign(form, {method: "POST", action, enctype: "text/plain"});
  document.body.append(form);
  form.submit();
}
"""

FRAME = """
(source) => new Promise((resolve) => {
  const frame = document.createElement("iframe");
  Object.assign(frame, {src: source, onload: resolve});
  document.body.append(frame);
})
"""


@pytest.fixture
def client(settings: Settings, tmp_path: Path) -> Iterator[TestClient]:
    """With a table, a model behind two aliases that can be moved back, and a job that waits."""
    with serving(settings) as client:
        first, second = (train(client, tmp_path / name) for name in ("first", "second"))
        for alias in ("champion", "second"):
            for model in (first, second):
                client.put(f"/v1/aliases/{alias}", json={"model_id": model}).raise_for_status()
        submit(client)
        yield client


@pytest.fixture
def port(client: TestClient, settings: Settings) -> Iterator[int]:  # noqa: ARG001
    """The same installation, reached under a plain-http name."""
    trusting = {"allowed_hosts": SERVICE, "trusted_network": True}
    with listening(create_app(settings.model_copy(update=trusting))) as port:
        yield port


@pytest.fixture(scope="module")
def context() -> Iterator[BrowserContext]:
    with chromium(*FLAGS) as browser:
        yield browser.new_context()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[int]:
    """The port of another site's server, whose page is empty."""
    (tmp_path / "site").mkdir()
    handler = partial(QuietHandler, directory=str(tmp_path / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


def page_of(context: BrowserContext, address: str) -> Page:
    page = context.new_page()
    if address.endswith(OWN_PAGE):  # the service has none yet
        page.route(address, lambda route: route.fulfill(content_type="text/html", body="<body>"))
    page.goto(address)
    return page


def refusals(port: int) -> int:
    text = httpx.get(f"http://localhost:{port}/metrics").text
    [count] = re.findall(r'requests_total{method="POST",route="unknown",status="403"} (\d+)', text)
    return int(count)


def state(client: TestClient) -> list[Any]:
    paths = ("/v1/datasets", "/v1/jobs", "/v1/aliases", "/v1/aliases/champion/history")
    return [client.get(path).json() for path in paths]


def test_pages_of_other_sites_write_and_read_nothing(
    client: TestClient, port: int, elsewhere: int, context: BrowserContext
) -> None:
    service = f"http://{SERVICE}:{port}"
    before = state(client)
    secret = before[1]["data"][0]["id"]
    refused = 0
    addresses = [
        f"http://evil.example:{elsewhere}/",
        f"http://other.{SERVICE}:{elsewhere}/",  # of the same site
        f"http://{SERVICE}:{elsewhere}/",  # of another port
        f"http://rebound.example:{port}{OWN_PAGE}",  # of the same origin: its name leads here now
    ]
    for address in addresses:
        page = page_of(context, address)
        base = "" if "rebound" in address else service

        read = page.evaluate(ATTACK, base)

        assert secret not in read, address
        refused, was_refused = refusals(port), refused
        assert refused - was_refused >= 6  # they came
        page.evaluate(FORM, f"{base}/v1/jobs/latest/cancel")
        page.wait_for_url("**/cancel")
        assert "problems/forbidden" in page.content()
        assert state(client) == before, address


def test_no_page_shows_this_one_in_a_frame(
    client: TestClient,  # noqa: ARG001
    port: int,
    elsewhere: int,
    context: BrowserContext,
) -> None:
    page = page_of(context, f"http://evil.example:{elsewhere}/")
    page.evaluate(FRAME, f"http://{SERVICE}:{port}/docs")
    framed = page.locator("iframe").element_handle().content_frame()
    assert framed is not None
    assert framed.url.startswith("chrome-error:")


def test_its_own_page_may_write(client: TestClient, port: int, context: BrowserContext) -> None:
    page = page_of(context, f"http://{SERVICE}:{port}{OWN_PAGE}")

    page.evaluate(ATTACK, "")

    datasets, jobs, aliases, _ = state(client)
    assert datasets["data"][0]["name"] == "planted.csv"
    assert jobs["data"][0]["status"] == "cancelled"
    assert "second" not in {alias["alias"] for alias in aliases["data"]}
