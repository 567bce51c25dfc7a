"""Swagger UI in a browser: no other server is asked, and the examples work in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, listening
from house_api import AMES_COLUMNS, finish
from playwright.sync_api import Page

from app.main import create_app
from app.resources import Resources
from app.settings import Settings

AMES = Path("examples/ames.csv").resolve()


@pytest.fixture
def served(settings: Settings) -> Iterator[tuple[str, Resources]]:
    """The application behind a port, and what it has open."""
    app = create_app(settings)
    with listening(app) as port:
        yield f"http://127.0.0.1:{port}", app.state.resources


@pytest.fixture
def page() -> Iterator[Page]:
    with chromium() as browser:
        yield browser.new_page()


def click_through(page: Page, tag: str, operation: str, file: Path | None = None) -> dict[str, Any]:
    """Open an operation, execute it as it is filled in, and return what it answers."""
    block = page.locator(f"[id='operations-{tag}-{operation}']")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    if file is not None:
        block.locator("input[type=file]").set_input_files(file)
    with page.expect_response(lambda response: "/v1/" in response.url) as answer:
        block.get_by_role("button", name="Execute").click()
    response = answer.value
    assert response.ok, response.text()
    block.locator(".live-responses-table").wait_for()
    found: dict[str, Any] = response.json()
    return found


def test_the_examples_can_be_clicked_in_order(
    served: tuple[str, Resources], page: Page, tmp_path: Path
) -> None:
    url, resources = served
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    # The page reports there what its Content-Security-Policy refuses.
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)

    page.goto(f"{url}/docs")
    dataset = click_through(page, "datasets", "upload_dataset", file=AMES)
    valid = click_through(page, "jobs", "validate_job")
    job = click_through(page, "jobs", "submit_job")
    finish(resources, job["id"], tmp_path / "model", AMES_COLUMNS)
    result = click_through(page, "jobs", "show_job")
    prices = click_through(page, "predictions", "predict")

    assert dataset["rows"] == 2930
    assert valid["valid"] is True
    assert job["dataset_id"] == dataset["id"]
    assert (result["id"], result["status"]) == (job["id"], "succeeded")
    assert prices["model_id"] == result["result"]["model_id"]
    assert [request for request in asked if not request.startswith((url, "data:"))] == []
    assert complaints == []
