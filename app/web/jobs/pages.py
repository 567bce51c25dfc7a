"""/jobs"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from pydantic import BeforeValidator, Field

from app.datasets import endpoints as datasets
from app.http.deps import PrincipalDep, ResourcesDep
from app.http.paging import MAX_LIMIT, PageQuery
from app.http.parameters import ID_PATTERN, PRINTABLE, AsDigits
from app.jobs import endpoints as jobs
from app.jobs import repository
from app.jobs.endpoints import LARGEST_NUMBER
from app.jobs.notebooks import has_notebook
from app.operations.readiness import readiness
from app.resources import Resources
from app.storage.tables import FINISHED, State
from app.sweeps import endpoints as sweeps
from app.web.jobs import comparison, form, listing
from app.web.rendering import PageRoute, page
from models.artifacts import REPORT

LAST_PAGE = 10_000
MOST_COMPARED = 8

# A form sends an empty field for what was not chosen.
OrNone = BeforeValidator(lambda given: given or None)

router = APIRouter(prefix="/jobs", route_class=PageRoute, include_in_schema=False)

Id = Annotated[str, Field(pattern=ID_PATTERN)]
Name = Annotated[str | None, Query(pattern=ID_PATTERN)]


@router.get("")
def show_jobs(
    resources: ResourcesDep,
    principal: PrincipalDep,
    sort: Annotated[str, Query(pattern=r"^[a-z][a-z0-9_]{0,39}$")] = "created",
    descending: bool = True,
    status: Annotated[State | None, OrNone] = None,
    dataset_id: Name = None,
    target: Annotated[str | None, Query(max_length=255, pattern=PRINTABLE)] = None,
    text: Annotated[str, Query(max_length=100, pattern=PRINTABLE)] = "",
    page_number: Annotated[int, AsDigits, Query(alias="page", ge=1, le=LAST_PAGE)] = 1,
) -> HTMLResponse:
    wanted = listing.Listing(
        sort=sort,
        descending=descending,
        status=status,
        dataset_id=dataset_id,
        target=target,
        text=text,
        page=page_number,
    )
    with resources.database.reading() as session:
        found = listing.page(session, principal.tenant, wanted)
    return page(
        "jobs.html",
        section="jobs",
        listing=wanted,
        found=found,
        states=list(State),
        readiness=readiness(resources),
    )


@router.get("/new")
def new_job(
    resources: ResourcesDep,
    principal: PrincipalDep,
    dataset_id: Name = None,
    like: Name = None,
    trial: Annotated[int | None, AsDigits, Query(ge=0, le=LARGEST_NUMBER)] = None,
) -> HTMLResponse:
    """The form, filled in with the spec of the job `like`, or of a trial of the sweep `like`. A
    spec in the address's fragment is merged into it by the page."""
    spec: dict[str, Any] = {}
    if like is not None and trial is not None:
        spec = sweeps.show_trial(resources, principal, like, trial).spec or {}
        dataset_id = spec.get("dataset_id", dataset_id)
    elif like is not None:
        job = jobs.show_job(resources, principal, like)
        spec, dataset_id = job.spec, dataset_id or job.dataset_id
    tables = datasets.list_datasets(resources, principal, PageQuery(MAX_LIMIT, None)).data
    if dataset_id is None and tables:
        dataset_id = tables[0].id
    table = None if dataset_id is None else datasets.show_dataset(resources, principal, dataset_id)
    if table is not None:
        target = spec.get("target", table.suggestions.target)
        spec = {"dataset_id": table.id, **({"target": target} if target else {}), **spec}
    return page(
        "new_job.html",
        section="jobs",
        tables=tables,
        table=table,
        spec=spec,
        groups=form.groups(),
        architectures=form.architectures(),
        efforts=form.EFFORTS,
    )


@router.get("/compare")
def compare_jobs(
    resources: ResourcesDep,
    principal: PrincipalDep,
    id: Annotated[
        list[Annotated[str, Field(pattern=ID_PATTERN)]],
        Query(min_length=2, max_length=MOST_COMPARED),
    ],
) -> HTMLResponse:
    found = [jobs.show_job(resources, principal, each) for each in dict.fromkeys(id)]
    return page(
        "compare.html",
        section="jobs",
        table=comparison.compare(resources, principal.tenant, found),
    )


@router.get("/{job_id}")
def show_job(resources: ResourcesDep, principal: PrincipalDep, job_id: jobs.JobId) -> HTMLResponse:
    job = jobs.show_job(resources, principal, job_id)
    table = datasets.show_dataset(resources, principal, job.dataset_id)
    with resources.database.reading() as session:
        ahead = repository.count_ahead(session, principal.tenant, job.id)
    return page(
        "job.html",
        section="jobs",
        job=job,
        table=table,
        is_finished=job.status in FINISHED,
        ahead=ahead,
        has_report=_has_report(resources, job.id),
        has_notebook=has_notebook(resources, principal.tenant, job.id),
        readiness=readiness(resources),
    )


def _has_report(resources: Resources, job_id: str) -> bool:
    with resources.database.reading() as session:
        return any(REPORT in model.artifacts for model in repository.models_of(session, job_id))
