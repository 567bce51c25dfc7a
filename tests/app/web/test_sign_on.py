"""Browsers sign in with an identity provider."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from browser import chromium, listening
from fastapi.testclient import TestClient
from house_api import become, resources_of, serving
from identity_provider import IdentityProvider, identity_provider, settings_for
from playwright.sync_api import expect
from sqlalchemy import select

from app.accounts import keys
from app.accounts import provider as provider_module
from app.accounts.audit import Audit
from app.accounts.authentication import COOKIE
from app.accounts.keys import Keys
from app.main import create_app
from app.settings import Settings
from app.storage.database import database_now
from app.storage.tables import WebSession
from app.web.sign_on import CALLBACK, FLOW_COOKIE

HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with identity_provider() as found:
        yield found


@pytest.fixture
def client(settings: Settings, provider: IdentityProvider) -> Iterator[TestClient]:
    provider.reset()
    with serving(settings.model_copy(update=settings_for(provider))) as client:
        yield client


def begin(client: TestClient, then: str = "/") -> dict[str, str]:
    """Begin to sign in, as far as the provider; returns the answer that the browser brings."""
    begun = client.post("/sign-in/start", json={"next": then})
    assert begun.status_code == 200, begun.text
    back = httpx.get(begun.json()["location"]).headers["Location"]
    assert back.startswith(f"http://localhost{CALLBACK}?")
    assert client.get(back, headers=HTML).status_code == 200
    query = parse_qs(urlsplit(back).query)
    return {name: query[name][0] for name in ("code", "state")}


def finish(client: TestClient, answer: dict[str, str]) -> dict[str, Any]:
    response = client.post(CALLBACK, json=answer)
    return {"status": response.status_code, **response.json()}


def sign_in(client: TestClient) -> str:
    """Returns the token that pages send with what they change."""
    assert finish(client, begin(client))["status"] == 200
    found = re.search('name="csrf" content="(.+?)"', client.get("/", headers=HTML).text)
    assert found
    return found.group(1)


def test_from_a_page_to_the_provider_and_back(
    client: TestClient, provider: IdentityProvider
) -> None:
    sent = client.get("/jobs?limit=5", headers=HTML, follow_redirects=False)
    assert sent.headers["Location"] == "/sign-in?next=/jobs%3Flimit%3D5"
    page = client.get(sent.headers["Location"], headers=HTML).text
    assert "Sign in with 127.0.0.1" in page
    answer = finish(client, begin(client, "/jobs?limit=5"))
    assert answer == {"status": 200, "next": "/jobs?limit=5"}

    assert "ana@houses.example, editor of houses" in client.get("/jobs", headers=HTML).text
    found = client.get("/v1/whoami").json()
    expected = {"tenant": "houses", "role": "editor", "key_id": None, "subject": "ana-1"}
    assert expected.items() <= found.items()
    assert FLOW_COOKIE not in client.cookies
    assert resources_of(client)[Audit].store()
    provider.person["groups"] = ["ml-admins"]
    sign_in(client)
    [row] = client.get("/v1/audit", params={"tenant": "houses"}).json()["data"]
    names = ("route", "role", "subject", "subject_name", "status")
    assert [row[name] for name in names] == [
        CALLBACK,
        "editor",
        "ana-1",
        "ana@houses.example",
        200,
    ]
    of = {
        who: client.get("/v1/audit", params={"subject": who}).json()["data"]
        for who in ("ana-1", "x")
    }
    assert {entry["subject"] for entry in of["ana-1"]} == {"ana-1"}
    assert of["x"] == []


def test_what_the_cookies_are(client: TestClient) -> None:
    for origin, is_secure in (("http://localhost", False), ("https://localhost", True)):
        headers = {"Origin": origin, "Host": "localhost"}
        begun = client.post("/sign-in/start", json={"next": "/"}, headers=headers)
        location = begun.json()["location"]
        back = parse_qs(urlsplit(location).query)["redirect_uri"]
        assert back == [f"{origin}{CALLBACK}"]
        query = parse_qs(urlsplit(httpx.get(location).headers["Location"]).query)
        flow = begun.headers["Set-Cookie"]
        answered = client.post(
            CALLBACK,
            json={"code": query["code"][0], "state": query["state"][0]},
            headers=headers | {"Cookie": flow.partition(";")[0]},
        )
        session, ended = answered.headers.get_list("Set-Cookie")
        for cookie in (flow, session, ended):
            assert "HttpOnly" in cookie
            assert "SameSite=strict" in cookie
        assert (COOKIE in session, FLOW_COOKIE in ended) == (True, True)
        assert [("Secure" in cookie) for cookie in (flow, session)] == [is_secure] * 2


def test_pages_of_other_sites_begin_nothing(client: TestClient) -> None:
    for path in ("/sign-in/start", CALLBACK):
        refused = client.post(path, json={"next": "/"}, headers={"Origin": "https://evil.example"})
        assert refused.status_code == 403


def test_it_leads_to_no_other_host(client: TestClient) -> None:
    for then in ("//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil.example"):
        assert finish(client, begin(client, then))["next"] == "/", then
    flow = client.post("/sign-in/start", json={"next": "/"}).headers["Set-Cookie"]
    assert flow.startswith(FLOW_COOKIE)
    answer = begin(client)
    secret = client.cookies[FLOW_COOKIE].partition(".")[0]
    evil = base64.urlsafe_b64encode(b"//evil.example").decode().rstrip("=")
    client.cookies.set(FLOW_COOKIE, f"{secret}.{evil}", domain="localhost.local")
    assert finish(client, answer)["next"] == "/"


def test_an_answer_of_another_browser(client: TestClient) -> None:
    """An attacker's code must not sign in others, nor a stolen code the attacker."""
    other = TestClient(client.app, base_url="http://localhost")
    theirs, own = begin(other), begin(client)
    assert finish(client, theirs)["status"] == 401
    assert finish(client, own | {"state": theirs["state"]})["status"] == 401
    # The own state with the code of another sign-in: the provider misses its verifier.
    mixed = finish(client, {"code": theirs["code"], "state": own["state"]})
    assert (mixed["status"], COOKIE in client.cookies) == (401, False)
    assert "begin again" in mixed["detail"]
    without = TestClient(client.app, base_url="http://localhost")
    assert finish(without, own)["status"] == 401
    assert finish(client, own)["status"] == 200


