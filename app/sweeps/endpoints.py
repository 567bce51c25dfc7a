"""/v1/sweeps"""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, BackgroundTasks, Path, Response
from fastapi.responses import StreamingResponse

from app.errors import Busy, Conflict, NotFound
from app.http.bodies import DocumentRoute
from app.http.csv_text import Cell
from app.http.deps import Principal, PrincipalDep, ResourcesDep
from app.http.media import wants_csv
from app.http.openapi import problems
from app.http.paging import Page, PageQueryDep
from app.http.parameters import Accept, AsDigits, IdempotencyKeyHeader, StrictRoute, name_path
from app.http.tabular import table_content, table_response
from app.jobs import service as jobs
from app.jobs.endpoints import (
    COMMON,
    KEY_PROBLEMS,
    RETRY_AFTER,
    SPEC_PROBLEMS,
    After,
    LastEventId,
    follow,
    stream_of,
)
from app.jobs.repository import JobRow
from app.jobs.schemas import CancelRequest
from app.registry.names import ModelNames
from app.resources import Resources
from app.storage import removals
from app.sweeps import repository, service
from app.sweeps.importances import Importances
from app.sweeps.schemas import (
    ImportanceOut,
    ImportancesOut,
    SweepBody,
    SweepOut,
    TrialDetailOut,
    TrialOut,
)

router = APIRouter(
    prefix="/v1/sweeps", tags=["sweeps"], route_class=DocumentRoute, responses=COMMON
)
removal = APIRouter(
    prefix="/v1/sweeps", tags=["removal"], route_class=StrictRoute, responses=COMMON
)

SweepId = Annotated[str, name_path("latest", "A sweep's id, or `latest`.")]
TrialNumber = Annotated[int, AsDigits, Path(openapi_examples={"0": {"value": 0}})]


@router.post(
    "",
    summary="Submit a sweep",
    status_code=202,
    responses=problems(*SPEC_PROBLEMS, *KEY_PROBLEMS),
)
async def submit_sweep(
    resources: ResourcesDep,
    principal: PrincipalDep,
    body: SweepBody,
    response: Response,
    background: BackgroundTasks,
    idempotency_key: IdempotencyKeyHeader = None,
) -> SweepOut:
    """Queues many specs on one table with the same folds. The model is the best trial, with the
    error that it should have on new rows, or a blend."""
    submit = partial(service.submit, resources, principal.tenant, body, idempotency_key)
    row = await to_thread.run_sync(submit, limiter=resources.submitting)
    for shard in row.shards[:1]:
        background.add_task(resources.hints.send, shard.id)
    return await to_thread.run_sync(_accepted, resources, row, response)


@router.get("", summary="List sweeps")
def list_sweeps(
    resources: ResourcesDep, principal: PrincipalDep, query: PageQueryDep
) -> Page[SweepOut]:
    """Newest first."""
    with resources.database.reading() as session:
        rows = repository.page(session, principal.tenant, query)
        return query.page(service.show(session, rows))


@router.get("/{sweep_id}", summary="Show a sweep", responses=problems(NotFound))
def show_sweep(resources: ResourcesDep, principal: PrincipalDep, sweep_id: SweepId) -> SweepOut:
    """How far it is, the best trial, and once it has a model what that is worth."""
    with resources.database.reading() as session:
        [shown] = service.show(session, [repository.get(session, principal.tenant, sweep_id)])
        return shown


@router.get(
    "/{sweep_id}/trials",
    summary="Leaderboard",
    response_class=StreamingResponse,
    responses={
        **table_content(TrialOut, "trial,state,value,standard_error,weight_decay\n"),
        **problems(NotFound),
    },
)
def list_trials(
    resources: ResourcesDep, principal: PrincipalDep, sweep_id: SweepId, accept: Accept = None
) -> StreamingResponse:
    """All trials that have been drawn, the best first. In CSV each searched field is a column."""
    found = leaderboard(resources, principal, sweep_id)
    if wants_csv(accept, default=False):
        return table_response(accept, *_flat(found))
    columns = [*TrialOut.model_fields]
    cells = [[*own.model_dump(mode="json").values()] for own in found]
    return table_response(accept, columns, [cells])


def leaderboard(resources: Resources, principal: Principal, sweep_id: str) -> list[TrialOut]:
    with resources.database.reading() as session:
        return service.leaderboard(session, repository.get(session, principal.tenant, sweep_id))


