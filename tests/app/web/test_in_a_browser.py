"""From a table to a price in a browser: by mouse and by keyboard, on a screen and on a phone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import chromium, listening
from house_api import finish, houses_csv
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect
from sweep_api import SWEEP, make_model, try_trials

from app.main import create_app
from app.resources import Resources
from app.settings import Settings

SIZES = {"screen": (1280, 900), "phone": (390, 844)}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}


@pytest.fixture
def served(settings: Settings, request: pytest.FixtureRequest) -> Iterator[tuple[str, Resources]]:
    """Its address, with the prefix that a test asks for."""
    prefix = getattr(request, "param", "")
    app = create_app(settings.model_copy(update={"root_path": prefix}))
    with listening(app) as port:
        yield f"http://127.0.0.1:{port}{prefix}", app.state.resources


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def complaints() -> list[str]:
    """What the browser reports, and what it asks of other servers."""
    return []


def open_page(browser: Browser, url: str, complaints: list[str], size: str, scheme: str) -> Page:
    width, height = SIZES[size]
    page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if is_error(line) else None)
    own = (url, "data:", "blob:")
    page.on(
        "request",
        lambda asked: None if asked.url.startswith(own) else complaints.append(asked.url),
    )
    return page


def is_error(line: ConsoleMessage) -> bool:
    """Chromium reports a refused request as an error too, and the form's check may be refused."""
    return line.type == "error" and "422" not in line.text


def click(target: Locator) -> None:
    target.click()


def press(target: Locator) -> None:
    target.focus()
    target.press("Enter")


@pytest.mark.parametrize(
    ("served", "use"),
    [("", click), ("/houses", press)],
    ids=["mouse", "keyboard and prefix"],
    indirect=["served"],
)
def test_from_a_table_to_a_price(
    served: tuple[str, Resources],
    browser: Browser,
    complaints: list[str],
    tmp_path: Path,
    use: Callable[[Locator], None],
) -> None:
    url, resources = served
    (tmp_path / "houses.csv").write_text(houses_csv())
    page = open_page(browser, url, complaints, "screen", "light")

    page.goto(url)
    page.get_by_label("Drop a CSV here").set_input_files(tmp_path / "houses.csv")
    page.wait_for_url("**/datasets/ds_*")
    use(page.get_by_role("link", name="Train on this table"))

    expect(page.locator("#verdict")).to_have_text("Ready to train")
    page.get_by_label("Column to predict").select_option("Price")
    page.get_by_text("Network", exact=True).click()
    page.get_by_label("Dropout").fill("1.5")
    expect(page.locator("[data-fault=dropout]")).to_contain_text("dropout must be below 1")
    expect(page.get_by_role("button", name="Train")).to_be_disabled()
    page.get_by_label("Dropout").fill("0.2")
    expect(page.locator("#json")).to_have_value(re.compile('"dropout": 0.2'))
    expect(page.locator("#verdict")).to_have_text("Ready to train")
    use(page.get_by_role("button", name="Train"))

    page.wait_for_url("**/jobs/job_*")
    expect(page.locator("#stage")).to_contain_text("No worker is running")
    finish(resources, page.url.rpartition("/")[2], tmp_path / "model")
    page.reload()
    expect(page.get_by_text("succeeded")).to_be_visible()
    use(page.get_by_role("link", name="Model", exact=True))
    use(page.get_by_role("link", name="Predict", exact=True))

    price = page.locator(".price")
    expect(price).not_to_be_empty()
    before = price.inner_text()
    page.get_by_label("Area").fill("100")
    expect(price).not_to_have_text(before)
    page.get_by_label("Drop a CSV of rows").set_input_files(tmp_path / "houses.csv")
    expect(page.get_by_text("60 rows predicted")).to_be_visible()
    assert complaints == []
    page.close()


@pytest.mark.parametrize(("size", "scheme"), [("screen", "light"), ("phone", "dark")])
def test_pages_are_for_everyone(
    served: tuple[str, Resources],
    browser: Browser,
    complaints: list[str],
    tmp_path: Path,
    size: str,
    scheme: str,
) -> None:
    """No violation of WCAG 2.1 A and AA that axe finds, and nothing wider than the window."""
    url, resources = served
    page = open_page(browser, url, complaints, size, scheme)
    post = page.request.post
    post(
        f"{url}/v1/datasets?name=houses.csv",
        data=houses_csv(),
        headers={"Content-Type": "text/csv"},
    )
    job = post(f"{url}/v1/jobs", data={"dataset_id": "latest", "target": "Price"}).json()
    finish(resources, job["id"], tmp_path / "model")
    waiting = post(f"{url}/v1/jobs", data={"dataset_id": "latest", "target": "Price"}).json()
    sweep = post(f"{url}/v1/sweeps", data=SWEEP).json()["id"]
    try_trials(resources.database, sweep)
    paths = (
        *("/", "/datasets", "/datasets/latest", "/jobs", "/jobs/new", f"/jobs/{job['id']}"),
        *(f"/jobs/{waiting['id']}", "/models", "/models/champion", "/models/champion/predict"),
        *("/sweeps", "/sweeps/new", f"/sweeps/{sweep}"),
        *("/lessons", "/lessons/xor", f"/jobs/compare?id={job['id']}&id={waiting['id']}"),
    )
    for path in paths:
        page.goto(f"{url}{path}")
        if path == f"/sweeps/{sweep}":
            expect(page.locator("#charts figure svg")).to_have_count(9)
        found = Axe().run(page, options=RULES)
        assert found.violations_count == 0, f"{path}\n{found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0], path
    page.close()


def test_a_sweep_from_its_form_to_its_answer(
    served: tuple[str, Resources], browser: Browser, complaints: list[str], tmp_path: Path
) -> None:
    """The page follows the trials without being loaded again, and its end."""
    url, resources = served
    page = open_page(browser, url, complaints, "screen", "light")
    headers = {"Content-Type": "text/csv"}
    page.request.post(f"{url}/v1/datasets?name=h.csv", data=houses_csv(), headers=headers)
    page.goto(f"{url}/sweeps/new")
    page.get_by_label("Column to predict").select_option("Price")
    page.get_by_label("Trials, at most").fill("-1")
    expect(page.locator("#curl")).to_contain_text("/v1/sweeps")
    page.get_by_role("button", name="Sweep", exact=True).click()
    expect(page.locator("[data-fault=n_trials]")).to_be_visible()
    asked = {name: value for name, value in SWEEP.items() if name != "dataset_id"}
    page.locator("#json").fill(json.dumps({"dataset_id": "latest", **asked}))
    page.get_by_role("button", name="Sweep", exact=True).click()

    page.wait_for_url("**/sweeps/swp_*")
    sweep = page.url.rpartition("/")[2]
    expect(page.get_by_role("status")).to_contain_text("No worker is running")
    try_trials(resources.database, sweep)
    expect(page.locator(".lead")).to_contain_text("The best of 11 trials so far", timeout=20_000)
    expect(page.locator("#charts figure svg").first).to_be_visible(timeout=20_000)
    make_model(resources, sweep, tmp_path / "model")
    expect(page.locator(".lead")).to_contain_text("on new rows expect 1.06", timeout=20_000)
    page.get_by_role("link", name="Train as a job").first.click()
    expect(page.locator("#verdict")).to_have_text("Ready to train")
    assert complaints == []
    page.close()
