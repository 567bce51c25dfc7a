"""/v1/jobs/{job_id}/report, and its charts as data"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from app.errors import DamagedFile, NotFound, Unavailable
from app.http.compressed import CompressedRoute
from app.http.deps import PrincipalDep, ResourcesDep
from app.http.media import JSON
from app.http.openapi import REF, problems
from app.http.parameters import StrictRoute
from app.http.unchanged import NOT_MODIFIED, IfNoneMatchHeader, etag, is_unchanged, not_modified
from app.jobs import downloads, repository
from app.jobs.endpoints import COMMON, JobId
from app.resources import Resources
from app.storage.tables import Job, Model
from models import artifacts


class ReportRoute(CompressedRoute, StrictRoute):
    pass


router = APIRouter(
    prefix="/v1/jobs", tags=["jobs"], route_class=ReportRoute, responses=COMMON | NOT_MODIFIED
)

# The page has a style sheet and drawings of its own, and nothing else.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


class ChartTable(BaseModel):
    """The numbers behind a chart."""

    columns: list[str]
    rows: list[list[float | str | bool | None]]


class ChartOut(BaseModel):
    """One chart."""

    name: str
    title: str
    description: str
    spec: dict[str, Any] = Field(description="A whole Vega-Lite document.")
    table: ChartTable


class ChartsOut(BaseModel):
    """The charts of a job's report, in its order."""

    data: list[ChartOut]


@router.get(
    "/{job_id}/report",
    summary="Show a job's report",
    response_class=HTMLResponse,
    responses=problems(NotFound, Unavailable, DamagedFile),
)
def show_report(
    resources: ResourcesDep,
    principal: PrincipalDep,
    job_id: JobId,
    if_none_match: IfNoneMatchHeader = None,
) -> Response:
    """One HTML page, whole in itself: how good the model is, where it errs, what it uses, and what
    to try next. It has no scripts, opens without a network and prints."""
    with resources.database.reading() as session:
        job, _ = repository.get(session, principal.tenant, job_id)
        model = reported(session, job)
    return report_of(resources, model, if_none_match)


@router.get(
    "/{job_id}/charts",
    summary="List the charts of a job's report",
    response_class=Response,
    responses={
        200: {"content": {JSON: {"schema": {"$ref": REF.format(model=ChartsOut.__name__)}}}},
        **problems(NotFound, Unavailable, DamagedFile),
    },
)
def list_charts(
    resources: ResourcesDep,
    principal: PrincipalDep,
    job_id: JobId,
    if_none_match: IfNoneMatchHeader = None,
) -> Response:
    """Each as a Vega-Lite document, in words, and as a table of the same numbers. Colours are CSS
    variables, such as `var(--accent)`."""
    with resources.database.reading() as session:
        job, _ = repository.get(session, principal.tenant, job_id)
        model = reported(session, job)
    sha256 = model.artifacts[artifacts.CHARTS]
    if is_unchanged(sha256, if_none_match):
        return not_modified(sha256)
    charts = resources.blobs.read_artifact(model.folder, artifacts.CHARTS, sha256)
    headers = {"ETag": etag(sha256)}
    return Response(b'{"data":' + charts + b"}", media_type=JSON, headers=headers)


def reported(session: Session, job: Job) -> Model:
    """The model of a job, or sweep, that has a report; raises NotFound."""
    model = downloads.model_of(session, job, "report")
    if artifacts.REPORT not in model.artifacts:
        raise NotFound(
            f"There is no report of {model.job_id}: it was trained by an earlier version, or the "
            "report could not be made, which a warning in its result says. Run it again for one."
        )
    return model


def report_of(resources: Resources, model: Model, if_none_match: str | None) -> Response:
    """Raises ArtifactCorrupt."""
    sha256 = model.artifacts[artifacts.REPORT]
    if is_unchanged(sha256, if_none_match):
        return not_modified(sha256)
    page = resources.blobs.read_artifact(model.folder, artifacts.REPORT, sha256)
    headers = {
        "Content-Disposition": f'inline; filename="{model.job_id}.html"',
        "Content-Security-Policy": POLICY,
        "ETag": etag(sha256),
    }
    return HTMLResponse(page, headers=headers)
