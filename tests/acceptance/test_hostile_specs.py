"""Specs that no network can be made of: refused by name and range, and no job comes of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hostile import JSON, Bad, assert_lives, assert_refused, besieged
from stack import Json, Stack

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

MAX_MEMORY = 2 * 1024**3
SPEC: Json = {"dataset_id": "latest", "target": "price"}
PATHS = ("/v1/jobs:validate", "/v1/jobs")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose jobs may take 2 GiB, with one dataset and no worker."""
    folder = tmp_path_factory.mktemp("specs")
    with besieged(folder, warm, max_job_memory_bytes=MAX_MEMORY) as stack:
        yield stack


def warm(stack: Stack) -> None:
    stack.upload()
    stack.http.post(PATHS[0], json=SPEC).raise_for_status()


def jobs(stack: Stack) -> int:
    return len(stack.http.get("/v1/jobs").json()["data"])


def assert_all_refuse(stack: Stack, body: bytes, says: str, status: int, **place: Any) -> None:
    """Validating and submitting alike; nothing is queued."""
    for path in PATHS:
        answer = stack.http.post(path, content=body, headers=JSON)
        assert_refused(stack, answer, says, status, **place)
    assert jobs(stack) == 0


def at(pointer: str) -> dict[str, str]:
    return {"pointer": pointer}


def mlp(**fields: Any) -> Json:
    return {"architecture": {"type": "mlp", **fields}}


def embedding(**fields: Any) -> Json:
    return mlp(numeric_embedding={"type": "piecewise_linear", **fields})


FOLDS = "at least 2 and at most 50"
UNITS = "at least 1 and at most 16384"
HALF = "above 0 and below 0.5"
ARCHITECTURES = "'linear', 'mlp', 'resnet', 'realmlp', 'tabm'"
SIZES, TYPE = "/architecture/hidden_sizes", "/architecture/type"

