"""What a training run reports arrives at the supervisor, and what it keeps comes back."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch

from app.storage.blobs import Blobs
from models import experiment
from models.epochs import FoldEpoch
from models.experiment import Progress
from workers.checkpoints import Checkpoints
from workers.protocol import REPORT, Failed, Order, Progressed, Report, Stop, Stopped, Stored
from workers.training.run import OUT_OF_MEMORY, SupervisedRun, resolve_device, train

PROGRESS = Progress(0.5, 1, 2, folds_total=1, folds_active=1, eta_s=None)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "storage"))


def supervised_on(pipe: io.StringIO, blobs: Blobs, workdir: Path) -> SupervisedRun:
    return SupervisedRun(pipe, Checkpoints(blobs, "shd_1", workdir))


def row(epoch: int) -> FoldEpoch:
    return FoldEpoch(
        0,
        epoch,
        train_loss=0.5,
        validation_loss=None,
        learning_rate=1e-3,
        gradient_norm=2.0,
        dead_units=0.25,
        saturated_units=None,
    )


def sent(pipe: io.StringIO) -> list[Report]:
    return [REPORT.validate_json(line) for line in pipe.getvalue().splitlines()]


def test_progress(blobs: Blobs, tmp_path: Path) -> None:
    pipe = io.StringIO()
    supervised_on(pipe, blobs, tmp_path).report(PROGRESS, [row(1)])
    (report,) = sent(pipe)
    assert isinstance(report, Progressed)
    assert report.progress == {
        "fraction": 0.5,
        "epoch": 1,
        "max_epochs": 2,
        "folds_total": 1,
        "folds_active": 1,
        "eta_s": None,
    }
    assert report.epochs == [FoldEpoch(0, 1, 0.5, None, 1e-3, 2.0, 0.25, None)]


def test_a_checkpoint_brings_its_epochs_back(blobs: Blobs, tmp_path: Path) -> None:
    """The supervisor may have died, or been cut off, before it stored them."""
    first = supervised_on(io.StringIO(), blobs, tmp_path)
    first.report(PROGRESS, [row(1)])
    first.save_checkpoint(b"one")
    first.report(PROGRESS, [row(2), row(3)])
    first.obey(io.BytesIO(Stored(epochs=1).model_dump_json().encode() + b"\n"))
    first.save_checkpoint(b"state\nwith a line break")
    first.report(PROGRESS, [row(4)])

    pipe = io.StringIO()
    second = supervised_on(pipe, blobs, tmp_path)
    assert next(second.checkpoints()) == b"state\nwith a line break"
    (report,) = sent(pipe)
    assert isinstance(report, Progressed)
    assert [epoch.epoch for epoch in report.epochs] == [2, 3]

    # Cut off from the start, it has stored nothing of them either.
    second.report(PROGRESS, [row(4)])
    second.save_checkpoint(b"next")
    pipe = io.StringIO()
    assert next(supervised_on(pipe, blobs, tmp_path).checkpoints()) == b"next"
    (report,) = sent(pipe)
    assert isinstance(report, Progressed)
    assert [epoch.epoch for epoch in report.epochs] == [2, 3, 4]


def test_a_checkpoint_from_before_there_were_gradient_norms(blobs: Blobs, tmp_path: Path) -> None:
    """An upgrade fails no job that waits with one."""
    epochs = b'[{"fold":0,"epoch":1,"train_loss":0.5,"validation_loss":null,"learning_rate":0.001}]'
    Checkpoints(blobs, "shd_1", tmp_path).save(epochs + b"\nstate")

    pipe = io.StringIO()
    resumed = supervised_on(pipe, blobs, tmp_path)
    assert list(resumed.checkpoints()) == [b"state"]
    (report,) = sent(pipe)
    assert isinstance(report, Progressed)
    assert report.epochs == [FoldEpoch(0, 1, 0.5, None, 1e-3, None, None, None)]


def test_a_full_disk_does_not_end_the_run(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervised = supervised_on(io.StringIO(), blobs, tmp_path)
    supervised.report(PROGRESS, [row(1)])

    def full(_key: str, _source: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(blobs, "put", full)
        supervised.save_checkpoint(b"one")
    supervised.save_checkpoint(b"two")

    pipe = io.StringIO()
    assert list(supervised_on(pipe, blobs, tmp_path).checkpoints()) == [b"two"]
    (report,) = sent(pipe)
    assert isinstance(report, Progressed)
    assert [epoch.epoch for epoch in report.epochs] == [1]


def test_a_request_to_stop(blobs: Blobs, tmp_path: Path) -> None:
    supervised = supervised_on(io.StringIO(), blobs, tmp_path)
    assert supervised.stop_requested() is None
    supervised.obey(io.BytesIO(Stop(reason="release").model_dump_json().encode() + b"\n"))
    assert supervised.stop_requested() == "release"


@pytest.fixture
def order(tmp_path: Path) -> Order:
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "table.parquet").touch()
    profile = {"rows": 1, "columns": [], "suggestions": {"target": None, "exclude": []}}
    return Order(
        job_id="job_1",
        job_name=None,
        dataset_name="houses.csv",
        shard_id="shd_1",
        spec={"target": "price"},
        profile={**profile, "warnings": []},
        parquet="table.parquet",
        dataset_sha256="00",
        parquet_sha256=None,
        storage_url=str(tmp_path / "storage"),
        workdir=tmp_path,
        device="cpu",
        gpu=None,
    )


def test_a_table_that_was_replaced_is_not_trained_on(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "run", lambda *_, **__: pytest.fail("it was trained on"))
    blobs = Blobs(order.storage_url)
    supervised = supervised_on(io.StringIO(), blobs, order.workdir)
    report = train(order.model_copy(update={"parquet_sha256": "0" * 64}), supervised, blobs)
    assert isinstance(report, Failed)
    assert "table.parquet is missing from storage or was changed there" in report.detail
    assert "Restore it from a backup" in report.detail


def test_a_model_to_start_from_that_was_deleted(order: Order) -> None:
    blobs = Blobs(order.storage_url)
    supervised = supervised_on(io.StringIO(), blobs, order.workdir)
    spec = {**order.spec, "initialize_from": "mdl_1"}
    report = train(order.model_copy(update={"spec": spec}), supervised, blobs)
    assert isinstance(report, Failed)
    assert "mdl_1 was deleted" in report.detail


@pytest.mark.parametrize(
    ("raised", "report"),
    [
        (experiment.Stopped("release"), Stopped(reason="release")),
        (experiment.TrainingFailed("lower learning_rate"), Failed(detail="lower learning_rate")),
        (MemoryError(), Failed(detail=OUT_OF_MEMORY)),
        (torch.OutOfMemoryError("CUDA out of memory"), Failed(detail=OUT_OF_MEMORY)),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            Failed(detail=OUT_OF_MEMORY),
        ),
    ],
)
def test_how_a_run_can_end(
    raised: Exception,
    report: Report,
    order: Order,
    blobs: Blobs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(experiment, "run", run)
    assert train(order, supervised_on(io.StringIO(), blobs, tmp_path), blobs) == report


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    for available, device, gpu, resolved in (
        (True, "auto", None, "cuda:0"),
        (True, "auto", 1, "cuda:1"),
        (True, "cpu", None, "cpu"),
        (True, "cuda", 0, "cuda:0"),
        (False, "auto", None, "cpu"),
        (False, "cpu", None, "cpu"),
    ):
        monkeypatch.setattr("torch.cuda.is_available", lambda available=available: available)
        assert resolve_device(device, gpu) == resolved
    with pytest.raises(experiment.TrainingFailed, match="FOLDHOUSE_DEVICE"):
        resolve_device("cuda", None)
