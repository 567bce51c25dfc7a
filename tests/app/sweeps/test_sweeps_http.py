"""Submitting, reading, listing, cancelling and deleting sweeps."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from house_api import resources_of, result, serving, submit, upload, write_artifacts
from sqlalchemy import select
from sweeps_in_database import found

from app.ids import new_id
from app.jobs import lifecycle
from app.queue.dispatch import Hints
from app.settings import Settings
from app.storage.tables import Event, Job, Shard, Trial
from models.artifacts import trial_file

DECAYS = {"weight_decay": {"low": 1e-3, "high": 1.0, "log": True}}
DROPOUTS = {"dropout": {"choices": [0.0, 0.1, 0.2, 0.3]}}
BASE = {"architecture": {"type": "mlp", "hidden_sizes": [8]}, "k_folds": 3}
BODY = {"dataset_id": "latest", "target": "Price", "spec": BASE, "search_space": DROPOUTS}
Json = dict[str, Any]


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Shards of which workers were told."""
    sent: list[str] = []
    monkeypatch.setattr(Hints, "send", lambda _, shard_id: sent.append(shard_id))
    return sent


def sweep(client: TestClient, **changes: Any) -> Json:
    response = client.post("/v1/sweeps", json=BODY | changes)
    assert response.status_code == 202, response.text
    body: Json = response.json()
    return body


def refusal(client: TestClient, **changes: Any) -> tuple[str, str]:
    """Pointer and detail of the first fault."""
    response = client.post("/v1/sweeps", json=BODY | changes)
    assert response.status_code == 422, response.text
    problem = response.json()
    assert problem["type"].rpartition("/")[2] in ("invalid-spec", "invalid-request")
    first = problem["errors"][0]
    assert first["detail"]
    return first["pointer"], first["detail"]


def batch(client: TestClient, sweep_id: str, rows: list[Json]) -> str:
    """In a worker's place, train the batch that these trials are in; gives the shard's id."""
    resources = resources_of(client)
    with resources.database.writing() as session:
        place = session.get_one(Trial, (sweep_id, rows[0]["number"])).shard
        shards = select(Shard).where(Shard.job_id == sweep_id, Shard.place == place)
        shard = session.scalars(shards).one()
        claim = lifecycle.claim(session, shard.id, owner=new_id("wrk"), boot_id="boot")
        assert claim is not None
        files = {}
        for row in rows:
            if row["state"] == "succeeded":
                path = resources.settings.root / trial_file(row["number"])
                path.write_bytes(b"weights")
                files[path.name] = resources.blobs.put_artifact(shard.id, path)
        assert lifecycle.record_batch(session, claim.fence, rows, {"total": 1.0}, files)
        return shard.id


def model(client: TestClient, sweep_id: str, folder: Path) -> str:
    """In a worker's place, make the sweep's model; gives its id."""
    resources = resources_of(client)
    chosen = {
        "trials": 3,
        "metric": "rmse",
        "best": 1,
        "expected": {
            "naive": 1.0,
            "estimate": 1.2,
            "low": 0.9,
            "high": 1.5,
            "optimism": 0.2,
        },
        "as_good": {"trial": 2, "times_smaller": 3.0, "difference": 0.1, "standard_error": 0.2},
        "members": [1],
    }
    with resources.database.writing() as session:
        of_sweep = select(Shard).where(Shard.job_id == sweep_id, Shard.kind == "model")
        shard = session.scalars(of_sweep).one()
        claim = lifecycle.claim(session, shard.id, owner=new_id("wrk"), boot_id="boot")
        assert claim is not None
        paths = write_artifacts(folder)
        files = {path.name: resources.blobs.put_artifact(shard.id, path) for path in paths}
        reported = {**result(), "sweep": chosen}
        model_id = lifecycle.succeed(session, claim.fence, reported, files)
    assert model_id is not None
    return model_id


def rows(client: TestClient, sweep_id: str) -> list[Json]:
    answer = client.get(f"/v1/sweeps/{sweep_id}/trials")
    assert answer.status_code == 200
    found: list[Json] = answer.json()["data"]
    return found


