"""Access tokens of an identity provider."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from house_api import become, resources_of, serving
from identity_provider import (
    AUDIENCE,
    CLIENT_ID,
    EXPIRED,
    IdentityProvider,
    identity_provider,
    settings_for,
)
from joserfc.jwk import ECKey, RSAKey
from polling import wait_until
from sqlalchemy import update

from app.accounts import chain
from app.accounts import provider as provider_module
from app.accounts.audit import Audit
from app.accounts.chain import ChainBroken
from app.accounts.persons import Persons
from app.accounts.provider import Provider
from app.settings import Settings
from app.storage.tables import AuditRow


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with identity_provider() as found:
        yield found


@pytest.fixture
def client(settings: Settings, provider: IdentityProvider) -> Iterator[TestClient]:
    provider.reset()
    provider.rotate("first")
    with serving(settings.model_copy(update=settings_for(provider))) as client:
        yield client


def provider_of(client: TestClient) -> Provider:
    return resources_of(client)[Persons].provider


def sent(client: TestClient, token: str) -> dict[str, Any]:
    response = client.get("/v1/whoami", headers={"Authorization": f"Bearer {token}"})
    return {"status": response.status_code, **response.json()}


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"


def test_a_token_says_who_it_is(client: TestClient, provider: IdentityProvider) -> None:
    found = sent(client, provider.access_token())
    expected = {"tenant": "houses", "role": "editor", "key_id": None}
    expected |= {"subject": "ana-1", "subject_name": "ana@houses.example"}
    assert expected.items() <= found.items()
    # Each tenant has quotas and data of its own, as with keys.
    operator = sent(client, provider.access_token(groups="ml-admins", email=None))
    assert (operator["tenant"], operator["role"]) == ("local", "admin")
    assert operator["subject_name"] is None
    named = sent(client, provider.access_token(email=7, preferred_username="ana"))
    assert named["subject_name"] == "ana"


def test_without_a_token_nothing_is_open(client: TestClient) -> None:
    """Although there has never been a key."""
    refused = client.get("/v1/datasets")
    assert refused.status_code == 401
    assert client.get("/healthz").is_success


def test_a_person_may_do_what_the_role_allows(
    client: TestClient, provider: IdentityProvider
) -> None:
    client.headers["Authorization"] = f"Bearer {provider.access_token(groups=['readers'])}"
    assert client.get("/v1/datasets").is_success
    refused = client.post("/v1/lessons/xor")
    assert refused.status_code == 403
    assert "needs the role editor, and yours is viewer" in refused.json()["detail"]


def test_the_audit_names_the_person(client: TestClient, provider: IdentityProvider) -> None:
    ana = provider.access_token()
    client.post("/v1/lessons/xor", headers={"Authorization": f"Bearer {ana}"})
    for subject in ("ana-1", "bo-2"):
        token = provider.access_token(sub=subject, email=None, groups=["readers"])
        client.post("/v1/lessons/xor", headers={"Authorization": f"Bearer {token}"})
    admin = provider.access_token(groups=["ml-admins"])
    assert resources_of(client)[Audit].store()
    listed = client.get("/v1/audit", headers={"Authorization": f"Bearer {admin}"}).json()["data"]
    names = ("status", "tenant", "key_id", "subject", "subject_name")
    assert [tuple(row[name] for name in names) for row in listed[::-1]] == [
        (202, "houses", None, "ana-1", "ana@houses.example"),
        (403, "houses", None, "ana-1", None),
        (403, "houses", None, "bo-2", None),
    ]
    database = resources_of(client).database
    assert chain.check(database).rows == 3
    with database.writing() as session:
        session.execute(update(AuditRow).where(AuditRow.id == 2).values(subject="cy-3"))
    with pytest.raises(ChainBroken, match="Row 2"):
        chain.check(database)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"lifetime": EXPIRED}, "has expired"),
        ({"exp": None}, "claim exp"),
        ({"exp": "soon"}, "claim exp"),
        ({"exp": True}, "claim exp"),
        ({"nbf": time.time() + 3600}, "claim nbf"),
        ({"aud": "another-api"}, "claim aud"),
        ({"aud": CLIENT_ID}, "claim aud"),  # an ID token
        ({"aud": [CLIENT_ID, AUDIENCE]}, "for signing in"),
        ({"aud": None}, "claim aud"),
        ({"iss": "https://elsewhere.example"}, "claim iss"),
        ({"iss": ["x"]}, "claim iss"),
        ({"sub": None}, "claim sub"),
        ({"sub": {}}, "claim sub"),
        ({"sub": "a\nb"}, "claim sub"),
        ({"sub": "a" * 256}, "claim sub"),
    ],
)
def test_claims_that_are_wrong(
    shared: TestClient, provider: IdentityProvider, claims: dict[str, Any], reason: str
) -> None:
    answer = sent(shared, provider.access_token(**claims))
    assert answer["status"] == 401
    assert reason in answer["detail"]


@pytest.fixture(scope="module")
def shared(
    provider: IdentityProvider, tmp_path_factory: pytest.TempPathFactory, _sqlite_template: Any
) -> Iterator[TestClient]:
    """The application for tests that leave nothing in it."""
    folder = tmp_path_factory.mktemp("shared")
    database = folder / "foldhouse.sqlite"
    database.write_bytes(_sqlite_template.read_bytes())
    settings = Settings(
        data_dir=folder, database_url=f"sqlite:///{database}", **settings_for(provider)
    )
    with serving(settings) as client:
        yield client


@pytest.mark.parametrize("groups", [[], ["others"], None, {}, 7, [["appraisers"]]])
def test_who_is_in_no_group_that_has_a_role(
    shared: TestClient, provider: IdentityProvider, groups: Any
) -> None:
    answer = sent(shared, provider.access_token(groups=groups))
    assert answer["status"] == 403
    assert "ana@houses.example" in answer["detail"]
    assert "FOLDHOUSE_OIDC_ROLES" in answer["detail"]


def test_forged_tokens(shared: TestClient, provider: IdentityProvider) -> None:
    """With no algorithm, with a public key as a shared secret, with a key of one's own."""
    header, payload, signature = provider.access_token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    kid = provider.key.kid
    none = unsigned({"alg": "none", "kid": kid}, claims)
    by_public_key = unsigned({"alg": "HS256", "kid": kid}, claims)
    public = provider.key.as_pem(private=False)
    mac = encoded(hmac.digest(public, by_public_key.encode(), hashlib.sha256))
    shared_secret = unsigned({"alg": "HS256", "kid": "shared"}, claims)
    own = ECKey.generate_key("P-256", {"kid": kid})
    published, provider.key = provider.key, own
    by_own_key = provider.access_token()
    provider.key = published
    admin = encoded(json.dumps(claims | {"groups": ["ml-admins"]}).encode())
    forged = [
        f"{none}.",
        f"{none}.{signature}",
        f"{by_public_key}.{mac}",
        f"{shared_secret}.{encoded(hmac.digest(b'secret', shared_secret.encode(), 'sha256'))}",
        by_own_key,
        f"{header}.{admin}.{signature}",
        f"{header}.{payload}.",
        unsigned({"alg": "ES256", "jwk": own.as_dict(private=False)}, claims) + f".{signature}",
        unsigned({"alg": "ES256", "kid": kid, "crit": ["x"]}, claims) + f".{signature}",
    ]
    for token in forged:
        answer = sent(shared, token)
        assert (answer["status"], answer["type"].rpartition("/")[2]) == (401, "invalid-token")
    assert sent(shared, f"{header}.{payload}.{signature}")["status"] == 200


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{}",
        b"\xff",
        b'{"alg": []}',
        b'{"alg": "ES256", "kid": {}}',
        b'{"alg": "ES256", "kid": ["first"]}',
        b"[" * 5_000,
        b"x" * 40_000,
    ],
)
def test_what_is_no_token(shared: TestClient, header: bytes) -> None:
    for token in (f"{encoded(header)}.e30.x", "..", f".{encoded(header)}."):
        assert sent(shared, token)["status"] == 401


