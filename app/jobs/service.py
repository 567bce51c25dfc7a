"""Checks, submits, cancels and deletes jobs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from app.accounts import quotas
from app.datasets import repository as datasets
from app.datasets.profiles import Profiles
from app.errors import Conflict, Fault, InvalidSpec, NotFound
from app.http.json_text import to_pointer
from app.jobs import lifecycle, repository, starts
from app.jobs.admission import Room, largest_room, require_room
from app.jobs.repository import JobRow
from app.jobs.schemas import (
    EstimateOut,
    FeatureOut,
    JobCreate,
    ValidationOut,
)
from app.jobs.starts import Start
from app.registry import service as models
from app.resources import Resources
from app.settings import Settings
from app.storage import idempotency, removals
from app.storage.blobs import ArtifactCorrupt, Blobs, artifacts_key, checkpoints_key
from app.storage.database import Database
from app.storage.tables import FINISHED, Dataset, Job
from models.data.design import cell_faults, complete_spec, read_levels
from models.data.features import select
from models.objectives import REGRESSION, objective_of
from models.planning.estimate import Estimate, parameters
from models.planning.faults import SpecError, SpecFault
from models.planning.inherit import differences, inherit
from models.planning.resolve import resolve
from models.planning.review import review
from models.planning.review.started import review_start
from models.spec import TrainingSpec
from models.tables.profile import Profile
from models.tables.stored import TableDamaged

MOST_DETAIL = 500  # characters, of classes that a user named


@dataclass(frozen=True)
class Resolved:
    """A resolved spec that fits its table, the model that it starts from, and what a worker has."""

    dataset: Dataset
    profile: Profile
    spec: TrainingSpec
    start: Start | None
    room: Room


@dataclass(frozen=True)
class Plan(Resolved):
    """One that the workers have room for."""

    estimate: Estimate


def plan(resources: Resources, tenant: str, dataset_id: str, spec: TrainingSpec) -> Plan:
    """Resolve a spec, and check that the workers have room for it; raises as `resolved` does."""
    found = resolved(resources, tenant, dataset_id, spec)
    expected = require_room(found.spec, found.profile, found.room, resources.settings)
    return Plan(**vars(found), estimate=expected)


def resolved(resources: Resources, tenant: str, dataset_id: str, spec: TrainingSpec) -> Resolved:
    """Resolve a spec.

    Raises
    ------
    NotFound: there is no such dataset, or no such model to start from.
    InvalidSpec: the spec does not fit the table, or the workers.
    ArtifactCorrupt: the stored table is damaged.
    """
    settings = resources.settings
    # The table is read after the transaction, which on SQLite can block writers.
    with resources.database.reading() as session:
        try:
            dataset = datasets.get(session, tenant, dataset_id, profile=False)
        except NotFound as error:
            error.errors = [Fault(pointer="/dataset_id", detail=error.detail)]
            raise
        profile = resources[Profiles].get(session, dataset.id)
        room = largest_room(session, settings.slots or 1)
        reference = spec.initialize_from
        start = None if reference is None else starts.find(session, tenant, reference)
    try:
        if start is None:
            spec = resolve(spec, profile)
        else:
            spec = _resolve_start(resources.blobs, start, spec, dataset, profile)
    except SpecError as error:
        faults = [Fault(pointer=fault.pointer, detail=fault.detail) for fault in error.faults]
        raise InvalidSpec(f"{error}.", faults) from None
    objective = objective_of(spec)
    if objective.checks_cells:
        _refuse_cells(resources.blobs, dataset, spec)
    if not objective.is_complete(spec):
        spec = _complete_spec(resources.blobs, dataset, spec)
    return Resolved(dataset, profile, spec, start, room)


def validate(blobs: Blobs, found: Plan) -> ValidationOut:
    """What `submit` would train of a plan."""
    try:
        with blobs.local_copy(found.dataset.parquet, found.dataset.parquet_sha256) as parquet:
            warnings = review(found.spec, found.profile, parquet)
            if found.start is not None:
                with starts.fetched(found.start, blobs) as earlier:
                    warnings += review_start(found.spec, earlier, parquet)
    except TableDamaged as error:
        raise ArtifactCorrupt(found.dataset.parquet) from error
    return ValidationOut(
        valid=True,
        resolved_spec=found.spec.model_dump(mode="json"),
        features=[
            FeatureOut(name=feature.name, kind=feature.kind)
            for feature in select(found.spec, found.profile)
        ],
        parameters=parameters(found.spec, found.profile),
        estimate=EstimateOut(
            memory_bytes=found.estimate.memory_bytes, seconds=found.estimate.seconds
        ),
        warnings=warnings,
    )


@dataclass(frozen=True)
class Submission:
    """What a job has beside its spec and its table."""

    name: str | None
    priority: int = 0
    timeout_s: float | None = None


@dataclass(frozen=True)
class Submitted:
    """A queued job, or the one that an idempotency key stands for.

    `is_next`: no other job was waiting, so a worker may be free. Workers find jobs that queue up by
    polling.
    """

    row: JobRow
    is_next: bool


def submit(resources: Resources, tenant: str, body: JobCreate, key: str | None) -> Submitted:
    """Queue a job; raises as `plan` does, and TooManyQueued, OverQuota and IdempotencyMismatch."""
    database, settings = resources.database, resources.settings
    request = idempotency.fingerprint("POST /v1/jobs", body.model_dump_json())
    # Slow work is done before the write transaction.
    with database.reading() as session:
        known = idempotency.recall(session, tenant, key, request)
        if known is not None:
            return repeated(session, tenant, known, key)
    found = plan(resources, tenant, body.dataset_id, body.spec())
    own = Submission(body.name, body.priority, body.timeout_s)
    return enqueue(database, settings, tenant, own, found, key, request)


def retry(resources: Resources, tenant: str, job_id: str, key: str | None) -> Submitted:
    """Queue a new job with the same spec on the same table; raises as `submit` does."""
    database, settings = resources.database, resources.settings
    with database.reading() as session:
        old, _ = repository.get(session, tenant, job_id)
        request = idempotency.fingerprint("POST /v1/jobs/{job_id}/retry", old.id)
        known = idempotency.recall(session, tenant, key, request)
        if known is not None:
            return repeated(session, tenant, known, key)
    found = plan(resources, tenant, old.dataset_id, stored_spec(old))
    own = Submission(old.name, old.priority, old.timeout_s)
    return enqueue(database, settings, tenant, own, found, key, request)


def reproduce(resources: Resources, tenant: str, job_id: str, key: str | None) -> Submitted:
    """Queue a job that trains another's model again and compares every number; raises as `submit`
    does, and Conflict if there is nothing to compare with."""
    database, settings = resources.database, resources.settings
    with database.reading() as session:
        old, _ = repository.get(session, tenant, job_id)
        request = idempotency.fingerprint("POST /v1/jobs/{job_id}/reproduce", old.id)
        known = idempotency.recall(session, tenant, key, request)
        if known is not None:
            return repeated(session, tenant, known, key)
    if old.result is None:
        raise Conflict(f"Job {old.id} is {old.status} and has no numbers to reproduce.")
    found = plan(resources, tenant, old.dataset_id, stored_spec(old))
    # Without the time limit: what it left out could not be equal.
    own = Submission(old.name, old.priority)
    return enqueue(database, settings, tenant, own, found, key, request, reproduces=old.id)


def cancel(session: Session, tenant: str, job_id: str, *, keep_best: bool) -> JobRow:
    """Cancel a queued job, or ask the worker of a running one; raises Conflict if finished."""
    row = repository.get(session, tenant, job_id)
    job, _ = row
    lifecycle.request_cancel(session, job, keep_best=keep_best)
    session.flush()
    session.refresh(job)
    return row


def delete(session: Session, tenant: str, job_id: str) -> None:
    """Delete a finished job with its models and everything it left, and record its files for
    removal.

    Raises
    ------
    NotFound
    Conflict: it has not finished, or an alias points at a model of it.
    """
    delete_row(session, tenant, repository.get(session, tenant, job_id))


def delete_row(session: Session, tenant: str, row: JobRow) -> None:
    """The same for a job, or sweep, that was found."""
    job, shards = row
    if job.status not in FINISHED:
        noun = "Job" if job.sweep is None else "Sweep"
        raise Conflict(
            f"{noun} {job.id} is {job.status}. Cancel it, and delete it when it has ended."
        )
    for model in repository.models_of(session, job.id):
        models.delete(session, tenant, model.id)
    session.flush()
    folders = [key(shard.id) for shard in shards for key in (artifacts_key, checkpoints_key)]
    # An earlier version kept artifacts under the job's id.
    removals.write_down(session, artifacts_key(job.id), *folders)
    removals.delete_job(session, job)


def stored_spec(job: Job) -> TrainingSpec:
    """Raises InvalidSpec for a spec that this version no longer takes."""
    try:
        # An earlier version had no other task.
        return TrainingSpec.model_validate({"task": REGRESSION, **job.spec})
    except ValidationError as error:
        faults = [
            Fault(pointer=to_pointer(finding["loc"]), detail=finding["msg"])
            for finding in error.errors(include_url=False)
        ]
        raise InvalidSpec(
            f"The spec of {job.id} is not valid in this version. Change the fields below, and "
            "submit it again.",
            faults,
        ) from None


def repeated(session: Session, tenant: str, known: str, key: str | None) -> Submitted:
    """The answer to a repeated request; raises NotFound if its job has been deleted."""
    with idempotency.repeating(key):
        return Submitted(repository.get(session, tenant, known), is_next=True)


def _resolve_start(
    blobs: Blobs, start: Start, spec: TrainingSpec, dataset: Dataset, profile: Profile
) -> TrainingSpec:
    """Resolve a spec that starts from a model.

    Raises
    ------
    SpecError, InvalidSpec: it does not fit the table, or the model.
    ArtifactCorrupt
    """
    manifest = starts.manifest_of(start, blobs)
    earlier = starts.spec_of(manifest)
    named = spec.model_copy(update={"initialize_from": start.model_id})
    resolved = resolve(inherit(named, earlier, profile), profile)
    if faults := differences(resolved, earlier, start.model_id):
        raise SpecError(faults)
    known = objective_of(resolved).shown(manifest).get("classes", {}).get("levels", [])
    try:
        with blobs.local_copy(dataset.parquet, dataset.parquet_sha256) as parquet:
            levels = [*read_levels(parquet, resolved)]
    except TableDamaged as error:
        raise ArtifactCorrupt(dataset.parquet) from error
    if levels != known:
        detail = f"{start.model_id} has the classes {known}, and the table has {levels}"
        raise SpecError([SpecFault("/target", detail[:MOST_DETAIL])])
    return resolved


def _refuse_cells(blobs: Blobs, dataset: Dataset, spec: TrainingSpec) -> None:
    """Raises InvalidSpec if the target's cells do not fit, and ArtifactCorrupt."""
    try:
        with blobs.local_copy(dataset.parquet, dataset.parquet_sha256) as parquet:
            found = cell_faults(parquet, spec)
    except TableDamaged as error:
        raise ArtifactCorrupt(dataset.parquet) from error
    if found:
        faults = [Fault(pointer=pointer, detail=detail) for pointer, detail in found]
        raise InvalidSpec("; ".join(detail for _, detail in found) + ".", faults)