FOUND = [found(0, 3.0), found(1, 1.0), found(2, 2.0), found(3, error="it diverged")]


def test_a_submitted_sweep_is_queued_and_says_what_it_searches(
    client: TestClient, hints: list[str]
) -> None:
    dataset = upload(client)
    response = client.post(
        "/v1/sweeps", json=BODY | {"search_space": DECAYS, "sampler": "random", "n_trials": 9}
    )
    assert response.status_code == 202
    body = response.json()
    assert body["id"].startswith("swp_")
    assert response.headers["Location"] == f"/v1/sweeps/{body['id']}"
    assert response.headers["Retry-After"] == "1"
    expected = {
        "status": "queued",
        "dataset_id": dataset["id"],
        "target": "Price",
        "metric": "rmsle",
        "n_trials": 9,
        "sampler": "random",
        "keep": "best",
        "best": None,
        "expected": None,
        "as_good": None,
        "members": [],
        "model_id": None,
        "cancel_requested": False,
        "error": None,
    }
    assert expected.items() <= body.items()
    assert body["search_space"]["weight_decay"]["low"] == 1e-3
    assert body["progress"] == {
        "trials": 9,
        "succeeded": 0,
        "failed": 0,
        "cancelled": 0,
        "running": 0,
        "fraction": 0.0,
        "eta_s": None,
    }
    assert client.get(response.headers["Location"]).json() == body
    assert client.get("/v1/sweeps/latest").json() == body
    trials = rows(client, body["id"])
    assert [trial["trial"] for trial in trials] == [*range(9)]
    assert len({trial["params"]["weight_decay"] for trial in trials}) == 9
    assert {trial["state"] for trial in trials} == {"queued"}
    assert len(hints) == 1


def test_a_sweep_is_no_job(client: TestClient) -> None:
    upload(client)
    sweep_id = sweep(client)["id"]
    job_id = submit(client)["id"]
    for path in ("", "/metrics", "/oof", "/events", "/report", "/notebook"):
        assert client.get(f"/v1/jobs/{sweep_id}{path}").status_code == 404
    for action in ("cancel", "retry", "reproduce"):
        assert client.post(f"/v1/jobs/{sweep_id}/{action}").status_code == 404
    assert client.delete(f"/v1/jobs/{sweep_id}").status_code == 404
    for path in ("", "/trials", "/trials/0", "/importance", "/events"):
        assert client.get(f"/v1/sweeps/{job_id}{path}").status_code == 404
    assert client.post(f"/v1/sweeps/{job_id}/cancel").status_code == 404
    assert client.delete(f"/v1/sweeps/{job_id}").status_code == 404
    assert [job["id"] for job in client.get("/v1/jobs").json()["data"]] == [job_id]
    assert [own["id"] for own in client.get("/v1/sweeps").json()["data"]] == [sweep_id]


def test_what_is_not_there(client: TestClient) -> None:
    for path in ("latest", "swp_x", "latest/trials", "swp_x/importance"):
        problem = client.get(f"/v1/sweeps/{path}")
        assert problem.status_code == 404
        assert problem.json()["type"].endswith("/not-found")
    assert "POST /v1/sweeps" in client.get("/v1/sweeps/latest").json()["detail"]
    upload(client)
    sweep_id = sweep(client)["id"]
    assert "no trial 4" in client.get(f"/v1/sweeps/{sweep_id}/trials/4").json()["detail"]
    for number, status in (("-1", 404), ("9" * 30, 404), ("x", 422), ("1.5", 422)):
        assert client.get(f"/v1/sweeps/{sweep_id}/trials/{number}").status_code == status


