"""Nothing of one tenant is there for another."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from house_api import become, finish, resources_of, serving, submit, upload
from openapi_document import example_of, operations
from sqlalchemy import select

from app.accounts.audit import Audit
from app.jobs import broadcast
from app.monitoring.service import usage_since
from app.monitoring.usage import Usage
from app.registry import names
from app.settings import Settings
from app.storage.tables import LOCAL_TENANT, Alias, AuditChain, Base

LOCAL, OTHER = LOCAL_TENANT, "other"
KEY = "the-same-key"
ROW = {"Area": 100, "Quality": 3, "Zone": "south"}

# They speak of no tenant's objects.
OF_NOBODY = {
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /v1/lessons",
    "GET /version",
    "GET /v2",
    "GET /v2/health/live",
    "GET /v2/health/ready",
    "GET /v1/whoami",
}
# Lists of a tenant's own, which may be empty.
LISTS = {
    "GET /v1/datasets",
    "GET /v1/jobs",
    "GET /v1/sweeps",
    "GET /v1/models",
    "GET /v1/aliases",
    "GET /v1/webhooks",
    "GET /v1/keys",
    "GET /v1/quotas",
    "GET /v1/audit",
}
# Give everybody one of their own.
CREATES = {"POST /v1/datasets", "POST /v1/webhooks", "POST /v1/keys"}
# Searches the tenant's own datasets.
SEARCHES = "POST /v1/datasets:find"
# Finds a table by the hash of its bytes, among the tenant's own.
BY_CONTENT = {"POST /v1/reproductions"}


@pytest.fixture
def client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The application, which remembers what names stand for as long as the test takes."""
    monkeypatch.setattr(names, "FRESH", 3600.0)
    monkeypatch.setattr(broadcast, "LIFETIME", 0.0)  # of streams of the queued job
    with serving(settings.model_copy(update={"max_queued_jobs": 1})) as client:
        yield client


def furnish(client: TestClient, folder: Path) -> dict[str, list[str]]:
    """Give a tenant one of everything and a queued job that fills its queue; returns by what names
    a request can ask for them, by the path parameter."""
    dataset = upload(client, key=KEY)["id"]
    finished = [submit(client)["id"]]
    models = [finish(resources_of(client), finished[0], folder)]
    finished.append(submit(client)["id"])
    models.append(finish(resources_of(client), finished[1], folder))
    for alias, model in (("best", "champion"), ("champion", models[1])):
        assert client.put(f"/v1/aliases/{alias}", json={"model_id": model}).is_success
    sweep = {"dataset_id": dataset, "target": "Price", "search_space": SPACE, "n_trials": 1}
    swept = client.post("/v1/sweeps", json=sweep | {"sampler": "random"}).json()["id"]
    client.post(f"/v1/sweeps/{swept}/cancel")
    queued = submit(client)["id"]
    assert client.post("/v1/predict", json={"rows": [ROW]}).is_success
    webhook = client.post("/v1/webhooks", json={"url": "https://hooks.example/"}).json()["id"]
    lesson_run = client.post("/v1/lessons/xor").json()["id"]
    key = client.post("/v1/keys", json={"name": "one", "role": "viewer"}).json()["id"]
    named = [*models, "champion", "best", "latest"]
    return {
        "dataset_id": [dataset, "latest"],
        "job_id": [*finished, queued, "latest"],
        "model_id": named,
        "name": named,
        "alias": ["champion", "best"],
        "webhook_id": [webhook, "latest"],
        "key_id": [key],  # everyone has a `latest`: the key that asks
        "run_id": [lesson_run, "latest"],
        "sweep_id": [swept, "latest"],
        "trial": ["0"],
        "tenant": [LOCAL],
    }


SPACE = {"dropout": {"low": 0.0, "high": 0.5}}
Call = tuple[str, str, dict[str, Any]]


def calls(client: TestClient, known: dict[str, list[str]]) -> list[Call]:
    """Each operation with each name by which it may find something: method, path, and the rest."""
    document = client.get("/openapi.json").json()
    datasets, models = known["dataset_id"], known["model_id"]
    specs = [{"json": {"dataset_id": one, "target": "Price"}} for one in datasets]
    # Where the name stands elsewhere than in the path.
    elsewhere: dict[str, list[dict[str, Any]]] = {
        **{name: [{}] for name in LISTS},
        "GET /v1/jobs": [{}, *({"params": {"dataset_id": one}} for one in datasets)],
        "POST /v1/jobs": specs,
        "POST /v1/jobs:validate": specs,
        SEARCHES: [{"json": {"column": "Zone", "value": ROW["Zone"]}}],
        "POST /v1/sweeps": specs,
        "PUT /v1/aliases/{alias}": [
            {"json": {"model_id": one} | more}
            for one in models
            for more in ({}, {"if_better_than": models[0]})
        ],
        "POST /v1/predict": [{"params": {"model": one}, "json": {"rows": [ROW]}} for one in models],
        "POST /v1/models/{model_id}/predict": [{"json": {"rows": [ROW]}}],
        "GET /ping": [{}],
        "POST /invocations": [{"json": {"dataframe_records": [ROW]}}],
    }
    found: list[Call] = []
    for method, path, operation in operations(document):
        operation_name = f"{method} {path}"
        if operation_name in OF_NOBODY | CREATES | BY_CONTENT:
            continue
        parameters = [
            parameter["name"]
            for parameter in operation.get("parameters", [])
            if parameter["in"] == "path"
        ]
        rests = elsewhere.get(operation_name)
        if rests is None:
            assert parameters, f"{operation_name}: how does it ask for an object?"
            rests = [{"json": example_of(operation, document)}]
        first, *others = parameters or [""]
        rest_of_path = {name: known[name][0] for name in others}
        names_there = known[first] if first else [""]
        paths = [path.format(**{first: one}, **rest_of_path) for one in names_there]
        found += [(method, filled, rest) for filled in paths for rest in rests]
    return found


