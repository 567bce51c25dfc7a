"""Moves an alias to a model only if that is better than another, by more than chance explains."""

from __future__ import annotations

from app.errors import Conflict
from app.registry import repository, service, versions
from app.storage.blobs import Blobs
from app.storage.database import Database
from app.storage.tables import Alias, Model
from models import artifacts
from models.evaluation.comparison import Z_95, Comparison, compare
from models.objectives import OBJECTIVES
from models.serving.manifest import Manifest
from models.tables.wording import rounded_text


def put_if_better(
    database: Database,
    blobs: Blobs,
    tenant: str,
    name: str,
    reference: str,
    than: str,
    *,
    force: bool,
    if_match: str | None,
) -> tuple[Alias, str, Comparison]:
    """Point an alias at the model `reference` if its error is lower than that of the model `than`,
    by more than chance explains. Both are ids or aliases. With `force`, compare them, but move the
    alias in any case. Returns the alias, its version and the comparison.

    Raises
    ------
    NotFound, Invalid: as `service.put_alias`, or `than` is unknown.
    Conflict: it is not better, the two cannot be compared, or `than` was moved in the meantime.
    PreconditionFailed: the alias has another version than `if_match`.
    ArtifactCorrupt
    """
    with database.reading() as session:
        challenger = repository.get(session, tenant, reference)
        champion = repository.get(session, tenant, than)
    # Between the transactions, because on SQLite reading files inside one can block writers.
    found = comparison(challenger, champion, blobs)
    if not found.is_better and not force:
        raise Conflict(
            f"'{name}' was not moved: {challenger.id} is not better than {champion.id} by more "
            f"than chance explains. On the {found.rows} rows for which both have out-of-fold "
            f"predictions, {found.metric} is {rounded_text(found.challenger, 6)} for "
            f"{challenger.id} and {rounded_text(found.champion, 6)} for {champion.id}. The "
            f"difference is {rounded_text(found.difference, 3)}. It must exceed {Z_95:g} "
            f"standard errors of {rounded_text(found.standard_error, 3)}. `force` moves the "
            "alias anyway."
        )
    with database.writing() as session:
        versions.require(session, tenant, name, if_match)
        repository.lock_alias(session, tenant, than)
        if repository.get(session, tenant, than).id != champion.id:
            raise Conflict(
                f"'{than}' was moved to another model while {challenger.id} was compared with "
                f"{champion.id}. Try again."
            )
        moved = service.put_alias(session, tenant, name, challenger.id, force=force)
        return moved, repository.version(session, tenant, name), found


def comparison(challenger: Model, champion: Model, blobs: Blobs) -> Comparison:
    """Of their out-of-fold errors, row by row; raises Conflict if the two cannot be compared, and
    ArtifactCorrupt."""
    pair = f"{challenger.id} and {champion.id} cannot be compared"
    if challenger.id == champion.id:
        raise Conflict(f"{challenger.id} cannot be better than itself.")
    if challenger.target != champion.target:
        raise Conflict(
            f"{pair}: one predicts '{challenger.target}', the other '{champion.target}'."
        )
    if challenger.dataset_id != champion.dataset_id:
        raise Conflict(
            f"{pair}: one was trained on {challenger.dataset_id}, the other on "
            f"{champion.dataset_id}. Train both on one dataset."
        )
    ours, theirs = service.manifest(challenger, blobs), service.manifest(champion, blobs)
    if ours.task != theirs.task:
        raise Conflict(f"{pair}: one is a {ours.task}, the other a {theirs.task}.")
    objective = OBJECTIVES[ours.task]
    if (difference := objective.unlike(ours, theirs)) is not None:
        raise Conflict(f"{pair}: {difference}.")
    first, second = _folds(ours), _folds(theirs)
    if first != second:
        raise Conflict(
            f"{pair}: one was scored on {first}, the other on {second}, which are not equally "
            "hard. Train both with the same folds."
        )
    found = compare(
        service.read_file(challenger, blobs, artifacts.OUT_OF_FOLD),
        service.read_file(champion, blobs, artifacts.OUT_OF_FOLD),
        objective.yardstick(ours, theirs),
    )
    if found is None:
        raise Conflict(f"{pair}: no row has an out-of-fold prediction from both.")
    return found


def _folds(manifest: Manifest) -> str:
    """What decides how hard the scored rows are. The seed does not: it only assigns rows."""
    folds, holdout = manifest.spec["folds"], manifest.spec["holdout"]
    by = f" by '{folds['column']}'" if folds["column"] else ""
    aside = f" with a holdout of {holdout['fraction']:g}" if holdout else ""
    return f"{folds['type']} folds{by}{aside}"
