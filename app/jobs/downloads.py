"""The two tables of a job: metrics by epoch, and out-of-fold predictions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import attrgetter

import pyarrow.parquet as pq
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.http.csv_text import Cell
from app.jobs import repository
from app.storage.blobs import Blobs
from app.storage.database import Database
from app.storage.tables import FINISHED, Job, Model, State
from models import artifacts
from models.evaluation.comparison import UNIT
from models.objectives import OBJECTIVES

BATCH_ROWS = 5_000
# Columns that are there for comparisons of models, and say nothing else.
COMPARED = {UNIT, *chain.from_iterable(objective.compared for objective in OBJECTIVES.values())}


def epoch_batches(
    database: Database, job_id: str, columns: Sequence[str]
) -> Iterator[Sequence[Sequence[Cell]]]:
    """Epochs in the order of shard, fold and epoch, with a short transaction for each batch."""
    cells = attrgetter(*columns)
    after = (-1, -1, -1)
    while True:
        with database.reading() as session:
            rows = repository.epochs(session, job_id, after, BATCH_ROWS)
        yield [cells(row) for row in rows]
        if len(rows) < BATCH_ROWS:
            return
        after = (rows[-1].shard, rows[-1].fold, rows[-1].epoch)


def model_of(session: Session, job: Job, wanted: str) -> Model:
    """The model in the job's result, whose files have what is `wanted`.

    Raises
    ------
    NotFound: the job has no model yet, will never have one, or its model was deleted.
    """
    model = session.get(Model, job.result["model_id"]) if job.result else None
    if model is None:
        if job.status not in FINISHED:
            reason = f"is {job.status}, and can have that only when it has succeeded"
        elif job.status is State.SUCCEEDED:
            reason = (
                "had that until its model was deleted"
                if job.result
                else "ran as several shards, each with a model of its own"
            )
        else:
            reason = f"has {job.status}" if job.status is State.FAILED else "was cancelled"
        raise NotFound(f"There is no {wanted}: {job.id} {reason}.")
    return model


def out_of_fold(model: Model, blobs: Blobs) -> tuple[list[str], Iterator[Sequence[Sequence[Cell]]]]:
    """The names of the columns, and batches of rows; raises ArtifactCorrupt."""
    name = artifacts.OUT_OF_FOLD
    file = pq.ParquetFile(blobs.open_artifact(model.folder, name, model.artifacts[name]))
    columns = [column for column in file.schema_arrow.names if column not in COMPARED]
    return columns, _batches(file, columns)


def _batches(file: pq.ParquetFile, columns: list[str]) -> Iterator[Sequence[Sequence[Cell]]]:
    with file:
        for batch in file.iter_batches(BATCH_ROWS, columns=columns):
            cells = (batch[name].to_pylist() for name in columns)
            yield [tuple(map(_finite, row)) for row in zip(*cells, strict=True)]


def _finite(cell: Cell) -> Cell:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