def stored(client: TestClient, tenant: str) -> dict[str, Any]:
    """All rows of a tenant, and all files."""
    resources = resources_of(client)
    resources[Usage].write()
    assert resources[Audit].store()
    storage = resources.settings.root / "storage"
    found: dict[str, Any] = {"files": sorted(map(str, storage.rglob("*")))}
    with resources.database.reading() as session:
        for table in Base.metadata.sorted_tables:
            if table.name == AuditChain.__tablename__:  # of all tenants together
                continue
            rows = session.execute(select(table)).mappings()
            of_tenant = [dict(row) for row in rows if row.get("tenant", tenant) == tenant]
            found[table.name] = sorted(of_tenant, key=str)
    return found


def test_another_tenants_objects_are_not_there(client: TestClient, tmp_path: Path) -> None:
    """Asked for in every way that the API has, while the caches know all of them."""
    become(client, LOCAL)
    known = furnish(client, tmp_path)
    asked = calls(client, known)
    for method, path, rest in asked:
        if method == "GET" or "predict" in path or "validate" in path or "find" in path:
            answer = client.request(method, path, **rest)
            # The newest job has not been trained yet.
            untrained = path.endswith(("/oof", "/report", "/charts", "/notebook"))
            assert answer.is_success or untrained, (method, path, answer.text)
    before = stored(client, LOCAL)

    its_key = become(client, OTHER)
    for method, path, rest in asked:
        answer = client.request(method, path, headers={"Idempotency-Key": KEY}, **rest)
        if path == "/v1/keys":
            assert [key["id"] for key in answer.json()["data"]] == [its_key]
        elif path == "/v1/audit":
            assert {row["tenant"] for row in answer.json()["data"]} <= {OTHER}
        elif f"{method} {path}" == SEARCHES or (f"{method} {path}" in LISTS and not rest):
            assert answer.text.startswith('{"data":[]'), (path, answer.text)
        else:
            assert answer.status_code == 404, (method, path, rest, answer.text)
    if_match = client.delete("/v1/aliases/champion", headers={"If-Match": "*"})

    assert if_match.status_code == 412
    assert stored(client, LOCAL) == before


def test_tenants_have_their_own(client: TestClient, tmp_path: Path) -> None:
    """With the same bytes, names and keys; also while another's jobs fill the queue."""
    found = {}
    for tenant in (LOCAL, OTHER):
        become(client, tenant)
        found[tenant] = furnish(client, tmp_path)
        client.put("/v1/aliases/champion", json={"model_id": found[tenant]["model_id"][0]})
    for tenant in (OTHER, LOCAL):
        become(client, tenant)
        assert client.post("/v1/aliases/champion/rollback").status_code == 200
    sizes = [
        {table: len(rows) for table, rows in stored(client, tenant).items()}
        for tenant in (LOCAL, OTHER)
    ]
    assert sizes[0] == sizes[1]

    for tenant, own in found.items():
        become(client, tenant)
        for noun, parameter in (
            ("datasets", "dataset_id"),
            ("jobs", "job_id"),
            ("sweeps", "sweep_id"),
        ):
            listed = client.get(f"/v1/{noun}").json()["data"]
            assert {row["id"] for row in listed} == set(own[parameter]) - {"latest"}
            assert client.get(f"/v1/{noun}/latest").json()["id"] == listed[0]["id"]
        models = client.get("/v1/models").json()["data"]
        assert [model["id"] for model in models] == own["model_id"][1::-1]
        aliases = client.get("/v1/aliases").json()["data"]
        assert [alias["alias"] for alias in aliases] == ["best", "champion"]
        for alias in aliases:
            shown = client.get(f"/v1/aliases/{alias['alias']}").json()
            assert alias == shown
            history = client.get(f"/v1/aliases/{alias['alias']}/history").json()["data"]
            assert {change["model_id"] for change in history} <= set(own["model_id"])
            assert history[0]["model_id"] == alias["model_id"]
        priced = client.post("/v1/predict?model=latest", json={"rows": [ROW]}).json()
        assert priced["model_id"] == models[0]["id"]
        asked = client.get("/v1/models/latest/monitoring").json()
        assert (asked["requests"], asked["rows"]) == (2, 2)


def test_rows_of_another_tenant_say_nothing_of_ones_own_model(
    client: TestClient, tmp_path: Path
) -> None:
    """Nothing makes such rows: but the database allows them, and no answer may rest on them."""
    become(client, LOCAL)
    [_, model_id, *_] = furnish(client, tmp_path)["model_id"]
    resources = resources_of(client)
    resources[Usage].write()
    with resources.database.writing() as session:
        session.add(Alias(tenant="third", name="theirs", model_id=model_id))
    with resources.database.reading() as session:
        [used] = usage_since(session, LOCAL, model_id, date.min)
        assert usage_since(session, "third", model_id, used.day) == []

    assert client.get("/v1/models/theirs").status_code == 404
