"""The cache of loaded models."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx
import pytest
from house_api import write_artifacts
from prometheus_client import Histogram

from app.predictions.predictors import Predictors
from app.storage.blobs import ArtifactCorrupt, Blobs
from app.storage.tables import Model
from models.serving.predictor import SESSION_BYTES

TWO_MODELS = 5 * SESSION_BYTES // 2  # their weights are a few bytes


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "storage"))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read."""
    names: list[str] = []
    read = Blobs.read_artifact

    def noting(self: Blobs, job_id: str, name: str, sha256: str) -> bytes:
        names.append(name)
        return read(self, job_id, name, sha256)

    monkeypatch.setattr(Blobs, "read_artifact", noting)
    return names


def cache(blobs: Blobs, capacity: int = TWO_MODELS) -> Predictors:
    return Predictors(blobs, capacity, Histogram("load_seconds", "Loads.", registry=None))


def model(blobs: Blobs, folder: Path, model_id: str, padding: int = 0) -> Model:
    """`padding`: bytes that its file has beside the weights."""
    paths = write_artifacts(folder)
    core = onnx.load(folder / "core.onnx")
    core.doc_string = "x" * padding
    onnx.save(core, folder / "core.onnx")
    files = {path.name: blobs.put_artifact("job_1", path) for path in paths}
    return Model(id=model_id, job_id="job_1", artifacts=files)


def test_many_threads_load_a_model_once(blobs: Blobs, tmp_path: Path, reads: list[str]) -> None:
    one = model(blobs, tmp_path, "mdl_1")
    predictors = cache(blobs)
    together = threading.Barrier(8)

    def get(_: int) -> int:
        together.wait(timeout=10)
        return id(predictors.get(one))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(get, range(8)))) == 1
    assert reads.count("core.onnx") == 1


def test_the_least_recently_used_makes_way(blobs: Blobs, tmp_path: Path, reads: list[str]) -> None:
    a, b, c = (model(blobs, tmp_path, f"mdl_{name}") for name in "abc")
    predictors = cache(blobs)

    for wanted in (a, b, a, c, a):
        predictors.get(wanted)
    assert reads.count("core.onnx") == 3
    predictors.get(b)
    assert reads.count("core.onnx") == 4


def test_one_that_is_ready_is_used(blobs: Blobs, tmp_path: Path, reads: list[str]) -> None:
    """Single rows ask only whether their model is ready; it must not make way for an idle one."""
    a, b, c = (model(blobs, tmp_path, f"mdl_{name}") for name in "abc")
    predictors = cache(blobs)

    for wanted in (a, b):
        predictors.get(wanted)
    assert predictors.ready(a) is not None
    predictors.get(c)
    assert predictors.ready(a) is not None
    assert predictors.ready(b) is None
    assert reads.count("core.onnx") == 3


def test_a_heavy_one_takes_the_place_of_several(
    blobs: Blobs, tmp_path: Path, reads: list[str]
) -> None:
    a, b = (model(blobs, tmp_path, f"mdl_{name}") for name in "ab")
    heavy = model(blobs, tmp_path, "mdl_heavy", padding=SESSION_BYTES // 2)
    predictors = cache(blobs)

    for wanted in (a, b, heavy):
        predictors.get(wanted)
    assert [predictors.ready(one) is not None for one in (a, b, heavy)] == [False, False, True]
    predictors.get(heavy)
    assert reads.count("core.onnx") == 3


def test_one_larger_than_the_cache_is_kept_alone(
    blobs: Blobs, tmp_path: Path, reads: list[str]
) -> None:
    a, b = (model(blobs, tmp_path, f"mdl_{name}") for name in "ab")
    predictors = cache(blobs, SESSION_BYTES // 2)

    for wanted in (a, a, b, b):
        predictors.get(wanted)
    assert predictors.ready(a) is None
    assert predictors.ready(b) is not None
    assert reads.count("core.onnx") == 2


def test_a_failure_is_not_kept(blobs: Blobs, tmp_path: Path) -> None:
    one = model(blobs, tmp_path, "mdl_1")
    good, one.artifacts = one.artifacts, one.artifacts | {"core.onnx": "0" * 64}
    predictors = cache(blobs)

    with pytest.raises(ArtifactCorrupt):
        predictors.get(one)
    one.artifacts = good
    assert predictors.get(one).manifest.target == "Price"