SPECS: dict[str, Bad] = {
    "dropout of one": Bad({"dropout": 1}, "must be below 1", at("/dropout")),
    "dropout above one": Bad({"dropout": 1.5}, "must be below 1", at("/dropout")),
    "negative dropout": Bad({"dropout": -0.1}, "at least 0", at("/dropout")),
    "dropout in words": Bad({"dropout": "half"}, "valid number", at("/dropout")),
    "a list of dropouts": Bad({"dropout": [0.1]}, "valid number", at("/dropout")),
    "no dropout": Bad({"dropout": None}, "valid number", at("/dropout")),
    "no fold": Bad({"k": 0}, FOLDS, at("/k")),
    "one fold": Bad({"k": 1}, FOLDS, at("/k")),
    "one fold, by its long name": Bad({"k_folds": 1}, FOLDS, at("/k_folds")),
    "a fold less than none": Bad({"k": -1}, FOLDS, at("/k")),
    "as many folds as rows": Bad({"k": 400}, FOLDS, at("/k")),
    "more folds than rows": Bad({"k": 401}, FOLDS, at("/k")),
    "folds without end": Bad({"k": 10**400}, FOLDS, at("/k")),
    "half a fold": Bad({"k": 2.5}, "valid integer", at("/k")),
    "folds in words": Bad({"k": "five"}, "valid integer", at("/k")),
    "a list of folds": Bad({"k": [5]}, "valid integer", at("/k")),
    "folds true": Bad({"k": True}, "valid integer", at("/k")),
    "both names": Bad({"k": 5, "k_folds": 5}, "'k' is short for 'k_folds'"),
    "a width of 10^9": Bad(mlp(hidden_sizes=[10**9]), UNITS, at(f"{SIZES}/0")),
    "a width of 10^400": Bad(mlp(hidden_sizes=[10**400]), UNITS, at(f"{SIZES}/0")),
    "a width of none": Bad(mlp(hidden_sizes=[8, 0]), UNITS, at(f"{SIZES}/1")),
    "a negative width": Bad(mlp(hidden_sizes=[-1]), UNITS, at(f"{SIZES}/0")),
    "half a unit": Bad(mlp(hidden_sizes=[1.5]), "valid integer", at(f"{SIZES}/0")),
    "a width in words": Bad(mlp(hidden_sizes=["wide"]), "valid integer", at(f"{SIZES}/0")),
    "a width of null": Bad(mlp(hidden_sizes=[None]), "valid integer", at(f"{SIZES}/0")),
    "layers in words": Bad(mlp(hidden_sizes="deep"), "valid list", at(SIZES)),
    "no layers": Bad(mlp(hidden_sizes=[]), "at least 1 item", at(SIZES)),
    "17 layers": Bad(mlp(hidden_sizes=[8] * 17), "at most 16 items", at(SIZES)),
    "10^4 layers": Bad(mlp(hidden_sizes=[8] * 10**4), "at most 16 items", at(SIZES)),
    "10^6 layers": Bad(mlp(hidden_sizes=[8] * 10**6), "262144 bytes", status=413),
    "no architecture": Bad({"architecture": None}, "must be", at("/architecture")),
    "an architecture without a type": Bad({"architecture": {}}, "type", at("/architecture")),
    "an architecture of words": Bad({"architecture": "mlp"}, "must be", at("/architecture")),
    "a list for an architecture": Bad({"architecture": []}, "must be", at("/architecture")),
    "another architecture": Bad({"architecture": {"type": "cnn"}}, ARCHITECTURES, at(TYPE)),
    "an architecture by number": Bad({"architecture": {"type": 3}}, ARCHITECTURES, at(TYPE)),
    "10^6 blocks": Bad(
        {"architecture": {"type": "resnet", "blocks": 10**6}},
        "at most",
        at("/architecture/blocks"),
    ),
    "10^9 TabM members": Bad(
        {"architecture": {"type": "tabm", "k": 10**9}}, "unknown field", at("/architecture/k")
    ),
    "another activation": Bad(mlp(activation="sin"), "'relu'", at("/architecture/activation")),
    "another start": Bad(mlp(initialization="x"), "'xavier_uniform'"),
    "another normalization": Bad(mlp(normalization="x"), "'none', 'batch' or 'layer'"),
    "a path perhaps": Bad(mlp(linear_path="perhaps"), "boolean", at("/architecture/linear_path")),
    "no bins": Bad(
        embedding(bins=0), "at least 2 and at most 256", at("/architecture/numeric_embedding/bins")
    ),
    "10^9 bins": Bad(
        embedding(bins=10**9), "at most 256", at("/architecture/numeric_embedding/bins")
    ),
    "another embedding": Bad(
        mlp(numeric_embedding={"type": "x"}),
        "'piecewise_linear', 'periodic'",
        at("/architecture/numeric_embedding/type"),
    ),
    "an unknown field": Bad({"epochs": 3}, "unknown field", at("/epochs")),
    "an unknown field within": Bad(
        {"optimizer": {"beta": 1}}, "unknown field", at("/optimizer/beta")
    ),
    "an unknown field of a network": Bad(mlp(depth=3), "unknown field", at("/architecture/depth")),
    "a field of NULs": Bad({"a\0b": 3}, "unknown field", at("/a\0b")),
    "a field with a pointer's signs": Bad({"a/~b": 3}, "unknown field", at("/a~1~0b")),
    "a target excluded": Bad(
        {"features": {"exclude": ["price"]}}, "is the target", at("/features/exclude/0")
    ),
    "everything excluded": Bad(
        {"features": {"exclude": ["area", "rooms", "street"]}}, "no column is left", at("/features")
    ),
    "an absent exclusion": Bad({"features": {"exclude": ["x"]}}, "'x'", at("/features/exclude/0")),
    "exclusions in words": Bad({"features": {"exclude": "x"}}, "list", at("/features/exclude")),
    "a number excluded": Bad({"features": {"exclude": [1]}}, "string", at("/features/exclude/0")),
    "features of words": Bad({"features": "all"}, "must be", at("/features")),
    "an absent target": Bad({"target": "prize"}, "area, rooms, street, price", at("/target")),
    "a target in another case": Bad({"target": "Price"}, "price", at("/target")),
    "a number of words": Bad({"target": "street", "task": "regression"}, "words", at("/target")),
    "a target by number": Bad({"target": 3}, "valid string", at("/target")),
    "two targets": Bad({"target": ["price", "area"]}, "valid string", at("/target")),
    "an empty target": Bad({"target": ""}, "at least 1 character", at("/target")),
    "no target": Bad({"target": None}, "valid string", at("/target")),
    "an absent dataset": Bad({"dataset_id": "ds_none"}, "ds_none", at("/dataset_id"), 404),
    "a dataset elsewhere": Bad({"dataset_id": "../../etc/passwd"}, "pattern", at("/dataset_id")),
    "a dataset of SQL": Bad({"dataset_id": "' OR 1=1 --"}, "pattern", at("/dataset_id")),
    "a dataset by number": Bad({"dataset_id": 5}, "valid string", at("/dataset_id")),
    "fewer groups than folds": Bad(
        {"folds": {"type": "group", "column": "street"}, "k": 5},
        "'street' has 3 groups, and 5 folds need 5",
        at("/folds/column"),
    ),
    "groups without a column": Bad({"folds": {"type": "group"}}, "need a column", at("/folds")),
    "groups of an absent column": Bad(
        {"folds": {"type": "group", "column": "x"}}, "'x'", at("/folds/column")
    ),
    "groups of the target": Bad(
        {"folds": {"type": "group", "column": "price"}}, "the target", at("/folds/column")
    ),
    "a time of words": Bad(
        {"folds": {"type": "time", "column": "street"}}, "no order in time", at("/folds/column")
    ),
    "other folds": Bad({"folds": {"type": "x"}}, "'shuffled', 'stratified'", at("/folds/type")),
    "a holdout of all": Bad({"holdout": {"fraction": 1}}, HALF, at("/holdout/fraction")),
    "a holdout of nothing": Bad({"holdout": {"fraction": 0}}, HALF, at("/holdout/fraction")),
    "a negative holdout": Bad({"holdout": {"fraction": -1}}, HALF, at("/holdout/fraction")),
    "a holdout of words": Bad({"holdout": "some"}, "must be", at("/holdout")),
    "no patience": Bad(
        {"early_stopping": {"patience": 0}}, "at least 1", at("/early_stopping/patience")
    ),
    "all watched": Bad({"early_stopping": {"fraction": 1}}, HALF, at("/early_stopping/fraction")),
    "no batch": Bad({"batch_size": 0}, "at least 1 and at most 65536", at("/batch_size")),
    "a batch of 10^9": Bad({"batch_size": 10**9}, "at most 65536", at("/batch_size")),
    "no epoch": Bad({"max_epochs": 0}, "at least 1 and at most 10000", at("/max_epochs")),
    "10^9 epochs": Bad({"max_epochs": 10**9}, "at most 10000", at("/max_epochs")),
    "no members": Bad(
        {"members_per_fold": 0}, "at least 1 and at most 64", at("/members_per_fold")
    ),
    "10^6 members": Bad({"members_per_fold": 10**6}, "at most 64", at("/members_per_fold")),
    "a negative seed": Bad({"seed": -1}, "at least 0", at("/seed")),
    "a seed of 2^64": Bad({"seed": 2**64}, "below", at("/seed")),
    "half a seed": Bad({"seed": 1.5}, "valid integer", at("/seed")),
    "another loss": Bad({"loss": "x"}, "'squared_error', 'absolute_error'", at("/loss")),
    "a loss by number": Bad({"loss": 3}, "'squared_error', 'absolute_error'", at("/loss")),
    "another imputation": Bad(
        {"preprocessing": {"numeric_missing": "x"}},
        "'mean', 'median', 'zero' or 'drop_rows'",
        at("/preprocessing/numeric_missing"),
    ),
    "another scaling": Bad(
        {"preprocessing": {"numeric_scaling": 5}},
        "'standard', 'robust', 'quantile' or 'none'",
        at("/preprocessing/numeric_scaling"),
    ),
    "another transform": Bad(
        {"preprocessing": {"target_transform": "sqrt"}},
        "'log' or 'none'",
        at("/preprocessing/target_transform"),
    ),
    "another optimizer": Bad(
        {"optimizer": {"name": "x"}}, "'adam', 'adamw'", at("/optimizer/name")
    ),
    "a negative rate": Bad({"optimizer": {"lr": -1}}, "above 0", at("/optimizer/lr")),
    "a rate of 10^300": Bad({"optimizer": {"lr": 1e300}}, "at most", at("/optimizer/lr")),
    "another schedule": Bad(
        {"optimizer": {"schedule": "x"}}, "'cosine'", at("/optimizer/schedule")
    ),
    "no gradient": Bad(
        {"optimizer": {"gradient_clip": 0}}, "above 0", at("/optimizer/gradient_clip")
    ),
    "a negative decay": Bad({"wd": -1}, "at least 0 and at most", at("/wd")),
    "a decay of 10^300": Bad({"weight_decay": 1e300}, "at most", at("/weight_decay")),
    "an endless name": Bad({"name": "x" * 10_000}, "at most 200 characters", at("/name")),
    "a name with a NUL": Bad({"name": "a\0b"}, "pattern", at("/name")),
    "a name by number": Bad({"name": 5}, "valid string", at("/name")),
    "words as numbers": Bad(
        {"features": {"kinds": {"street": "numeric"}}}, "'street'", at("/features/kinds/street")
    ),
    "another kind": Bad(
        {"features": {"kinds": {"area": "x"}}},
        "'numeric' or 'categorical'",
        at("/features/kinds/area"),
    ),
    "a kind of an absent column": Bad({"features": {"kinds": {"x": "numeric"}}}, "'x'"),
}