@router.get("/{sweep_id}/trials/{trial}", summary="Show a trial", responses=problems(NotFound))
def show_trial(
    resources: ResourcesDep, principal: PrincipalDep, sweep_id: SweepId, trial: TrialNumber
) -> TrialDetailOut:
    """With its spec, which can be submitted as a job as it is."""
    with resources.database.reading() as session:
        row = repository.get(session, principal.tenant, sweep_id)
        return service.trial(session, row, trial)


@router.get("/{sweep_id}/importance", summary="Which fields mattered", responses=problems(NotFound))
def show_importance(
    resources: ResourcesDep, principal: PrincipalDep, sweep_id: SweepId
) -> ImportancesOut:
    """By PED-ANOVA (Watanabe, Bansal and Hutter 2023): how differently the better trials are
    spread over a field. Empty with fewer than ten trials."""
    with resources.database.reading() as session:
        job, _ = repository.get(session, principal.tenant, sweep_id)
        trials = repository.scored(session, job.id)
    found = resources[Importances].of(job, trials)
    return ImportancesOut(data=[ImportanceOut(**vars(own)) for own in found])


@router.get(
    "/{sweep_id}/events",
    summary="Follow a sweep",
    response_class=StreamingResponse,
    responses={
        **stream_of("`StateEvent`, `TrialEvent`, `FoldEvent` and `ResultEvent`"),
        **problems(NotFound, Busy),
    },
)
def follow_sweep(
    resources: ResourcesDep,
    principal: PrincipalDep,
    sweep_id: SweepId,
    after: After = 0,
    last_event_id: LastEventId = None,
) -> Response:
    """As for jobs, with an event `trial` for each trial that was trained instead of epochs. Trials
    that were never tried, because they do not fit or the sweep was stopped, are in the leaderboard
    alone."""
    with resources.database.reading() as session:
        job, _ = repository.get(session, principal.tenant, sweep_id)
    return follow(resources, job.id, sweep_id, after, last_event_id)


@router.post(
    "/{sweep_id}/cancel",
    summary="Cancel a sweep",
    status_code=202,
    responses=problems(NotFound, Conflict),
)
def cancel_sweep(
    resources: ResourcesDep,
    principal: PrincipalDep,
    sweep_id: SweepId,
    response: Response,
    body: CancelRequest | None = None,
) -> SweepOut:
    """With `keep_best` it ends with the model of what has trained so far; 409 if it is finished."""
    keep_best = body is not None and body.keep_best
    with resources.database.writing() as session:
        row = service.cancel(session, principal.tenant, sweep_id, keep_best=keep_best)
    return _accepted(resources, row, response)


@removal.delete(
    "/{sweep_id}",
    summary="Delete a sweep",
    status_code=204,
    responses=problems(NotFound, Conflict),
)
def delete_sweep(
    resources: ResourcesDep, principal: PrincipalDep, sweep_id: SweepId, background: BackgroundTasks
) -> None:
    """Deletes a finished sweep with its trials and model. 409 while it is queued or running, or
    while an alias points at its model."""
    with resources.database.writing() as session:
        row = repository.get(session, principal.tenant, sweep_id)
        jobs.delete_row(session, principal.tenant, row)
    resources[ModelNames].forget()
    background.add_task(removals.carry_out, resources.database, resources.blobs)


def _accepted(resources: Resources, row: JobRow, response: Response) -> SweepOut:
    response.headers["Location"] = f"/v1/sweeps/{row.job.id}"
    response.headers["Retry-After"] = RETRY_AFTER
    with resources.database.reading() as session:
        [shown] = service.show(session, [row])
    return shown


def _flat(trials: list[TrialOut]) -> tuple[list[str], list[list[list[Cell]]]]:
    """The columns and one batch of rows of a CSV."""
    names = [*dict.fromkeys(name for own in trials for name in own.params)]
    columns = [name for name in TrialOut.model_fields if name not in ("params", "folds")]
    rows: list[list[Cell]] = []
    for own in trials:
        document = own.model_dump(mode="json")
        params = [_cell(own.params.get(name)) for name in names]
        rows.append([*(document[name] for name in columns), *params])
    return [*columns, *names], [rows]


def _cell(value: object) -> Cell:
    return value if isinstance(value, str | int | float | None) else json.dumps(value)
