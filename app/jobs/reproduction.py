"""Whether a job that was trained again came to the same numbers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session, aliased

from app.jobs.results import Numbers
from app.storage.tables import EpochMetric, Job, Model
from models import artifacts
from models.epochs import FLAT_COLUMNS

FILES = {artifacts.OUT_OF_FOLD: "out-of-fold predictions", artifacts.WEIGHTS: "weights"}
# Of a receipt: what may explain a difference.
SURROUNDINGS = ("versions", "device", "threads")


def compare(
    session: Session, job: Job, result: dict[str, Any], files: dict[str, str]
) -> dict[str, Any]:
    """A finished run beside the job that it reproduces, number by number, bit by bit. Of one that
    another installation trained, only the result is known.

    Returns
    -------
    of : the other job's id
    elsewhere : whether another installation trained it
    equal : whether every number is equal; null if the other job has been deleted
    differs : what is not equal
    surroundings : parts of the receipt that are not equal
    """
    found: dict[str, Any] = {
        "of": job.reproduces,
        "elsewhere": job.reference is not None,
        "equal": None,
        "differs": [],
        "surroundings": [],
    }
    if job.reference is not None:
        reference, differs = job.reference, []
    else:
        other = session.get(Job, job.reproduces)
        if other is None or other.result is None:
            return found
        reference, differs = other.result, _differing_files(session, job, other, files)
    differs = _differing_numbers(result, reference) + differs
    ours, theirs = result["receipt"], reference["receipt"]
    surroundings = [part for part in SURROUNDINGS if ours.get(part) != theirs.get(part)]
    return found | {"equal": not differs, "differs": differs, "surroundings": surroundings}


def _differing_numbers(result: dict[str, Any], reference: dict[str, Any]) -> list[str]:
    one, other = Numbers.model_validate(result), Numbers.model_validate(reference)
    return [name for name in Numbers.model_fields if getattr(one, name) != getattr(other, name)]


def _differing_files(session: Session, job: Job, other: Job, files: dict[str, str]) -> list[str]:
    """Of what is stored beside the results."""
    differs = ["epochs"] if _epochs_differ(session, job.id, other.id) else []
    known = session.scalar(select(Model.artifacts).where(Model.job_id == other.id)) or {}
    return differs + [words for name, words in FILES.items() if files.get(name) != known.get(name)]


def _epochs_differ(session: Session, one: str, other: str) -> bool:
    ours, theirs = aliased(EpochMetric), aliased(EpochMetric)
    same = and_(
        ours.shard == theirs.shard,
        *(getattr(ours, name).is_not_distinct_from(getattr(theirs, name)) for name in FLAT_COLUMNS),
    )
    matching = (
        select(func.count())
        .select_from(ours)
        .join(theirs, same)
        .where(ours.job_id == one, theirs.job_id == other)
    )
    rows = select(func.count()).select_from(EpochMetric)
    counts = [
        session.scalar(query) or 0
        for query in (
            matching,
            rows.where(EpochMetric.job_id == one),
            rows.where(EpochMetric.job_id == other),
        )
    ]
    return len(set(counts)) > 1
