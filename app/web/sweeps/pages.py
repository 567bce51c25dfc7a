"""/sweeps"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import StringConstraints

from app.datasets import endpoints as datasets
from app.http.deps import PrincipalDep, ResourcesDep
from app.http.paging import MAX_LIMIT, PageQuery, PageQueryDep
from app.http.parameters import AsDigits
from app.operations.readiness import readiness
from app.storage.tables import FINISHED
from app.sweeps import endpoints as sweeps
from app.web.jobs import form
from app.web.jobs.pages import LAST_PAGE, Name, OrNone
from app.web.rendering import PageRoute, page
from app.web.sweeps import charts, leaderboard
from app.web.sweeps.parameters import parameters_of
from app.web.sweeps.words import answer
from models.spec.sweep import DEFAULT_TRIALS, MOST_TRIALS

router = APIRouter(prefix="/sweeps", route_class=PageRoute, include_in_schema=False)

# A searched one, by its dotted name. A form sends an empty field for what was not chosen.
Field = Annotated[Annotated[str, StringConstraints(max_length=128)] | None, OrNone]


@router.get("")
def show_sweeps(
    resources: ResourcesDep, principal: PrincipalDep, query: PageQueryDep
) -> HTMLResponse:
    return page(
        "sweeps.html", section="sweeps", found=sweeps.list_sweeps(resources, principal, query)
    )


@router.get("/new")
def new_sweep(
    resources: ResourcesDep, principal: PrincipalDep, dataset_id: Name = None
) -> HTMLResponse:
    """The form. A sweep in the address's fragment is merged into it by the page."""
    tables = datasets.list_datasets(resources, principal, PageQuery(MAX_LIMIT, None)).data
    if dataset_id is None and tables:
        dataset_id = tables[0].id
    table = None if dataset_id is None else datasets.show_dataset(resources, principal, dataset_id)
    document: dict[str, str] = {}
    if table is not None:
        target = table.suggestions.target
        document = {"dataset_id": table.id} | ({"target": target} if target else {})
    return page(
        "new_sweep.html",
        section="sweeps",
        tables=tables,
        table=table,
        document=document,
        architectures=[(name, name) for name in form.architectures()],
        trials=DEFAULT_TRIALS,
        most=MOST_TRIALS,
    )


@router.get("/{sweep_id}")
def show_sweep(
    resources: ResourcesDep,
    principal: PrincipalDep,
    sweep_id: sweeps.SweepId,
    sort: Annotated[str, Query(max_length=128)] = leaderboard.BY_VALUE,
    descending: bool = False,
    page_number: Annotated[int, AsDigits, Query(alias="page", ge=1, le=LAST_PAGE)] = 1,
    x: Field = None,
    y: Field = None,
) -> HTMLResponse:
    """x, y : fields of the heat map; None: the most important"""
    sweep = sweeps.show_sweep(resources, principal, sweep_id)
    trials = sweeps.leaderboard(resources, principal, sweep.id)
    parameters = parameters_of(sweep)
    return page(
        "sweep.html",
        section="sweeps",
        sweep=sweep,
        answer=answer(sweep),
        file=datasets.show_dataset(resources, principal, sweep.dataset_id),
        is_finished=sweep.status in FINISHED,
        board=leaderboard.table(
            leaderboard.Order(sort, descending, page_number), trials, parameters
        ),
        parameters=parameters,
        x=x,
        y=y,
        readiness=readiness(resources),
    )


@router.get("/{sweep_id}/charts")
def list_charts(
    resources: ResourcesDep,
    principal: PrincipalDep,
    sweep_id: sweeps.SweepId,
    x: Field = None,
    y: Field = None,
) -> JSONResponse:
    """In the form of a job's charts."""
    sweep = sweeps.show_sweep(resources, principal, sweep_id)
    trials = sweeps.leaderboard(resources, principal, sweep.id)
    importance = sweeps.show_importance(resources, principal, sweep.id).data
    shares = {own.name: own.importance for own in importance}
    parameters = parameters_of(sweep, [*shares])
    return JSONResponse({"data": charts.documents(sweep, trials, parameters, shares, [x, y])})