def test_an_idempotency_key_makes_one_sweep(client: TestClient) -> None:
    upload(client)
    key = {"Idempotency-Key": "once"}
    first = client.post("/v1/sweeps", json=BODY, headers=key)
    again = client.post("/v1/sweeps", json=BODY, headers=key)
    other = client.post("/v1/sweeps", json=BODY | {"seed": 1}, headers=key)
    as_job = client.post("/v1/jobs", json={"dataset_id": "latest", "target": "Price"}, headers=key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    for refused in (other, as_job):
        assert refused.status_code == 422
        assert refused.json()["type"].endswith("/idempotency-mismatch")
    assert len(client.get("/v1/sweeps").json()["data"]) == 1


def test_a_full_queue_takes_no_sweep(tmp_path: Path, sqlite_url: str) -> None:
    settings = Settings(data_dir=tmp_path / "data", database_url=sqlite_url, max_queued_jobs=1)
    with serving(settings) as client:
        upload(client)
        sweep(client)
        refused = client.post("/v1/sweeps", json=BODY)
    assert refused.status_code == 429
    assert "its quota `queued_jobs` is 1" in refused.json()["detail"]


def test_sweeps_are_listed_newest_first_in_pages(client: TestClient) -> None:
    upload(client)
    ids = [sweep(client, name=f"number {number}")["id"] for number in range(3)]
    page = client.get("/v1/sweeps", params={"limit": 2}).json()
    assert [own["id"] for own in page["data"]] == ids[:0:-1]
    assert page["has_more"] is True
    rest = client.get("/v1/sweeps", params={"limit": 2, "after": page["next"]}).json()
    assert [own["id"] for own in rest["data"]] == ids[:1]
    assert rest["next"] is None


def test_the_leaderboard_has_the_best_first_and_the_unscored_last(client: TestClient) -> None:
    upload(client)
    sweep_id = sweep(client, sampler="grid", metric="rmse")["id"]
    batch(client, sweep_id, FOUND)
    board = rows(client, sweep_id)
    assert [(own["trial"], own["state"], own["value"]) for own in board] == [
        (1, "succeeded", 1.0),
        (2, "succeeded", 2.0),
        (0, "succeeded", 3.0),
        (3, "failed", None),
    ]
    assert board[3]["error"] == "it diverged"
    shown = client.get(f"/v1/sweeps/{sweep_id}").json()
    assert shown["best"] == {
        "trial": 1,
        "params": board[0]["params"],
        "value": 1.0,
        "standard_error": 0.1,
    }
    assert (shown["progress"]["succeeded"], shown["progress"]["failed"]) == (3, 1)
    assert client.get(f"/v1/sweeps/{sweep_id}/importance").json() == {"data": []}

    answer = client.get(f"/v1/sweeps/{sweep_id}/trials", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    table = list(csv.DictReader(io.StringIO(answer.text)))
    assert [own["trial"] for own in table] == ["1", "2", "0", "3"]
    assert [float(own["dropout"]) for own in table] == [own["params"]["dropout"] for own in board]
    assert table[3]["value"] == ""


def test_a_trial_can_be_submitted_as_a_job_as_it_is(client: TestClient) -> None:
    upload(client)
    sweep_id = sweep(client, sampler="grid")["id"]
    trial = client.get(f"/v1/sweeps/{sweep_id}/trials/2").json()
    response = client.post("/v1/jobs", json=trial["spec"])
    assert response.status_code == 202, response.text
    job = response.json()
    assert job["spec"]["dropout"] == trial["params"]["dropout"]
    assert job["target"] == "Price"
    # With nothing left to fill in: the job trains what the trial trains.
    sent = {name: value for name, value in trial["spec"].items() if name != "dataset_id"}
    assert job["spec"] == sent


def test_trials_without_room_have_failed_before_anything_trains(
    tmp_path: Path, sqlite_url: str
) -> None:
    settings = Settings(
        data_dir=tmp_path / "data", database_url=sqlite_url, max_job_memory_bytes=10**9
    )
    sizes = {"architecture.hidden_sizes": {"choices": [[8], [16384] * 8]}}
    with serving(settings) as client:
        upload(client)
        sweep_id = sweep(client, sampler="grid", search_space=sizes)["id"]
        fits, too_large = sorted(
            rows(client, sweep_id), key=lambda own: len(own["params"]["architecture.hidden_sizes"])
        )
        assert (fits["state"], too_large["state"]) == ("queued", "failed")
        assert "max_job_memory_bytes" in too_large["error"]
        detail = client.get(f"/v1/sweeps/{sweep_id}/trials/{too_large['trial']}").json()
        assert detail["spec"] is None
        only = {"architecture.hidden_sizes": {"choices": [[16384] * 8, [16000] * 8]}}
        pointer, detail = refusal(client, sampler="grid", search_space=only)
        assert pointer == "/search_space"
        assert "max_job_memory_bytes" in detail


def test_a_finished_sweep_shows_what_its_model_is_worth(client: TestClient, tmp_path: Path) -> None:
    upload(client)
    sweep_id = sweep(client, sampler="grid", metric="rmse")["id"]
    batch(client, sweep_id, FOUND)
    model_id = model(client, sweep_id, tmp_path / "model")
    shown = client.get(f"/v1/sweeps/{sweep_id}").json()
    assert (shown["status"], shown["model_id"], shown["members"]) == ("succeeded", model_id, [1])
    assert shown["expected"]["estimate"] == 1.2
    assert shown["as_good"]["trial"] == 2
    assert (shown["progress"]["fraction"], shown["progress"]["eta_s"]) == (1.0, 0.0)
    assert client.get(f"/v1/models/{model_id}").json()["job_id"] == sweep_id
    refused = client.post(f"/v1/sweeps/{sweep_id}/cancel")
    assert refused.status_code == 409
    assert "The sweep cannot be cancelled" in refused.json()["detail"]
    events = client.get(f"/v1/sweeps/{sweep_id}/events").text
    kinds = [line.removeprefix("event: ") for line in events.splitlines() if "event: " in line]
    assert kinds == [
        "state",
        "state",
        *["trial"] * 4,
        *["state"] * 2,
        "fold",
        "fold",
        "result",
        "state",
    ]


def test_a_sweep_is_cancelled_at_once_while_it_waits(client: TestClient) -> None:
    upload(client)
    sweep_id = sweep(client, sampler="grid")["id"]
    cancelled = client.post(f"/v1/sweeps/{sweep_id}/cancel")
    assert cancelled.status_code == 202
    assert cancelled.json()["status"] == "cancelled"
    assert cancelled.json()["progress"]["cancelled"] == 4
    assert client.post(f"/v1/sweeps/{sweep_id}/cancel").status_code == 409


def test_keep_best_stops_at_what_has_trained(client: TestClient, tmp_path: Path) -> None:
    upload(client)
    sweep_id = sweep(client, search_space=DECAYS, sampler="random", n_trials=8, metric="rmse")["id"]
    batch(client, sweep_id, [found(number, float(number + 1)) for number in range(4)])
    stopped = client.post(f"/v1/sweeps/{sweep_id}/cancel", json={"keep_best": True}).json()
    assert (stopped["status"], stopped["cancel_requested"]) == ("queued", True)
    assert stopped["progress"]["cancelled"] == 4
    again = client.post(f"/v1/sweeps/{sweep_id}/cancel", json={"keep_best": True})
    assert again.status_code == 202
    model(client, sweep_id, tmp_path / "model")
    assert client.get(f"/v1/sweeps/{sweep_id}").json()["status"] == "succeeded"


def test_deleting_removes_rows_and_files(client: TestClient, tmp_path: Path) -> None:
    dataset = upload(client)
    sweep_id = sweep(client, sampler="grid", metric="rmse")["id"]
    early = client.delete(f"/v1/sweeps/{sweep_id}")
    assert early.status_code == 409
    assert early.json()["detail"].startswith(f"Sweep {sweep_id} is queued.")
    assert client.delete(f"/v1/datasets/{dataset['id']}").status_code == 409
    shard_id = batch(client, sweep_id, FOUND)
    model_id = model(client, sweep_id, tmp_path / "model")
    artifacts = resources_of(client).settings.root / "storage" / "artifacts"
    assert (artifacts / shard_id).exists()
    aliased = client.delete(f"/v1/sweeps/{sweep_id}")
    assert aliased.status_code == 409
    assert "champion" in aliased.json()["detail"]

    assert client.delete("/v1/aliases/champion").status_code == 204
    assert client.delete(f"/v1/sweeps/{sweep_id}").status_code == 204
    for path in (f"sweeps/{sweep_id}", f"sweeps/{sweep_id}/trials", f"models/{model_id}"):
        assert client.get(f"/v1/{path}").status_code == 404
    with resources_of(client).database.reading() as session:
        for table in (Trial, Shard, Event, Job):
            assert session.scalars(select(table)).all() == []
    assert not list(artifacts.glob("*"))


@pytest.mark.parametrize(
    ("changes", "pointer", "says"),
    [
        ({"search_space": {"weight_decya": {"low": 0, "high": 1}}}, "/weight_decya", "decay'"),
        ({"search_space": {"dropout": {"low": 0.5, "high": 0.1}}}, "/dropout/low", "below 'high'"),
        ({"search_space": {"weight_decay": {"low": 0, "high": 1, "log": True}}}, "/low", "above 0"),
        ({"search_space": {"dropout": {"low": "a", "high": 0.1}}}, "/dropout/low", "number"),
        ({"search_space": {"dropout": {"choices": []}}}, "/dropout/choices", "at least 1"),
        ({"search_space": {"dropout": 3}}, "/search_space/dropout", "object"),
        ({"search_space": {}}, "/search_space", "at least 1"),
        ({"search_space": {"k_folds": {"choices": [2, 3]}}}, "/k_folds", "share"),
        ({"search_space": {"features.exclude": {"choices": [[]]}}}, "/features.exclude", "share"),
        ({"search_space": {"members": {"choices": [[]]}}}, "/members", "one architecture"),
        ({"search_space": {"initialize_from": {"choices": ["a"]}}}, "/initialize_from", "anew"),
        ({"search_space": {"seed": {"choices": [10**400]}}}, "/seed/choices/0", "less than"),
        ({"search_space": {"seed": {"low": 0, "high": 2**62}}}, "/seed/high", "step"),
        ({"search_space": {"~/": {"low": 0, "high": 1}}}, "/search_space/~0~1", "no field"),
        ({"metric": "roc_auc"}, "/metric", "one of rmse"),
        ({"sampler": "cma"}, "/sampler", "'tpe'"),
        ({"n_trials": 1001}, "/n_trials", "at most 1000"),
        ({"n_trials": True}, "/n_trials", "integer"),
        ({"timeout_s": 0}, "/timeout_s", "above 0"),
        ({"halving": {"factor": 1}}, "/halving/factor", "at least 2"),
        ({"target": "Prize"}, "/target", "no column 'Prize'"),
        ({"dataset_id": "../etc"}, "/dataset_id", "pattern"),
        ({"spec": []}, "/spec", "dictionary"),
        ({"spec": {"nope": 1}}, "/spec/nope", "unknown field"),
        ({"spec": {"target": "Area"}}, "/spec/target", "beside"),
        ({"spec": {"effort": "quick"}}, "/spec/effort", "one architecture"),
        ({"spec": {"members": [{"architecture": {"type": "mlp"}}] * 2}}, "/spec/members", "blend"),
        ({"spec": {"initialize_from": "champion"}}, "/spec/initialize_from", "anew"),
        ({"spec": {"learning_curve": True}}, "/spec/learning_curve", "job"),
        ({"spec": {"k_folds": 60}}, "/spec/k_folds", "50"),
        ({"spec": {"folds": {"type": "time", "column": "Day"}}}, "/spec/folds/column", "'Day'"),
        ({"spec": {"folds": {"type": "group"}}}, "/spec/folds", "column"),
        ({"spec": {"holdout": {"fraction": 0.9}}}, "/spec/holdout/fraction", "0.5"),
        ({"spec": {"loss": "cross_entropy"}}, "/spec/loss", "regression"),
        ({"spec": {"architecture": {"type": "nope"}}}, "/spec/architecture", "'nope'"),
        ({"spec": {"architecture": {"type": "ridge"}}}, "/search_space/dropout", "'ridge'"),
    ],
)
def test_what_cannot_work_is_refused_with_its_place(
    client: TestClient, changes: Json, pointer: str, says: str
) -> None:
    upload(client)
    where, detail = refusal(client, **changes)
    assert where.endswith(pointer)
    assert says in detail
    assert client.get("/v1/sweeps").json()["data"] == []


def test_hostile_bodies_are_refused(client: TestClient) -> None:
    upload(client)
    start = b'{"dataset_id": "latest", "target": "Price", '
    deep = b'{"a":' * 5_000 + b"1" + b"}" * 5_000
    nested = b'{"a":' * 10 + b"1" + b"}" * 10
    bodies = {
        b'"search_space": {"dropout": {"low": NaN, "high": 1}}}': 422,
        b'"search_space": {"dropout": {"low": 0, "high": 1e999}}}': 422,
        b'"search_space": {"dropout": {"choices": [' + nested + b"]}}}": 422,
        b'"search_space": {"dropout": {"choices": [' + deep + b"]}}}": 413,
        b'"spec": ' + nested + b"}": 422,
        b'"spec": {"x": "' + b"a" * 2**20 + b'"}}': 413,
        b'"search_space": {"seed": {"choices": [' + b"1," * 30_000 + b"1]}}}": 413,
        b'"target": "Area"}': 422,  # twice
    }
    for body, status in bodies.items():
        answer = client.post(
            "/v1/sweeps", content=start + body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == status, body[:80]
        assert answer.json()["detail"]


def test_a_grid_is_counted_without_being_made(client: TestClient) -> None:
    upload(client)
    space = {
        name: {"low": 1, "high": 1000, "step": 1} for name in ("seed", "max_epochs", "batch_size")
    }
    pointer, detail = refusal(client, sampler="grid", search_space=space)
    assert pointer == "/search_space"
    assert "1,000,000,000 combinations" in detail


@pytest.mark.parametrize(
    "spec",
    [
        {"folds": {"type": "group", "column": "Quality"}},
        {"folds": {"type": "time", "column": "Id"}},
        {"holdout": {"fraction": 0.2}},
    ],
)
def test_trials_share_the_folds_and_the_holdout(client: TestClient, spec: Json) -> None:
    upload(client)
    sweep_id = sweep(client, sampler="grid", spec=BASE | spec)["id"]
    name = next(iter(spec))
    for number in range(4):
        trial = client.get(f"/v1/sweeps/{sweep_id}/trials/{number}").json()
        own = trial["spec"][name]
        assert spec[name].items() <= own.items()


def test_all_networks_of_a_sweep_with_halving_watch_rows(client: TestClient) -> None:
    """Those of the architecture `linear` watch none by default."""
    upload(client)
    spec = {**BASE, "architecture": {"type": "linear"}}
    for halving in (None, {"min_epochs": 2}):
        changes = {"search_space": {"weight_decay": {"choices": [0.0, 0.1]}}, "halving": halving}
        sweep_id = sweep(client, sampler="grid", spec=spec, **changes)["id"]
        trial = client.get(f"/v1/sweeps/{sweep_id}/trials/0").json()
        assert (trial["spec"]["early_stopping"] is None) == (halving is None)


def test_a_thousand_classes(client: TestClient) -> None:
    lines = ["a,y", *(f"{number % 7},c{number % 1000}" for number in range(3_000))]
    upload(client, "\n".join(lines) + "\n")
    body = {"target": "y", "sampler": "grid"}
    pointer, detail = refusal(client, **body, spec=BASE | {"k_folds": 5})
    assert pointer == "/target"
    assert "995 more classes" in detail
    assert sweep(client, **body)["metric"] == "log_loss"
