"""An alias moves to a model only when that is better than another."""

from __future__ import annotations

from typing import Any

from app.errors import Conflict
from app.jobs.tables import OOF_FILE
from app.registry import repository, service
from app.storage.blobs import Blobs
from app.storage.database import Database
from app.storage.tables import Alias, Model
from models.evaluation.comparison import Comparison, compare


def put_if_better(
    database: Database, blobs: Blobs, tenant: str, name: str, reference: str, than: str
) -> tuple[Alias, Comparison]:
    """Point an alias at the model `reference` if it errs less than the model `than`, both by id or
    alias.

    Raises
    ------
    NotFound, Invalid: as `service.put_alias` does; `than` is unknown.
    Conflict: it does not, the two cannot be compared, or `than` moved meanwhile.
    ArtifactCorrupt
    """
    with database.reading() as session:
        challenger = repository.get(session, tenant, reference)
        champion = repository.get(session, tenant, than)
    # Between the transactions: on SQLite who reads files in one can hold writers up.
    comparison = _compare(challenger, champion, blobs)
    if not comparison.is_better:
        raise Conflict(
            f"'{name}' was not moved: {challenger.id} is not better than {champion.id}. On the "
            f"{comparison.rows} rows for which both have out-of-fold predictions, "
            f"{comparison.metric} is {comparison.challenger:.6g} for {challenger.id} and "
            f"{comparison.champion:.6g} for {champion.id}."
        )
    with database.writing() as session:
        repository.lock_alias(session, tenant, than)
        if repository.get(session, tenant, than).id != champion.id:
            raise Conflict(
                f"'{than}' was moved away from {champion.id} while {challenger.id} was compared "
                "with it: try again."
            )
        return service.put_alias(session, tenant, name, challenger.id), comparison


def _compare(challenger: Model, champion: Model, blobs: Blobs) -> Comparison:
    """Raises Conflict where there is nothing to compare, ArtifactCorrupt."""
    pair = f"{challenger.id} and {champion.id} cannot be compared"
    if challenger.id == champion.id:
        raise Conflict(f"{challenger.id} cannot be better than itself.")
    if challenger.dataset_id != champion.dataset_id:
        raise Conflict(
            f"{pair}: one was trained on {challenger.dataset_id}, the other on "
            f"{champion.dataset_id}. Train both on one dataset."
        )
    if challenger.target != champion.target:
        raise Conflict(
            f"{pair}: one predicts '{challenger.target}', the other '{champion.target}'."
        )
    ours = service.manifest(challenger, blobs).spec["folds"]
    theirs = service.manifest(champion, blobs).spec["folds"]
    if (ours["type"], ours["column"]) != (theirs["type"], theirs["column"]):
        raise Conflict(
            f"{pair}: one was scored on {_folds(ours)} folds, the other on {_folds(theirs)} ones, "
            "and what is hard for one kind is easy for another. Train both with the same folds."
        )
    comparison = compare(
        service.read_file(challenger, blobs, OOF_FILE), service.read_file(champion, blobs, OOF_FILE)
    )
    if comparison is None:
        raise Conflict(f"{pair}: no row has an out-of-fold prediction of both.")
    return comparison


def _folds(folds: dict[str, Any]) -> str:
    return f"{folds['type']} ({folds['column']})" if folds["column"] else str(folds["type"])
