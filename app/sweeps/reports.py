"""/v1/sweeps/{sweep_id}/report"""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from app.errors import DamagedFile, NotFound, Unavailable
from app.http.deps import PrincipalDep, ResourcesDep
from app.http.openapi import problems
from app.http.unchanged import NOT_MODIFIED, IfNoneMatchHeader
from app.jobs import reports
from app.jobs.endpoints import COMMON
from app.jobs.reports import ReportRoute
from app.sweeps import repository
from app.sweeps.endpoints import SweepId

router = APIRouter(
    prefix="/v1/sweeps", tags=["sweeps"], route_class=ReportRoute, responses=COMMON | NOT_MODIFIED
)


@router.get(
    "/{sweep_id}/report",
    summary="Show the report of a sweep's model",
    response_class=HTMLResponse,
    responses=problems(NotFound, Unavailable, DamagedFile),
)
def show_sweep_report(
    resources: ResourcesDep,
    principal: PrincipalDep,
    sweep_id: SweepId,
    if_none_match: IfNoneMatchHeader = None,
) -> Response:
    """As of a job: one HTML page, whole in itself, of the best trial or the blend."""
    with resources.database.reading() as session:
        job, _ = repository.get(session, principal.tenant, sweep_id)
        model = reports.reported(session, job)
    return reports.report_of(resources, model, if_none_match)