@pytest.mark.parametrize("case", SPECS)
def test_specs(small: Stack, case: str) -> None:
    """422, or 413 where it is the size, naming the field and what it may be."""
    bad = SPECS[case]
    body = json.dumps({**SPEC, **bad.body}).encode()
    assert_all_refuse(small, body, bad.says, bad.status, **bad.place)


@pytest.mark.parametrize(
    "change",
    [mlp(hidden_sizes=[0]), embedding(bins=0), mlp(residual=1), {"k": 0}],
    ids=["widths", "bins", "unknown", "folds"],
)
def test_what_is_allowed_is_said_once(small: Stack, change: Json) -> None:
    """Whatever number of architectures has the field."""
    answer = small.http.post(PATHS[0], json={**SPEC, **change})
    (fault,) = answer.json()["errors"]
    assert_refused(small, answer, fault["detail"])
    assert fault["detail"].count("at most") <= 1
    assert fault["detail"].count("unknown field") <= 1


NUMBERS = {
    "dropout": "/dropout",
    "weight_decay": "/weight_decay",
    "k_folds": "/k_folds",
    "batch_size": "/batch_size",
    "max_epochs": "/max_epochs",
    "members_per_fold": "/members_per_fold",
    "seed": "/seed",
    "optimizer": "/optimizer/learning_rate",
    "holdout": "/holdout/fraction",
    "early_stopping": "/early_stopping/patience",
}


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", '"NaN"'])
@pytest.mark.parametrize("field", NUMBERS)
def test_numbers_that_are_none(small: Stack, field: str, literal: str) -> None:
    """What JSON has no word for by line and column, what overflows by its pointer."""
    inner = NUMBERS[field].rpartition("/")[2]
    value = literal if inner == field else f'{{"{inner}": {literal}}}'
    body = f'{{"dataset_id": "latest", "target": "price",\n"{field}": {value}}}'.encode()
    if literal.strip("-") in ("NaN", "Infinity"):
        assert_all_refuse(small, body, "line 2 column", 422)
    else:
        assert_all_refuse(small, body, "must be a", 422, pointer=NUMBERS[field])


