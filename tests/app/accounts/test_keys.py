"""Keys: their text, what a role may do, and when they stop working."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from house_api import become, resources_of, serving, upload
from hypothesis import given
from hypothesis import strategies as st
from openapi_document import operations
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from app.accounts import keys, roles, secrets
from app.accounts.keys import Keys
from app.grants import ROLES, Role
from app.settings import Settings
from app.storage.database import database_now
from app.storage.tables import ApiKey


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with serving(settings) as client:
        yield client


def away(*_: object, **__: object) -> None:
    raise OperationalError("SELECT", {}, Exception("it is away"))


def sent(client: TestClient, secret: str) -> dict[str, Any]:
    response = client.get("/v1/whoami", headers={"Authorization": f"Bearer {secret}"})
    return {"status": response.status_code, **response.json()}


def test_the_text_of_a_key() -> None:
    for role in ROLES:
        key = secrets.new_key(role)
        assert re.fullmatch(rf"fh_{role[0]}[0-9A-Za-z]{{38}}", key)
        assert secrets.is_key(key)
    assert len({secrets.new_key("editor") for _ in range(100)}) == 100


@given(place=st.integers(0, secrets.LENGTH - 1), character=st.characters())
def test_a_mistyped_key_is_none(place: int, character: str) -> None:
    key = "fh_eR7d0vWmC2yTqk5XnBz81LsGhJ4PfUoA92JFAJg"
    assert secrets.is_key(key)
    changed = key[:place] + character + key[place + 1 :]
    assert secrets.is_key(changed) is (changed == key)


def test_without_keys_everyone_is_the_admin(client: TestClient) -> None:
    local = {"tenant": "local", "role": "admin", "key_id": None}
    assert local.items() <= client.get("/v1/whoami").json().items()
    # A proxy may have its own use for the header.
    basic = {"Authorization": "Basic YTpi"}
    assert local.items() <= client.get("/v1/whoami", headers=basic).json().items()


def test_the_first_key_closes_the_service(client: TestClient) -> None:
    created = client.post("/v1/keys", json={"name": "root", "role": "admin"})
    assert created.status_code == 201
    key = created.json()
    assert created.headers["Location"] == f"/v1/keys/{key['id']}"
    resources_of(client)[Keys].look_whether_needed()

    refused = client.get("/v1/datasets")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert "foldhouse keys create" in refused.json()["detail"]
    assert sent(client, key["secret"])["role"] == "admin"

    client.headers["Authorization"] = f"Bearer {key['secret']}"
    shown = client.get(f"/v1/keys/{key['id']}").json()
    assert shown == {name: value for name, value in key.items() if name != "secret"} | {
        "last_used_at": shown["last_used_at"]
    }
    assert shown["last_used_at"] is not None
    assert key["secret"].startswith(shown["start"])
    assert client.delete(f"/v1/keys/{key['id']}").status_code == 204
    # There is no key any more, and the service stays closed.
    assert client.get("/v1/datasets").status_code == 401
    assert TestClient(client.app, base_url="http://localhost").get("/healthz").is_success


def test_only_the_hash_is_stored(client: TestClient) -> None:
    key = client.post("/v1/keys", json={"name": "root", "role": "admin"}).json()
    with resources_of(client).database.reading() as session:
        [row] = session.execute(select(ApiKey.__table__)).mappings()
    assert row["sha256"] == secrets.digest(key["secret"])
    stored = json.dumps(dict(row), default=str)
    assert key["secret"][secrets.SHOWN :] not in stored


# Written from the contract, not from the rules: the least role of each operation.
LEAST: dict[str, Role | None] = {
    "POST /v1/predict": "predictor",
    "POST /v1/models/{model_id}/predict": "predictor",
    "POST /invocations": "predictor",
    "POST /v2/models/{name}/infer": "predictor",
    "GET /v1/whoami": "predictor",
    "GET /v1/models": "predictor",
    "GET /v1/models/{model_id}": "predictor",
    "GET /v1/models/{model_id}/export": "predictor",
    "GET /v1/aliases": "predictor",
    "GET /v1/aliases/{alias}": "predictor",
    "GET /v1/aliases/{alias}/history": "predictor",
    "GET /ping": "predictor",
    "GET /version": "predictor",
    "GET /v2": "predictor",
    "GET /v2/models/{name}": "predictor",
    "GET /v2/models/{name}/ready": "predictor",
    "POST /v1/jobs:validate": "viewer",
    "GET /healthz": None,
    "GET /readyz": None,
    "GET /metrics": None,
    "GET /v2/health/live": None,
    "GET /v2/health/ready": None,
}


def least_of(method: str, path: str) -> Role | None:
    if path.startswith(("/v1/keys", "/v1/quotas", "/v1/audit")):
        return "admin"
    return LEAST.get(f"{method} {path}", "viewer" if method == "GET" else "editor")


def test_each_role_may_do_what_the_table_says(client: TestClient) -> None:
    """Every operation, as every role and without a key."""
    document = client.get("/openapi.json").json()
    become(client, "local")
    headers = {}
    for role in ROLES:
        become(client, "mine", role)
        headers[role] = client.headers.pop("Authorization")
    for method, path, _ in operations(document):
        least = least_of(method, path)
        filled = re.sub(r"\{\w+\}", "latest", path)
        for role in ROLES:
            answer = client.request(method, filled, headers={"Authorization": headers[role]})
            is_refused = least is not None and ROLES.index(role) < ROLES.index(least)
            assert (answer.status_code == 403) is is_refused, (role, method, path, answer.text)
            assert answer.status_code != 401
            if is_refused and least is not None:
                assert f"needs the role {least}" in answer.json()["detail"]
        without = client.request(method, filled)
        assert (without.status_code == 401) is (least is not None), (method, path, without.text)
    assert client.get("/v1/nothing").status_code == 401  # nor does it say what there is


def test_other_protocols_say_so_in_their_own_words(client: TestClient) -> None:
    become(client, "mine")
    del client.headers["Authorization"]
    scored = client.post("/invocations", json={})
    assert (scored.status_code, scored.json()["error_code"]) == (401, "UNAUTHENTICATED")
    inferred = client.post("/v2/models/champion/infer", json={})
    assert inferred.status_code == 401
    assert list(inferred.json()) == ["error"]


@pytest.mark.parametrize(
    "path", ["/v1/keys", "/v1/keys/", "/v1//keys", "/v1/keys/x\n", "/v1/%6beys", "//v1/keys"]
)
def test_spellings_of_a_path(client: TestClient, path: str) -> None:
    become(client, "mine", "viewer")
    answer = client.get(path.replace("\n", "%0A"))
    assert answer.status_code in (403, 404)
    assert "data" not in answer.json()


def test_tenants_do_not_make_keys_for_others(client: TestClient) -> None:
    become(client, "mine")
    body = {"name": "x", "role": "viewer"}
    assert client.post("/v1/keys", json=body | {"tenant": "other"}).status_code == 403
    own = client.post("/v1/keys", json=body).json()
    assert own["tenant"] == "mine"
    become(client, "local")
    other = client.post("/v1/keys", json=body | {"tenant": "other"}).json()
    assert other["tenant"] == "other"
    listed = {key["id"] for key in client.get("/v1/keys").json()["data"]}
    assert {own["id"], other["id"]} < listed
    become(client, "mine")
    assert client.delete(f"/v1/keys/{other['id']}").status_code == 404
    assert sent(client, other["secret"])["status"] == 200


def test_two_keys_live_at_once_while_clients_change_over(client: TestClient) -> None:
    become(client, "mine")
    old = client.post("/v1/keys", json={"name": "n", "role": "editor"}).json()
    new = client.post(f"/v1/keys/{old['id']}/rotate", json={"grace_s": 3600}).json()
    assert (new["name"], new["role"], new["tenant"]) == ("n", "editor", "mine")
    assert sent(client, old["secret"])["key_id"] == old["id"]
    assert sent(client, new["secret"])["key_id"] == new["id"]
    ends = datetime.fromisoformat(client.get(f"/v1/keys/{old['id']}").json()["expires_at"])
    assert timedelta(minutes=58) < ends - datetime.now(UTC) < timedelta(minutes=62)
    at_once = client.post(f"/v1/keys/{new['id']}/rotate", json={"grace_s": 0}).json()
    assert sent(client, new["secret"])["status"] == 401
    assert sent(client, at_once["secret"])["status"] == 200
    client.delete(f"/v1/keys/{at_once['id']}")
    assert client.post(f"/v1/keys/{at_once['id']}/rotate").status_code == 409


def test_a_key_that_ends(client: TestClient) -> None:
    become(client, "mine")
    body = {"name": "n", "role": "viewer", "expires_at": "2001-01-01T00:00:00Z"}
    refused = client.post("/v1/keys", json=body)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/expires_at"
    ends = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    key = client.post("/v1/keys", json=body | {"expires_at": ends}).json()
    assert sent(client, key["secret"])["status"] == 200
    with resources_of(client).database.writing() as session:
        past = update(ApiKey).where(ApiKey.id == key["id"]).values(expires_at=database_now(-1))
        session.execute(past)
    resources_of(client)[Keys].forget()
    assert sent(client, key["secret"])["status"] == 401


def test_another_process_refuses_a_revoked_key(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "FRESH", 0.0)
    become(client, "mine")
    key = client.post("/v1/keys", json={"name": "n", "role": "viewer"}).json()
    with serving(settings) as elsewhere:
        assert sent(elsewhere, key["secret"])["status"] == 200
        client.delete(f"/v1/keys/{key['id']}")
        assert sent(elsewhere, key["secret"])["status"] == 401


def test_a_known_key_is_not_looked_up_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(client, "mine")
    # Half a second could pass between the requests.
    resources_of(client)[Keys]._known.fresh = 60
    assert client.get("/v1/whoami").is_success
    monkeypatch.setattr(Keys, "_look_up", lambda *_, **__: pytest.fail("looked up"))
    assert client.get("/v1/whoami").is_success


def test_guesses_are_slowed_down_and_known_keys_are_not(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MOST_ATTEMPTS", 3)
    become(client, "mine")
    assert client.get("/v1/whoami").is_success
    guesses = ["fh_eABC", secrets.new_key("admin"), secrets.new_key("admin")]
    details = []
    for guess in guesses:
        answer = sent(client, guess)
        details.append(answer["detail"])
        assert answer["status"] == 401
    assert details == [keys.MISTYPED, keys.UNKNOWN, keys.UNKNOWN]
    refused = client.get(
        "/v1/whoami", headers={"Authorization": f"Bearer {secrets.new_key('admin')}"}
    )
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "60"
    resources_of(client)[Keys]._known.forget()  # it is no longer fresh
    assert client.get("/v1/whoami").is_success


def test_while_the_database_is_away(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(client)
    become(client, "mine")
    resources_of(client)[Keys].forget()

    monkeypatch.setattr(resources_of(client).database, "reading", away)
    answer = client.get("/v1/lessons")
    assert answer.status_code == 503
    assert answer.json()["type"].endswith("/unavailable")


def test_a_key_that_was_seen_is_taken_while_the_database_is_away(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "FRESH", 0.0)
    become(client, "mine")
    assert client.get("/v1/lessons").is_success
    keys_of_process = resources_of(client)[Keys]
    keys_of_process._known.forget()
    monkeypatch.setattr(resources_of(client).database, "reading", away)
    assert client.get("/v1/lessons").is_success
    assert client.get("/v1/datasets").status_code == 503


def test_a_key_that_is_revoked_during_its_look_up_is_not_seen_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(client, "mine")
    keys_of_process = resources_of(client)[Keys]
    look_up = Keys._look_up

    def revoked_meanwhile(self: Keys, digest: str, **options: bool) -> object:
        found = look_up(self, digest, **options)
        keys_of_process.forget()
        return found

    keys_of_process.forget()
    monkeypatch.setattr(Keys, "_look_up", revoked_meanwhile)
    assert client.get("/v1/lessons").is_success
    monkeypatch.undo()
    monkeypatch.setattr(resources_of(client).database, "reading", away)
    assert client.get("/v1/lessons").status_code == 503


def test_the_rules_know_every_method() -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "MADE-UP"):
        assert roles.needed(method, "/any") == ("viewer" if method in ("GET", "HEAD") else "editor")
