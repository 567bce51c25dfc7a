"""/v1/jobs"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, BackgroundTasks, Header, Query, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse

from app.datasets import repository as datasets
from app.errors import (
    Busy,
    Conflict,
    DamagedFile,
    IdempotencyMismatch,
    Invalid,
    InvalidSpec,
    NotFound,
    OverQuota,
    TooLarge,
    TooManyQueued,
    TooSlow,
    Unavailable,
    UnsupportedMedia,
)
from app.http.bodies import DocumentRoute
from app.http.deps import PrincipalDep, ResourcesDep
from app.http.media import wants_csv
from app.http.openapi import problems
from app.http.paging import Page, PageQueryDep
from app.http.parameters import (
    ID_PATTERN,
    LATEST,
    Accept,
    AsDigits,
    IdempotencyKeyHeader,
    StrictRoute,
    name_path,
)
from app.http.tabular import table_content, table_response
from app.jobs import downloads, history, repository, service
from app.jobs.broadcast import Broadcast
from app.jobs.schemas import (
    CancelRequest,
    EpochOut,
    JobBody,
    JobOut,
    OutOfFoldOut,
    ValidationOut,
)
from app.registry.names import ModelNames
from app.resources import Resources
from app.storage import removals
from app.storage.tables import State
from models.epochs import COLUMNS, FLAT_COLUMNS

RETRY_AFTER = "1"  # s until there may be news of a job
LARGEST_NUMBER = 2**31 - 1  # of an event, an integer in the database

COMMON = problems(Invalid, Unavailable)

# Caches and nginx would hold events back.
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def stream_of(schemas: str) -> dict[int | str, dict[str, Any]]:
    """The responses of a stream whose events have these schemas."""
    return {
        200: {
            "description": f"The `data` of each kind of event is in the schemas {schemas}.",
            "content": {EventSourceResponse.media_type: {"schema": {"type": "string"}}},
        },
        204: {"description": "It has ended and the client has seen all: do not reconnect."},
    }


router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=DocumentRoute, responses=COMMON)
removal = APIRouter(prefix="/v1/jobs", tags=["removal"], route_class=StrictRoute, responses=COMMON)

After = Annotated[
    int, AsDigits, Query(ge=0, le=LARGEST_NUMBER, description="Number of the last event seen.")
]
LastEventId = Annotated[
    int | None,
    AsDigits,
    Header(
        alias="Last-Event-ID",
        ge=0,
        le=LARGEST_NUMBER,
        description="The same, as browsers send it to resume; it goes before `after`.",
    ),
]
JobId = Annotated[str, name_path("latest", "A job's id, or `latest`.")]

PLAN_PROBLEMS = (InvalidSpec, NotFound, Unavailable, DamagedFile)
SPEC_PROBLEMS = (Invalid, *PLAN_PROBLEMS, TooSlow, TooLarge, UnsupportedMedia)
KEY_PROBLEMS = (IdempotencyMismatch, TooManyQueued, OverQuota)


@router.post(":validate", summary="Check a spec", responses=problems(*SPEC_PROBLEMS))
def validate_job(resources: ResourcesDep, principal: PrincipalDep, body: JobBody) -> ValidationOut:
    """Shows what the spec would train, with every default filled in. Nothing is created."""
    found = service.plan(resources, principal.tenant, body.dataset_id, body.spec())
    return service.validate(resources.blobs, found)


@router.post(
    "",
    summary="Submit a job",
    status_code=202,
    responses=problems(*SPEC_PROBLEMS, *KEY_PROBLEMS),
)
async def submit_job(
    resources: ResourcesDep,
    principal: PrincipalDep,
    body: JobBody,
    response: Response,
    background: BackgroundTasks,
    idempotency_key: IdempotencyKeyHeader = None,
) -> JobOut:
    """Queues a cross-validated training run; `Location` is the job's address."""
    submit = partial(service.submit, resources, principal.tenant, body, idempotency_key)
    submitted = await to_thread.run_sync(submit, limiter=resources.submitting)
    return announced(submitted, resources, background, response)