def test_keys_work_beside_tokens(client: TestClient, provider: IdentityProvider) -> None:
    key_id = become(client, "mine", "viewer")
    assert client.get("/v1/whoami").json()["key_id"] == key_id
    assert sent(client, provider.access_token())["subject"] == "ana-1"


def test_a_verified_token_is_not_verified_again(
    client: TestClient, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = provider.access_token()
    assert sent(client, token)["status"] == 200
    short = provider.access_token(lifetime=-1)  # within what clocks may differ by
    monkeypatch.setattr(provider_module, "_decode", lambda *_: pytest.fail("verified"))
    assert sent(client, token)["status"] == 200
    monkeypatch.undo()
    assert sent(client, short)["status"] == 200
    assert len(resources_of(client)[Persons]._verified) == 1


def test_keys_that_rotate(
    client: TestClient, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = provider.access_token()
    assert sent(client, old)["status"] == 200
    provider.rotate("second")
    new = provider.access_token()
    # Asked a moment ago: anyone could name keys.
    before = provider.asked["keys"]
    for _ in range(3):
        answer = sent(client, new)
        assert (answer["status"], provider.asked["keys"]) == (401, before)
    monkeypatch.setattr(provider_module, "INTERVAL", 0.0)
    assert sent(client, new)["status"] == 200
    # The old one was withdrawn, so it counts no longer, although it has not expired.
    assert sent(client, old)["status"] == 401
    assert sent(client, new)["status"] == 200


def test_keys_are_asked_for_again_after_an_hour(
    client: TestClient, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = provider.access_token()
    assert sent(client, token)["status"] == 200
    provider.rotate("second")
    monkeypatch.setattr(provider_module, "INTERVAL", 0.0)
    assert sent(client, token)["status"] == 200
    provider_of(client)._answered_at -= provider_module.KEYS_LIFETIME
    # Nobody waits for the answer. It withdraws the key of a token that was verified.
    wait_until(lambda: sent(client, token)["status"] == 401)


def test_an_rsa_key(
    client: TestClient, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "key", RSAKey.generate_key(2048, {"kid": "rsa"}))
    monkeypatch.setattr(provider, "published", [provider.key])
    assert sent(client, provider.access_token())["status"] == 200


def test_while_the_provider_is_away(
    client: TestClient, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(client, "mine", "viewer")
    assert sent(client, provider.access_token())["status"] == 200
    monkeypatch.setattr(provider_module, "DEADLINE", 0.2)
    monkeypatch.setattr(provider_module, "INTERVAL", 0.0)
    provider.answers.clear()
    # Keys go on, and so do tokens whose key is known, also those that were not seen yet.
    assert client.get("/v1/whoami").is_success
    assert sent(client, provider.access_token(sub="bo-2"))["subject"] == "bo-2"
    provider.rotate("second")
    answer = sent(client, provider.access_token())
    assert answer["status"] == 503
    assert "does not answer within 0.2 seconds" in answer["detail"]
    provider.answers.set()
    assert sent(client, provider.access_token())["status"] == 200


def test_others_are_answered_while_the_provider_hangs(
    client: TestClient, provider: IdentityProvider
) -> None:
    become(client, "mine", "viewer")
    provider.answers.clear()
    answers: list[int] = []
    token = provider.access_token()
    threads = [
        threading.Thread(target=lambda: answers.append(sent(client, token)["status"]))
        for _ in range(60)  # more than there are threads to answer with
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: provider.asked["openid-configuration"])
    assert client.get("/v1/datasets").is_success
    assert answers == []
    provider.answers.set()
    for thread in threads:
        thread.join()
    assert answers == [200] * 60


def test_a_provider_that_calls_itself_something_else(
    client: TestClient, provider: IdentityProvider
) -> None:
    provider.calls_itself = "https://elsewhere.example"
    answer = sent(client, provider.access_token())
    assert answer["status"] == 503
    assert "it calls itself 'https://elsewhere.example'" in answer["detail"]


def test_without_an_audience_no_token_is_taken(
    settings: Settings, provider: IdentityProvider
) -> None:
    update = settings_for(provider, oidc_audience="")
    with serving(settings.model_copy(update=update)) as client:
        answer = sent(client, provider.access_token(aud=CLIENT_ID))
    assert answer["status"] == 401
    assert "no key of this service" in answer["detail"]
