"""/v1/jobs/{job_id}/notebook"""

from __future__ import annotations

import json

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from app.datasets import repository as datasets
from app.errors import Conflict, DamagedFile, InvalidSpec, NotFound, Unavailable
from app.http.deps import PrincipalDep, ResourcesDep
from app.http.openapi import problems
from app.http.parameters import StrictRoute
from app.http.prefix import ROOT
from app.jobs import downloads, repository
from app.jobs.endpoints import COMMON, JobId
from app.jobs.notebook import notebook
from app.jobs.notebook_choice import Shown, choose
from app.jobs.notebook_settings import Explained
from app.jobs.service import stored_spec
from app.resources import Resources
from app.storage.blobs import Blobs
from app.storage.tables import Dataset, Job
from models.tables.dialect import SEPARATORS
from models.tables.faults import TableError
from models.tables.header import HEAD_BYTES, read_header
from models.tables.profile import Profile

MEDIA_TYPE = "application/x-ipynb+json"
BLANK = " "

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictRoute, responses=COMMON)


@router.get(
    "/{job_id}/notebook",
    summary="Show a job's training as a notebook",
    response_class=Response,
    responses={
        200: {"content": {MEDIA_TYPE: {"schema": {"type": "object"}}}},
        **problems(NotFound, Conflict, InvalidSpec, Unavailable, DamagedFile),
    },
)
def show_notebook(
    resources: ResourcesDep, principal: PrincipalDep, job_id: JobId, request: Request
) -> Response:
    """A Jupyter notebook that trains the job's model again as a plain PyTorch loop, on the same
    folds, and compares the error. Of a blend it shows the first linear model or multilayer
    perceptron; 409 if there is none."""
    with resources.database.reading() as session:
        job, shown = _chosen(session, principal.tenant, job_id)
        dataset = datasets.get(session, principal.tenant, job.dataset_id)
    assert job.result is not None
    profile = Profile.model_validate(dataset.profile)
    document = notebook(
        Explained(
            url=str(request.base_url).rstrip("/") + ROOT.get(),
            job_id=job.id,
            dataset_id=dataset.id,
            separator=_separator(resources.blobs, dataset, profile),
            shown=shown,
            profile=profile,
            result=job.result,
        )
    )
    return Response(
        json.dumps(document, indent=1, ensure_ascii=False) + "\n",
        media_type=MEDIA_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{job.id}.ipynb"'},
    )


def has_notebook(resources: Resources, tenant: str, job_id: str) -> bool:
    with resources.database.reading() as session:
        try:
            _chosen(session, tenant, job_id)
        except (Conflict, InvalidSpec, NotFound):
            return False
    return True


def _chosen(session: Session, tenant: str, job_id: str) -> tuple[Job, Shown]:
    """Raises NotFound, InvalidSpec and Conflict."""
    job, _ = repository.get(session, tenant, job_id)
    downloads.model_of(session, job, "notebook")
    assert job.result is not None
    return job, choose(job.id, stored_spec(job), job.result)


def _separator(blobs: Blobs, dataset: Dataset, profile: Profile) -> str:
    """Of the dataset's CSV, as pandas takes it; raises ArtifactCorrupt."""
    with blobs.open_checked(dataset.csv, dataset.sha256) as file:
        head = file.read(HEAD_BYTES)
    names = [column.name for column in profile.columns]
    for named in (None, *SEPARATORS, BLANK):  # the upload may have named one that is not detected
        try:
            header = read_header(head, len(names), named)
        except TableError:
            continue
        if header.names == names:
            separator = header.rows.dialect.separator.decode()
            return r"\s+" if separator == BLANK else separator
    return SEPARATORS[0]