def _complete_spec(blobs: Blobs, dataset: Dataset, spec: TrainingSpec) -> TrainingSpec:
    """Complete a spec from the rows outside the holdout; raises InvalidSpec, ArtifactCorrupt."""
    try:
        with blobs.local_copy(dataset.parquet, dataset.parquet_sha256) as parquet:
            return complete_spec(parquet, spec)
    except TableDamaged as error:
        raise ArtifactCorrupt(dataset.parquet) from error
    except ValueError as error:
        fault = Fault(pointer="/holdout", detail=f"the rows with a target are too few: {error}")
        raise InvalidSpec(f"{fault.detail}.", [fault]) from None


def enqueue(
    database: Database,
    settings: Settings,
    tenant: str,
    own: Submission,
    found: Plan,
    key: str | None,
    request: str,
    *,
    reproduces: str | None = None,
    reference: dict[str, Any] | None = None,
) -> Submitted:
    """Queue a job of a plan; raises TooManyQueued, OverQuota and IdempotencyMismatch."""
    document = found.spec.model_dump(mode="json")
    with database.writing() as session:
        allowed = quotas.lock(session, tenant, quotas.defaults(settings))
        waiting = quotas.queued_jobs(session, tenant)

        def create() -> str:
            quotas.require_place(session, tenant, allowed, waiting)
            return lifecycle.enqueue(
                session,
                tenant=tenant,
                dataset_id=found.dataset.id,
                spec=document,
                target=found.spec.target,
                **asdict(own),
                reproduces=reproduces,
                reference=reference,
            )

        job_id = idempotency.once(session, tenant, key, request, create)
        return Submitted(repository.get(session, tenant, job_id), is_next=waiting == 0)