def test_answers_made_up_do_not_flood_the_provider(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MOST_ATTEMPTS", 2)
    statuses = [finish(client, begin(client) | {"code": "made-up"})["status"] for _ in range(3)]
    assert statuses == [401, 401, 429]


def test_an_answer_counts_once(client: TestClient) -> None:
    answer = begin(client)
    flow = client.cookies[FLOW_COOKIE]
    assert finish(client, answer)["status"] == 200
    assert finish(client, answer)["status"] == 401
    client.cookies.set(FLOW_COOKIE, flow, domain="localhost.local")
    assert finish(client, answer)["status"] == 401


def test_flow_cookies_that_are_none(client: TestClient) -> None:
    for cookie in ("", "x", "x.é", "x.####", '"', "secret.L2pvYnM", "secret._w"):
        header = {"Cookie": f"{FLOW_COOKIE}={cookie}".encode()}
        refused = client.post(CALLBACK, json={"code": "c", "state": "é"}, headers=header)
        assert refused.status_code == 401, cookie


WRONG_CLAIMS: list[tuple[dict[str, Any], str]] = [
    ({"nonce": "x"}, "claim nonce"),
    ({"nonce": None}, "claim nonce"),
    ({"exp": 1}, "has expired"),
    ({"iss": "https://elsewhere.example"}, "claim iss"),
    ({"aud": "another"}, "claim aud"),
    ({"aud": ["foldhouse", "another"]}, "claim azp"),
    ({"aud": ["foldhouse", "another"], "azp": "another"}, "claim azp"),
    ({"sub": None}, "claim sub"),
]


def test_id_tokens_that_are_wrong(client: TestClient, provider: IdentityProvider) -> None:
    for claims, reason in WRONG_CLAIMS:
        provider.id_claims = claims
        answer = finish(client, begin(client))
        assert (answer["status"], COOKIE in client.cookies) == (401, False), claims
        assert reason in answer["detail"]


def test_who_has_left_the_group(client: TestClient, provider: IdentityProvider) -> None:
    sign_in(client)
    provider.person["groups"] = ["others"]
    refused = finish(client, begin(client))
    assert refused["status"] == 403
    assert "FOLDHOUSE_OIDC_ROLES" in refused["detail"]


def test_a_group_that_lost_its_role(
    client: TestClient, settings: Settings, provider: IdentityProvider
) -> None:
    """Sessions follow the settings from the next start on."""
    sign_in(client)
    cookie = {"Cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
    update = settings_for(provider, oidc_roles="appraisers=flats:viewer")
    found = []
    for changed in (update, settings_for(provider, oidc_roles="x=y:viewer"), {}):
        with serving(settings.model_copy(update=changed)) as later:
            resources_of(later)[Keys]._exist = True
            found.append(later.get("/v1/whoami", headers=cookie))
    assert [answer.status_code for answer in found] == [200, 401, 401]
    assert (found[0].json()["tenant"], found[0].json()["role"]) == ("flats", "viewer")


def test_a_session_changes_and_ends(client: TestClient) -> None:
    sign_in(client)
    first = client.cookies[COOKIE]
    token = sign_in(client)
    assert client.cookies[COOKIE] != first
    old = client.get("/v1/whoami", headers={"Cookie": f"{COOKIE}={first}"})
    assert old.status_code == 401
    assert client.post("/v1/lessons/xor").status_code == 403  # without the page's token
    assert client.post("/v1/lessons/xor", headers={"X-CSRF-Token": token}).is_success
    assert client.post("/sign-out", headers={"X-CSRF-Token": token}).status_code == 204
    assert client.get("/v1/whoami").status_code == 401

    sign_in(client)
    with resources_of(client).database.writing() as session:
        assert session.scalar(select(WebSession.tenant)) == "houses"
        session.query(WebSession).update({"expires_at": database_now(-1)})
    resources_of(client)[Keys].forget()
    assert client.get("/v1/whoami").status_code == 401


def test_by_password_in_the_header(
    client: TestClient, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "auth_methods", ["client_secret_basic"])
    sign_in(client)


def test_a_provider_that_does_not_know_this_service(
    settings: Settings, provider: IdentityProvider
) -> None:
    update = settings_for(provider, oidc_client_secret="wrong")
    with serving(settings.model_copy(update=update)) as client:
        answer = finish(client, begin(client))
    assert answer["status"] == 503
    assert "refuses this service with 401, invalid_client" in answer["detail"]


def test_while_the_provider_is_away(
    client: TestClient, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_module, "DEADLINE", 0.2)
    provider.answers.clear()
    refused = client.post("/sign-in/start", json={"next": "/"})
    assert (refused.status_code, FLOW_COOKIE in client.cookies) == (503, False)
    assert "or use a key" in refused.json()["detail"]
    become(client, "mine")
    secret = client.headers.pop("Authorization").removeprefix("Bearer ")
    assert client.post("/sign-in", json={"key": secret}).status_code == 204


def test_a_provider_that_says_no(client: TestClient) -> None:
    page = client.get(CALLBACK, params={"error": "access_denied", "state": "x"}, headers=HTML)
    assert "access_denied" in page.text
    assert "callback.js" not in page.text
    odd = client.get(CALLBACK, params={"error": "Call 555-0100 now"}, headers=HTML)
    assert odd.status_code == 422


def test_without_a_provider(settings: Settings) -> None:
    with serving(settings) as client:
        assert "Sign in with" not in client.get("/sign-in", headers=HTML).text
        assert client.get(CALLBACK, headers=HTML).status_code == 404
        assert client.post("/sign-in/start", json={"next": "/"}).status_code == 404


def test_under_a_path(settings: Settings, provider: IdentityProvider) -> None:
    provider.reset()
    update = {**settings_for(provider), "root_path": "/houses"}
    with serving(settings.model_copy(update=update)) as client:
        begun = client.post("/sign-in/start", json={"next": "/jobs"})
    query = parse_qs(urlsplit(begun.json()["location"]).query)
    assert query["redirect_uri"] == [f"http://localhost/houses{CALLBACK}"]
    assert "Path=/houses;" in begun.headers["Set-Cookie"]


def test_in_a_browser(settings: Settings, provider: IdentityProvider) -> None:
    """The provider is another site for the browser, which leaves out `SameSite=Strict` cookies on
    the way back."""
    provider.reset()
    app = create_app(settings.model_copy(update=settings_for(provider)))
    with listening(app) as port, chromium() as browser:
        page = browser.new_page()
        page.goto(f"http://localhost:{port}/datasets?limit=5")
        page.get_by_role("button", name="Sign in with 127.0.0.1").click()
        page.get_by_role("link", name="Go on").click()
        page.wait_for_url(f"http://localhost:{port}/datasets?limit=5")
        expect(page.get_by_text("ana@houses.example, editor of houses")).to_be_visible()
        page.goto(f"http://localhost:{port}{CALLBACK}?code=x&state=y")
        expect(page.get_by_role("alert")).to_contain_text("begin again")
        assert page.url == f"http://localhost:{port}{CALLBACK}"
        page.goto(f"http://localhost:{port}/")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("button", name="Sign in with 127.0.0.1")).to_be_visible()
