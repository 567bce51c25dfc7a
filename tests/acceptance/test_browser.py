"""The whole way in a browser, by mouse and by keyboard, with a worker that trains."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from stack import houses
from test_serve import serving

sys.path.append(str(Path(__file__).parents[1] / "app"))
from browser import chromium

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

TRAINED = 120_000  # ms


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("service") / "data") as (_, url):
        yield url


def click(target: Locator) -> None:
    target.click()


def press(target: Locator) -> None:
    target.focus()
    target.press("Enter")


def train(page: Page, use: Callable[[Locator], None], **fields: str) -> None:
    """Fill in the form, submit, and watch the job to its result."""
    for label, text in fields.items():
        page.get_by_label(label.replace("_", " ")).fill(text)
    expect(page.locator("#verdict")).to_have_text("Ready to train")
    use(page.get_by_role("button", name="Train"))
    page.wait_for_url("**/jobs/job_*")
    expect(page.locator("h1 .chip")).to_have_text("running", timeout=TRAINED)
    expect(page.locator("#curves svg")).to_be_visible(timeout=TRAINED)
    expect(page.locator("h1 .chip")).to_have_text("succeeded", timeout=TRAINED)


@pytest.mark.parametrize("use", [click, press], ids=["mouse", "keyboard"])
def test_upload_train_watch_report_predict_and_promote(
    url: str, use: Callable[[Locator], None], tmp_path: Path
) -> None:
    (tmp_path / "houses.csv").write_text(houses(seed=len(use.__name__)))
    complaints: list[str] = []
    with chromium() as browser:
        page = browser.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda line: complaints.append(line.text) if line.type == "error" else None
        )

        page.goto(f"{url}/datasets")
        page.get_by_label("Drop a CSV here").set_input_files(tmp_path / "houses.csv")
        page.wait_for_url("**/datasets/ds_*")
        use(page.get_by_role("link", name="Train on this table"))
        page.get_by_label("Column to predict").select_option("price")
        page.get_by_label("or one architecture").select_option("mlp")
        page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        train(page, use, **{"Epochs,_at_most": "300", "Hidden_layers,_such": "16"})

        expect(page.locator("figure svg").first).to_be_visible()
        use(page.get_by_role("link", name="Report to send"))
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert "price" in page.content()
        page.go_back()

        use(page.get_by_role("link", name="Change and train again"))
        page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        train(page, use, Seed="1")
        use(page.get_by_role("link", name="Model", exact=True))
        page.on("dialog", lambda dialog: dialog.accept())
        use(page.get_by_role("button", name="Make champion anyway"))
        expect(page.locator("h1 .chip")).to_have_text("champion")

        use(page.get_by_role("link", name="Predict", exact=True))
        expect(page.locator(".price")).to_have_text(re.compile(r"\d"))
        use(page.get_by_role("button", name="Why, and what is like it?"))
        expect(page.locator("#why .bars").first).to_be_visible()
    assert complaints == []


def test_three_clicks_from_nothing_to_a_first_price(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as (_, url), chromium() as browser:
        page = browser.new_page()
        page.goto(url)
        page.get_by_role("button", name="Use 2,930 houses of Ames, Iowa").click()
        page.wait_for_url("**/jobs/new*")
        expect(page.locator("#verdict")).to_have_text("Ready to train")
        page.get_by_role("button", name="Train").click()
        page.wait_for_url("**/jobs/job_*")
        expect(page.locator("h1 .chip")).to_have_text("succeeded", timeout=TRAINED)
        page.get_by_role("link", name="Predict a row").click()
        expect(page.locator(".price")).to_have_text(re.compile(r"1\d\d,\d{3}"))
