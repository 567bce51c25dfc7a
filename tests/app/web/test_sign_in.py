"""Browsers sign in with a key."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from house_api import become, resources_of, serving, upload

from app.accounts import keys
from app.accounts.authentication import COOKIE
from app.accounts.keys import Keys
from app.settings import Settings
from app.storage.database import database_now
from app.storage.tables import WebSession

HTML = {"Accept": "text/html"}


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with serving(settings) as client:
        yield client


def make_key(client: TestClient, role: str = "editor") -> dict[str, str]:
    """A key of the tenant `mine`; afterwards the client sends none."""
    become(client, "mine")
    key: dict[str, str] = client.post("/v1/keys", json={"name": "n", "role": role}).json()
    del client.headers["Authorization"]
    return key


def sign_in(client: TestClient, role: str = "editor") -> tuple[dict[str, str], str]:
    """The key, and the token that pages send with what they change."""
    key = make_key(client, role)
    assert client.post("/sign-in", json={"key": key["secret"]}).status_code == 204
    found = re.search('name="csrf" content="(.+?)"', client.get("/", headers=HTML).text)
    assert found
    return key, found.group(1)


def test_a_page_leads_to_the_sign_in_and_back(client: TestClient) -> None:
    key = make_key(client)
    sent = client.get("/jobs?sort=rmsle&limit=5", headers=HTML, follow_redirects=False)
    assert sent.status_code == 303
    assert sent.headers["Location"] == "/sign-in?next=/jobs%3Fsort%3Drmsle%26limit%3D5"
    page = client.get(sent.headers["Location"])
    assert 'data-then="/jobs?sort=rmsle&amp;limit=5"' in page.text
    client.post("/sign-in", json={"key": f" {key['secret']}\n"})
    signed_in = client.get("/jobs", headers=HTML)
    assert signed_in.status_code == 200
    assert "editor of mine" in signed_in.text
    # A program gets an answer that it can read.
    assert client.get("/v1/whoami", headers=HTML).json()["key_id"] == key["id"]


@pytest.mark.parametrize(
    "then",
    [
        "//evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/\\evil.example",
        "https://evil.example",
        "x",
    ],
)
def test_the_sign_in_leads_nowhere_else(client: TestClient, then: str) -> None:
    assert 'data-then="/"' in client.get("/sign-in", params={"next": then}).text


def test_what_the_cookie_is(client: TestClient) -> None:
    key = make_key(client)
    for origin, is_secure in (("http://localhost", False), ("https://localhost", True)):
        headers = {"Origin": origin, "Host": "localhost"}
        answer = client.post("/sign-in", json={"key": key["secret"]}, headers=headers)
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert ("Secure" in cookie) is is_secure
        assert key["secret"] not in cookie


def test_what_changes_something_needs_the_token_of_the_page(client: TestClient) -> None:
    _, token = sign_in(client)
    refused = client.post("/v1/lessons/xor")
    assert refused.status_code == 403
    assert "X-CSRF-Token" in refused.json()["detail"]
    wrong = client.post("/v1/lessons/xor", headers={"X-CSRF-Token": token[::-1]})
    assert wrong.status_code == 403
    client.headers["X-CSRF-Token"] = token
    assert client.post("/v1/lessons/xor").is_success
    assert upload(client)["name"] == "houses.csv"


def test_a_role_is_that_of_the_key(client: TestClient) -> None:
    _, token = sign_in(client, "viewer")
    refused = client.post("/v1/lessons/xor", headers={"X-CSRF-Token": token})
    assert refused.status_code == 403
    assert "needs the role editor" in refused.json()["detail"]


def test_signing_out_ends_the_session(client: TestClient) -> None:
    _, token = sign_in(client)
    cookie = client.cookies[COOKIE]
    assert client.post("/sign-out", headers={"X-CSRF-Token": token}).status_code == 204
    assert COOKIE not in client.cookies
    client.cookies.set(COOKIE, cookie)
    assert client.get("/v1/whoami").status_code == 401


def test_signing_in_again_gives_another_cookie(client: TestClient) -> None:
    key, token = sign_in(client)
    first = client.cookies[COOKIE]
    client.post("/sign-in", json={"key": key["secret"]})
    assert client.cookies[COOKIE] != first
    old = TestClient(client.app, base_url="http://localhost", cookies={COOKIE: first})
    assert old.get("/v1/whoami").status_code == 401
    assert f'content="{token}"' not in client.get("/", headers=HTML).text


def test_a_revoked_key_ends_its_sessions(client: TestClient) -> None:
    key, _ = sign_in(client)
    become(client, "mine")
    client.delete(f"/v1/keys/{key['id']}")
    del client.headers["Authorization"]
    assert client.get("/v1/whoami").status_code == 401


def test_a_session_ends(client: TestClient) -> None:
    sign_in(client)
    with resources_of(client).database.writing() as session:
        session.query(WebSession).update({"expires_at": database_now(-1)})
    resources_of(client)[Keys].forget()
    assert client.get("/v1/whoami").status_code == 401


def test_a_wrong_key(client: TestClient) -> None:
    make_key(client)
    refused = client.post("/sign-in", json={"key": "fh_eABC"})
    assert (refused.status_code, refused.json()["detail"]) == (401, keys.MISTYPED)
    assert COOKIE not in client.cookies


def test_a_cookie_that_is_none(client: TestClient) -> None:
    make_key(client)
    for header in (f"{COOKIE}=made-up", f"{COOKIE}=", "=;=", f"{COOKIE}=\xff"):
        answer = client.get("/v1/whoami", headers={"Cookie": header.encode("latin-1")})
        assert answer.status_code == 401