TOO_BIG: dict[str, Json] = {
    "three layers of 16384": mlp(hidden_sizes=[16384] * 3),
    "sixteen layers of 16384": mlp(hidden_sizes=[16384] * 16),
    "64 members of 4096 units": {**mlp(hidden_sizes=[4096, 4096]), "members_per_fold": 64},
    "50 folds of 8192 units": {**mlp(hidden_sizes=[8192, 8192]), "k_folds": 50},
    "TabM of 8192 units": {"architecture": {"type": "tabm", "hidden_sizes": [8192] * 4}},
}


@pytest.mark.parametrize("case", TOO_BIG)
def test_what_does_not_fit_into_memory(small: Stack, case: str) -> None:
    """Refused with its estimate and the limit, in bytes, before anything is allocated."""
    body = {**SPEC, **TOO_BIG[case]}
    limit = f"bytes of memory, above max_job_memory_bytes, {MAX_MEMORY:,}"
    assert_all_refuse(small, json.dumps(body).encode(), limit, 422, pointer="/architecture")
    detail = small.http.post(PATHS[0], json=body).json()["detail"]
    estimate = int(detail.split(" bytes of memory")[0].split()[-1].replace(",", ""))
    assert estimate > MAX_MEMORY


BODIES: dict[str, Bad] = {
    "nothing": Bad(b"", "JSON body is required", at("")),
    "half a word": Bad(b"nul", "line 1 column 3"),
    "null": Bad(b"null", "must be a JSON object", at("")),
    "a list": Bad(b"[]", "must be", at("")),
    "a number": Bad(b"5", "must be", at("")),
    "words": Bad(b'"spec"', "must be", at("")),
    "an empty object": Bad(b"{}", "is required", at("/target")),
    "half an object": Bad(b'{"target": "price", ', "line 1 column"),
    "two objects": Bad(b"{} {}", "line 1 column 4"),
    "single quotes": Bad(b"{'target': 1}", "line 1 column 2"),
    "a trailing comma": Bad(b'{"seed": 1,}', "trailing comma at line 1 column"),
    "latin-1": Bad(b'{"name": "\xe9"}', "line 1 column"),
    "a lone surrogate": Bad(b'{"name": "\\ud800"}', "line 1 column"),
    "UTF-16": Bad('{"seed": 1}'.encode("utf-16"), "line 1 column 1"),
    "100,000 lists deep": Bad(b"[" * 100_000, "recursion limit"),
    "40,000 objects deep": Bad(b'{"a":' * 40_000, "recursion limit"),
    "150 objects deep": Bad(b'{"a":' * 150 + b"1" + b"}" * 150, "unknown field", at("/a")),
    "a deep field": Bad(
        b'{"dropout":' + b"[" * 150 + b"]" * 150 + b"}", "valid number", at("/dropout")
    ),
    "a number of 100,000 digits": Bad(b'{"seed": ' + b"9" * 100_000 + b"}", "number out of range"),
    "300 KB of words": Bad(b'{"name": "' + b"x" * 300_000 + b'"}', "262144 bytes", status=413),
    "20 MB of spaces": Bad(b" " * 20_000_000, "the limit for a spec", status=413),
    "20 MB of lists": Bad(b"[" * 20_000_000, "the limit for a spec", status=413),
    "18,000 unknown fields": Bad(
        json.dumps({f"f{i}": 1 for i in range(18_000)}).encode(), "unknown field", at("/f0")
    ),
}


@pytest.mark.parametrize("case", BODIES)
def test_bodies(small: Stack, case: str) -> None:
    """What is no JSON by line and column, what is too large by its limit."""
    bad = BODIES[case]
    assert_all_refuse(small, bad.body, bad.says, bad.status, **bad.place)


@pytest.mark.parametrize("media_type", ["", "text/csv", "application/x-www-form-urlencoded"])
def test_other_media_types(small: Stack, media_type: str) -> None:
    """Refused with the one that is read."""
    headers = {"Content-Type": media_type} if media_type else {}
    for path in PATHS:
        answer = small.http.post(path, content=json.dumps(SPEC).encode(), headers=headers)
        assert 400 <= answer.status_code < 500
        assert_refused(small, answer, "application/json", answer.status_code)
    assert jobs(small) == 0


def test_a_good_spec_after_all(small: Stack) -> None:
    """Valid and queued, after all of the above."""
    for path, status in zip(PATHS, (200, 202), strict=True):
        answer = small.http.post(path, json=SPEC)
        assert answer.status_code == status, answer.text
    small.cancel(answer.json()["id"]).raise_for_status()
    assert_lives(small)
