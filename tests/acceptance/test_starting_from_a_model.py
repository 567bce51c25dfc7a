"""Next month's table: old rows, some new ones, and the networks of last month's model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stack import Json, Stack, embedded, houses, running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

MLP: Json = {"type": "mlp", "hidden_sizes": [8, 4]}
BLEND: Json = {"members": [{"architecture": MLP}, {"architecture": {"type": "ridge"}}]}
SPEC: Json = {"k_folds": 3, "max_epochs": 8, "baselines": [], "weights": "mean"}
OLD = 120


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("stack")
    with running(embedded(folder, slots=1)) as stack, stack.worker() as worker:
        worker.wait_until_ready()
        yield stack


@pytest.fixture(scope="module")
def grown() -> str:
    return houses(OLD) + houses(30, seed=1).partition("\n")[2]


@pytest.fixture(scope="module")
def models(small: Stack, grown: str) -> dict[str, Json]:
    """A network, which is the champion, and a blend, both of the old table."""
    small.upload(houses(OLD))
    jobs = {
        "network": small.submit(SPEC | {"architecture": MLP}),
        "blend": small.submit(SPEC | BLEND),
    }
    done = {name: small.wait(job, "succeeded", "failed") for name, job in jobs.items()}
    assert {job["status"] for job in done.values()} == {"succeeded"}, done
    small.upload(grown)
    return done


def validated(stack: Stack, **spec: Any) -> tuple[int, Json]:
    body = {"dataset_id": "latest", "target": "price", **spec}
    answer = stack.http.post("/v1/jobs:validate", json=body)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("name", ["network", "blend"])
def test_a_model_is_trained_on(small: Stack, models: dict[str, Json], name: str) -> None:
    old = models[name]
    model = old["result"]["model_id"]
    reference = "champion" if name == "network" else model
    spec = {"initialize_from": reference, "max_epochs": 2, "baselines": []}
    status, valid = validated(small, **spec)
    assert status == 200, valid
    resolved = valid["resolved_spec"]
    assert (resolved["initialize_from"], resolved["k_folds"]) == (model, 3)
    assert resolved["members" if name == "blend" else "architecture"]
    assert resolved["max_epochs"] == 2
    assert "not_out_of_fold" not in [warning["code"] for warning in valid["warnings"]]
    done = small.wait(small.submit(spec), "succeeded", "failed")
    assert done["status"] == "succeeded", done["error"]
    assert done["spec"] == resolved
    start = done["result"]["receipt"]["started_from"]
    assert start["model_id"] == model
    folds = [
        {row["row"]: row["fold"] for row in small.http.get(f"/v1/jobs/{job}/oof").json()["data"]}
        for job in (old["id"], done["id"])
    ]
    assert folds[0] == {row: fold for row, fold in folds[1].items() if row < OLD}
    assert len(folds[1]) == OLD + 30
    assert done["result"]["metrics"]["rmse"] < 1.3 * old["result"]["metrics"]["rmse"]


REFUSED: dict[str, tuple[Json, str, str]] = {
    "no such alias": ({"initialize_from": "winner"}, "/initialize_from", "no model called"),
    "no such model": ({"initialize_from": "mdl_0"}, "/initialize_from", "no model mdl_0"),
    "another target": ({"target": "area"}, "/target", "'price'"),
    "other folds": ({"k_folds": 4}, "/k_folds", "both must be the same"),
    "other widths": (
        {"architecture": MLP | {"hidden_sizes": [8, 5]}},
        "/architecture",
        "layer 'hidden.1' has 8 × 5 weights, and that of {model} has 8 × 4 weights",
    ),
    "another activation": (
        {"architecture": MLP | {"activation": "tanh"}},
        "/architecture/activation",
        "'silu', not 'tanh'",
    ),
    "another architecture": (
        {"architecture": {"type": "linear"}},
        "/architecture/type",
        "'mlp' here, not 'linear'",
    ),
    "a blend": (BLEND, "/members", "one network"),
    "another scaling": (
        {"preprocessing": {"numeric_scaling": "standard"}},
        "/preprocessing/numeric_scaling",
        "learnt with 'robust'",
    ),
    "a holdout": ({"holdout": {"fraction": 0.1}}, "/holdout", "leave it out"),
    "no such layer": ({"freeze": ["hidden.7"]}, "/freeze/0", "hidden.0, hidden.1, output"),
    "more members": ({"members_per_fold": 2}, "/members_per_fold", "1 in each fold"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_start(small: Stack, models: dict[str, Json], name: str) -> None:
    change, pointer, says = REFUSED[name]
    model = models["network"]["result"]["model_id"]
    status, problem = validated(small, **{"initialize_from": model} | change)
    assert status == (404 if "no such" in name and pointer == "/initialize_from" else 422), problem
    [fault] = problem["errors"]
    assert fault["pointer"] == pointer
    assert says.format(model=model) in fault["detail"]


def test_folds_that_are_not_kept_are_warned_of(small: Stack, models: dict[str, Json]) -> None:
    model = models["network"]["result"]["model_id"]
    folds = {"type": "group", "column": "rooms"}
    status, valid = validated(small, initialize_from=model, folds=folds)
    assert status == 200, valid
    assert "not_out_of_fold" in [warning["code"] for warning in valid["warnings"]]