@router.get("", summary="List jobs", responses=problems(NotFound))
def list_jobs(
    resources: ResourcesDep,
    principal: PrincipalDep,
    query: PageQueryDep,
    status: State | None = None,
    dataset_id: Annotated[str | None, Query(pattern=ID_PATTERN)] = None,
) -> Page[JobOut]:
    """Newest first."""
    with resources.database.reading() as session:
        if dataset_id is not None:
            dataset_id = datasets.get(session, principal.tenant, dataset_id, profile=False).id
        rows = repository.page(
            session, principal.tenant, query, status=status, dataset_id=dataset_id
        )
        return query.page([JobOut.of(*row) for row in rows])


@router.get("/{job_id}", summary="Show a job", responses=problems(NotFound))
def show_job(resources: ResourcesDep, principal: PrincipalDep, job_id: JobId) -> JobOut:
    """Status, progress, and the result or the error once it is finished."""
    with resources.database.reading() as session:
        return JobOut.of(*repository.get(session, principal.tenant, job_id))


@router.get(
    "/{job_id}/metrics",
    summary="Metrics by epoch",
    response_class=StreamingResponse,
    responses={
        **table_content(EpochOut, ",".join(FLAT_COLUMNS) + "\n"),
        **problems(NotFound),
    },
)
def list_epochs(
    resources: ResourcesDep, principal: PrincipalDep, job_id: JobId, accept: Accept = None
) -> StreamingResponse:
    """For each fold: losses (of numbers on the standardised target's scale, of classes those of the
    spec's `loss`), gradient norms, and shares of dead and saturated hidden units; in JSON also what
    each layer does."""
    with resources.database.reading() as session:
        job, _ = repository.get(session, principal.tenant, job_id)
    columns = FLAT_COLUMNS if wants_csv(accept, default=False) else COLUMNS
    batches = downloads.epoch_batches(resources.database, job.id, columns)
    return table_response(accept, columns, batches)


@router.get(
    "/{job_id}/oof",
    summary="Out-of-fold predictions",
    response_class=StreamingResponse,
    responses={
        **table_content(OutOfFoldOut, "row,fold,actual,prediction,low,high\n"),
        **problems(NotFound, Unavailable, DamagedFile),
    },
)
def list_out_of_fold(
    resources: ResourcesDep, principal: PrincipalDep, job_id: JobId, accept: Accept = None
) -> StreamingResponse:
    """Each row's prediction by the one fold model that did not train on it: of a number with its
    interval, of a class with the probabilities of all classes. `row` counts from 0, like a data
    frame's index."""
    with resources.database.reading() as session:
        job, _ = repository.get(session, principal.tenant, job_id)
        model = downloads.model_of(session, job, "table of out-of-fold predictions")
    return table_response(accept, *downloads.out_of_fold(model, resources.blobs))


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    response_class=StreamingResponse,
    responses={
        **stream_of("`StateEvent`, `EpochEvent`, `FoldEvent` and `ResultEvent`"),
        **problems(NotFound, Busy),
    },
)
def follow_job(
    resources: ResourcesDep,
    principal: PrincipalDep,
    job_id: JobId,
    after: After = 0,
    last_event_id: LastEventId = None,
) -> Response:
    """Server-sent events `state`, `epoch`, `fold` and `result`, from the job's first event to its
    last, which ends the stream. Numbered 1, 2, 3 …: a client that reconnects with the number of the
    last one misses none and sees none twice."""
    with resources.database.reading() as session:
        job, _ = repository.get(session, principal.tenant, job_id)
    return follow(resources, job.id, job_id, after, last_event_id)


