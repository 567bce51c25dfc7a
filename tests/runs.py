"""Training runs without a worker around them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from houses import Case

from models import artifacts
from models.epochs import FoldEpoch
from models.experiment import Context, Outcome, Progress, StopReason, run
from models.report.run import Names

SHA256 = "0" * 64
NAMES = Names("job_1", None, "houses.csv")


class FakeCallbacks:
    """Keeps what it is told, and asks to stop after a number of questions."""

    def __init__(
        self,
        stop: StopReason | None = None,
        after: int = 0,
        earlier: list[bytes] | None = None,
    ) -> None:
        self.stop = stop
        self.left = after
        self.earlier = earlier or []
        self.progress: list[Progress] = []
        self.rows: list[FoldEpoch] = []
        self.saved: list[bytes] = []

    def report(self, progress: Progress, rows: list[FoldEpoch]) -> None:
        self.progress.append(progress)
        self.rows += rows

    def stop_requested(self) -> StopReason | None:
        self.left -= 1
        return self.stop if self.left < 0 else None

    def save_checkpoint(self, data: bytes) -> None:
        self.saved.append(data)

    def checkpoints(self) -> Iterator[bytes]:
        yield from self.earlier


def exported_as(monkeypatch: pytest.MonkeyPatch, before: Outcome) -> None:
    """Runs from here on write the graph of an equal run instead of their own, and check it against
    their own predictions: torch's exporter takes four seconds of a core. They have its report,
    which takes one."""
    graph = onnx.load(before.artifacts["core.onnx"])
    report = {name: before.artifacts[name] for name in (artifacts.REPORT, artifacts.CHARTS)}
    monkeypatch.setattr("models.experiment.core_graph", lambda *_: graph)
    monkeypatch.setattr("models.experiment.write_report", lambda *_: report)


def context_of(case: Case, workdir: Path, callbacks: FakeCallbacks | None = None) -> Context:
    workdir.mkdir(exist_ok=True)
    return Context(
        parquet=case.parquet,
        profile=case.profile,
        names=NAMES,
        dataset_sha256=SHA256,
        parquet_sha256=SHA256[::-1],
        workdir=workdir,
        device="cpu",
        callbacks=callbacks or FakeCallbacks(),
    )


def start(case: Case, workdir: Path, callbacks: FakeCallbacks | None = None) -> Outcome:
    return run(context_of(case, workdir, callbacks), case.spec)
