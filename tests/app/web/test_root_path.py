"""Under the prefix of a proxy, no address leads out of it, whether the proxy strips it or not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

import pytest
from fastapi.testclient import TestClient
from house_api import become, houses_csv, resources_of, serving, train
from pydantic import ValidationError
from sweep_api import make_model, submit_sweep, try_trials

from app.settings import Settings

PREFIX = "/houses"
BROWSER = {"Accept": "text/html"}
LINKS = re.compile(r'(?:href|src|action|hx-get)="([^"#]+)')
SCRIPTED = re.compile(r'data-(?:charts|example|then)="([^"]+)|data-call="\w+ ([^"]+)')


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with serving(settings.model_copy(update={"root_path": PREFIX})) as client:
        yield client


def walk(client: TestClient, start: str) -> dict[str, str]:
    """The text of each page, by its address, that links lead to."""
    pages: dict[str, str] = {}
    found = [start]
    while found:
        address = found.pop()
        if address in pages:
            continue
        answer = client.get(address, headers=BROWSER)
        assert answer.status_code == 200, address
        is_page = answer.headers["Content-Type"].startswith("text/html")
        pages[address] = answer.text if is_page else ""
        found += [urljoin(address, unescape(link)) for link in LINKS.findall(pages[address])]
    return pages


def test_no_page_links_out_of_the_prefix(client: TestClient, tmp_path: Path) -> None:
    train(client, tmp_path / "model")
    sweep = submit_sweep(client)
    try_trials(resources_of(client).database, sweep)
    make_model(resources_of(client), sweep, tmp_path / "model of a sweep")
    job = client.get("/v1/jobs/latest").json()["id"]
    pages = walk(client, f"{PREFIX}/")
    assert [page for page in pages if not page.startswith(f"{PREFIX}/")] == []
    walked = {page.partition("?")[0] for page in pages}
    for path in ("docs", "lessons/xor", "jobs/new", f"jobs/{job}", "sweeps/new"):
        assert f"{PREFIX}/{path}" in walked
    assert f"{PREFIX}/sweeps/{sweep}" in walked
    # Scripts add the prefix to what they find in a page.
    scripted = {a or b for text in pages.values() for a, b in SCRIPTED.findall(text)} - {"job"}
    assert f"/v1/jobs/{job}/charts" in scripted
    assert [each for each in scripted if not each.startswith("/") or PREFIX in each] == []


def test_where_something_is_has_the_prefix(client: TestClient) -> None:
    for path in ("/v1/datasets", f"{PREFIX}/v1/datasets"):
        answer = client.post(path, content=houses_csv(), headers={"Content-Type": "text/csv"})
        place = answer.headers["Location"]
        assert place == f"{PREFIX}/v1/datasets/{answer.json()['id']}"
        assert client.get(place).json()["id"] == answer.json()["id"]
    slash = client.get(f"{PREFIX}/jobs/", headers=BROWSER, follow_redirects=False)
    assert slash.headers["Location"] == f"{PREFIX}/jobs"
    assert client.get(PREFIX, headers=BROWSER).status_code == 200
    # Its first letters alone are not the prefix.
    assert client.get(f"{PREFIX}-more/jobs", headers=BROWSER).status_code == 404


def test_a_browser_signs_in_under_the_prefix(client: TestClient) -> None:
    become(client, "local")
    secret = client.headers.pop("Authorization").removeprefix("Bearer ")
    sent = client.get(f"{PREFIX}/jobs?limit=5", headers=BROWSER, follow_redirects=False)
    assert sent.headers["Location"] == f"{PREFIX}/sign-in?next=/jobs%3Flimit%3D5"
    answer = client.post(f"{PREFIX}/sign-in", json={"key": secret})
    assert f"Path={PREFIX};" in answer.headers["Set-Cookie"]
    page = client.get(f"{PREFIX}/jobs", headers=BROWSER)
    assert "admin of local" in page.text
    token = re.findall('name="csrf" content="(.+?)"', page.text)[0]
    gone = client.post(f"{PREFIX}/sign-out", headers={"X-CSRF-Token": token})
    assert f"Path={PREFIX};" in gone.headers["Set-Cookie"]
    assert not client.cookies


def test_programs_find_the_prefix(client: TestClient) -> None:
    about = client.get(PREFIX, headers={"Accept": "application/json"}).json()
    [document] = re.findall(r"url: '(.+?)'", client.get(about["docs"]).text)
    assert document == f"{PREFIX}/openapi.json"
    assert client.get(document).json()["servers"] == [{"url": PREFIX}]


@pytest.mark.parametrize("path", ["houses", "//evil.example", "/a b", "/..", "/houses?x", '/"'])
def test_a_prefix_is_a_plain_path(path: str) -> None:
    with pytest.raises(ValidationError, match="must be a path like /houses"):
        Settings(root_path=path)


def test_a_prefix_may_end_in_a_slash() -> None:
    assert Settings(root_path="/houses/").root_path == PREFIX
