"""The child's side of a training run: what it reports and is asked, and the call of the run."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import asdict
from typing import Any, BinaryIO, TextIO

import torch
from pydantic import TypeAdapter

from app.jobs.starts import fetched
from app.storage.blobs import ArtifactCorrupt, Blobs, file_sha256
from app.storage.tables import ShardKind
from models import experiment
from models.artifacts import EarlierModel, trial_file
from models.callbacks import Callbacks, Progress
from models.epochs import FoldEpoch
from models.experiment import Context
from models.export.exporter import exported
from models.report.run import Names
from models.spec import TrainingSpec
from models.spec.sweep import SweepSpec
from models.tables.profile import Profile
from models.training.lanes import LaneDied
from models.training.runs import is_out_of_memory
from models.trials.batch import Trial, train_batch
from models.trials.conclusion import Candidate, conclude
from workers.checkpoints import Checkpoints
from workers.protocol import (
    REQUEST,
    Failed,
    Hindered,
    LastReport,
    Order,
    Progressed,
    Report,
    Stop,
    Stopped,
    StopReason,
    Succeeded,
    describe_os_error,
)

logger = logging.getLogger(__name__)

EPOCHS = TypeAdapter(list[FoldEpoch])

OUT_OF_MEMORY = (
    "The training device does not have enough memory for a single network of this size and its "
    "batch. Use a smaller batch_size or smaller hidden_sizes."
)

START_DELETED = (
    "{} was deleted before the job began to start from it. Submit the job again from another "
    "model, or without initialize_from."
)


class SupervisedRun(Callbacks):
    """Reports to the supervisor and obeys its requests.

    A checkpoint also holds the reported epochs that are not in the database yet, as far as the
    child knows. If the supervisor is killed, or cut off, before it has stored them, they are not
    lost: the next attempt does not train them again.
    """

    def __init__(self, reports: TextIO, checkpoints: Checkpoints) -> None:
        self._reports = reports
        self._checkpoints = checkpoints
        self._progress: dict[str, Any] = {}
        self._epochs: list[FoldEpoch] = []  # without the first `_stored` that were reported
        self._stored = 0
        self._stop: StopReason | None = None

    def obey(self, orders: BinaryIO) -> None:
        """Receive requests; runs in a thread."""
        for line in orders:
            request = REQUEST.validate_json(line)
            if isinstance(request, Stop):
                self._stop = request.reason
            else:
                del self._epochs[: request.epochs - self._stored]
                self._stored = request.epochs

    def send(self, report: Report) -> None:
        self._reports.write(report.model_dump_json() + "\n")
        self._reports.flush()

    def report(self, progress: Progress, epochs: list[FoldEpoch]) -> None:
        self._progress = asdict(progress)
        self._report(epochs)

    def stop_requested(self) -> StopReason | None:
        return self._stop

    def save_checkpoint(self, data: bytes) -> None:
        epochs = EPOCHS.dump_json([*self._epochs])
        try:
            self._checkpoints.save(epochs + b"\n" + data)
        except OSError as error:
            logger.warning("no checkpoint this time, training continues: %s", error)

    def checkpoints(self) -> Iterator[bytes]:
        for checkpoint in self._checkpoints.newest_first():
            epochs, _, data = checkpoint.partition(b"\n")
            self._report(EPOCHS.validate_json(epochs))
            yield data

    def _report(self, epochs: list[FoldEpoch]) -> None:
        self._epochs += epochs
        self.send(Progressed(progress=self._progress, epochs=epochs))


def train(order: Order, supervised: SupervisedRun, blobs: Blobs) -> LastReport:
    """Carry out the order. An exception ends only this attempt, and another follows."""
    spec = TrainingSpec.model_validate(order.spec)
    if spec.initialize_from is not None and order.start is None:
        return Failed(detail=START_DELETED.format(spec.initialize_from))
    try:
        with (
            blobs.local_copy(order.parquet, order.parquet_sha256) as parquet,
            nullcontext() if order.start is None else fetched(order.start, blobs) as earlier,
        ):
            context = Context(
                parquet=parquet,
                profile=Profile.model_validate(order.profile),
                names=Names(order.job_id, order.job_name, order.dataset_name),
                dataset_sha256=order.dataset_sha256,
                parquet_sha256=order.parquet_sha256 or file_sha256(parquet),
                workdir=order.workdir,
                device=resolve_device(order.device, order.gpu),
                callbacks=supervised,
            )
            return _carried_out(order, context, spec, blobs, earlier)
    except experiment.Stopped as stopped:
        return Stopped(reason=stopped.reason)
    except experiment.TrainingFailed as failure:
        return Failed(detail=str(failure))
    except ArtifactCorrupt as damage:
        return Failed(detail=f"{damage}. Restore it from a backup, and retry the job.")
    except LaneDied as death:
        if death.signal is not None:  # the supervisor explains it to the user
            os.kill(os.getpid(), death.signal)
        raise
    except OSError as error:
        logger.exception("the run failed because of the machine")
        return Hindered(detail=describe_os_error(error))
    except Exception as error:
        if is_out_of_memory(error):
            return Failed(detail=OUT_OF_MEMORY)
        # The same spec on the same table would fail again, so another attempt is useless.
        logger.exception("the training code failed")
        return Failed(
            detail=f"The training code failed with {type(error).__name__}: {error}. This is a bug "
            "in foldhouse, not a fault of the spec. The worker's log has the traceback."
        )


def _carried_out(
    order: Order,
    context: Context,
    spec: TrainingSpec,
    blobs: Blobs,
    earlier: EarlierModel | None,
) -> Succeeded:
    """The work of a job's only shard, of a batch of a sweep's trials, or of a sweep's last shard.

    Raises
    ------
    Stopped, TrainingFailed: as `models.experiment.run`.
    ArtifactCorrupt: of a trial's file.
    """
    match order.kind:
        case ShardKind.JOB:
            outcome = experiment.run(context, spec, earlier)
            return Succeeded(result=outcome.result, artifacts=outcome.artifacts)
        case ShardKind.BATCH:
            trials = [
                Trial(number, TrainingSpec.model_validate(own)) for number, own in order.trials
            ]
            halving = SweepSpec.model_validate(order.sweep).halving
            batch = train_batch(context, spec, trials, halving)
            result = {"trials": batch.rows, "seconds": batch.seconds}
            return Succeeded(result=result, artifacts=batch.artifacts)
        case ShardKind.MODEL:
            with ExitStack() as stack:
                candidates = []
                for file in order.files:
                    name = trial_file(file.number)
                    path = blobs.local_artifact(file.folder, name, file.sha256)
                    own = TrainingSpec.model_validate(file.spec)
                    size = file.result["bytes"]
                    candidates.append(Candidate(file.number, own, size, stack.enter_context(path)))
                sweep = SweepSpec.model_validate(order.sweep)
                outcome = conclude(context, spec, sweep, candidates)
            return Succeeded(result=outcome.result, artifacts=outcome.artifacts)


def resolve_device(device: str, gpu: int | None) -> str:
    """torch's name of the device, `cuda:1` for the second visible GPU.

    By index: children of all slots are forked from one process, with one CUDA_VISIBLE_DEVICES.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise experiment.TrainingFailed(
            "FOLDHOUSE_DEVICE is cuda, but this worker's torch finds no CUDA device. Set it "
            "to auto or cpu, or fix the driver."
        )
    return f"cuda:{gpu or 0}" if available and device != "cpu" else "cpu"


def warm_up() -> None:
    """Export an identity network, because the exporter's first use imports for seconds."""
    exported(torch.nn.Identity(), (torch.zeros(1),), inputs=["x"])