def follow(
    resources: Resources, own_id: str, asked: str, after: int, last_event_id: int | None
) -> Response:
    """The stream of the events after one; `asked`: how the client names what has this id.

    Raises
    ------
    Invalid: there is no such event.
    Busy
    """
    seen = after if last_event_id is None else last_event_id
    if last_event_id is not None and asked == LATEST:
        raise Invalid("A stream that resumes must name its id: `latest` may be another one now.")
    with resources.database.reading() as session:
        newest = history.newest(session, own_id)
    last = newest.sequence
    if seen > last:
        raise Invalid(f"There is no event {seen} yet: the newest of {own_id} is {last}.")
    if seen == last and history.is_end(newest):
        return Response(status_code=204)
    broadcast = resources[Broadcast]
    broadcast.require_place()
    return EventSourceResponse(broadcast.stream(own_id, seen, last), headers=STREAM_HEADERS)


@router.post(
    "/{job_id}/cancel",
    summary="Cancel a job",
    status_code=202,
    responses=problems(NotFound, Conflict),
)
def cancel_job(
    resources: ResourcesDep,
    principal: PrincipalDep,
    job_id: JobId,
    response: Response,
    body: CancelRequest | None = None,
) -> JobOut:
    """Cancels a queued job at once, a running one within seconds; 409 if it is finished. With
    `keep_best`, a running job ends as succeeded, with a model of the best weights so far."""
    keep_best = body is not None and body.keep_best
    with resources.database.writing() as session:
        row = service.cancel(session, principal.tenant, job_id, keep_best=keep_best)
    return _accepted(row, response)


@router.post(
    "/{job_id}/retry",
    summary="Run a job's spec again",
    status_code=202,
    responses=problems(*PLAN_PROBLEMS, *KEY_PROBLEMS),
)
def retry_job(
    resources: ResourcesDep,
    principal: PrincipalDep,
    job_id: JobId,
    response: Response,
    background: BackgroundTasks,
    idempotency_key: IdempotencyKeyHeader = None,
) -> JobOut:
    """Submits a new job with the same spec on the same table, after checking it again."""
    submitted = service.retry(resources, principal.tenant, job_id, idempotency_key)
    return announced(submitted, resources, background, response)


@router.post(
    "/{job_id}/reproduce",
    summary="Train a job's model again and compare",
    status_code=202,
    responses=problems(*PLAN_PROBLEMS, *KEY_PROBLEMS, Conflict),
)
def reproduce_job(
    resources: ResourcesDep,
    principal: PrincipalDep,
    job_id: JobId,
    response: Response,
    background: BackgroundTasks,
    idempotency_key: IdempotencyKeyHeader = None,
) -> JobOut:
    """Submits a new job with the same spec, seed and table. Its result says in `reproduction`
    whether every number is equal to the last bit, and if not, which are not and whether versions,
    device or threads differ. 409 if the job has no result."""
    submitted = service.reproduce(resources, principal.tenant, job_id, idempotency_key)
    return announced(submitted, resources, background, response)


@removal.delete(
    "/{job_id}",
    summary="Delete a job",
    status_code=204,
    responses=problems(NotFound, Conflict),
)
def delete_job(
    resources: ResourcesDep,
    principal: PrincipalDep,
    job_id: JobId,
    background: BackgroundTasks,
) -> None:
    """Deletes a finished job with its metrics, events, files and model. 409 while it is queued or
    running, or while an alias points at its model."""
    with resources.database.writing() as session:
        service.delete(session, principal.tenant, job_id)
    resources[ModelNames].forget()
    background.add_task(removals.carry_out, resources.database, resources.blobs)


def announced(
    submitted: service.Submitted,
    resources: Resources,
    background: BackgroundTasks,
    response: Response,
) -> JobOut:
    """Sends the hint to workers after the answer, so that a broker that is down delays nobody."""
    if submitted.is_next:
        background.add_task(resources.hints.send, submitted.row.shards[0].id)
    return _accepted(submitted.row, response)


def _accepted(row: repository.JobRow, response: Response) -> JobOut:
    response.headers["Location"] = f"/v1/jobs/{row.job.id}"
    response.headers["Retry-After"] = RETRY_AFTER
    return JobOut.of(*row)
