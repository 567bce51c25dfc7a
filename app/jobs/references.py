"""/v1/reproductions: jobs of another installation, trained again here."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Body, Response
from pydantic import BaseModel, ConfigDict, Field

from app.datasets import repository as datasets
from app.errors import Fault, Invalid
from app.http.bodies import DocumentRoute
from app.http.deps import PrincipalDep, ResourcesDep
from app.http.openapi import problems
from app.http.parameters import ID_PATTERN, PRINTABLE, IdempotencyKeyHeader
from app.jobs import service
from app.jobs.endpoints import COMMON, KEY_PROBLEMS, SPEC_PROBLEMS, announced
from app.jobs.results import Numbers
from app.jobs.schemas import JobOut
from app.jobs.service import Submitted
from app.resources import Resources
from app.storage import idempotency
from models.spec import TrainingSpec
from models.spec.digest import sha256_of

router = APIRouter(
    prefix="/v1/reproductions", tags=["jobs"], route_class=DocumentRoute, responses=COMMON
)

HASH = r"^[0-9a-f]{64}$"


class ReferenceReceipt(BaseModel):
    """What names the table and the spec. The rest is compared."""

    model_config = ConfigDict(extra="allow")

    dataset_sha256: str = Field(pattern=HASH)
    parquet_sha256: str = Field(pattern=HASH)
    spec_sha256: str = Field(pattern=HASH)


class ReferenceResult(Numbers):
    """The numbers to come to again."""

    receipt: ReferenceReceipt


class Reference(BaseModel):
    """A succeeded job as `GET /v1/jobs/{job_id}` answered it elsewhere; what is not listed here is
    ignored."""

    id: str = Field(pattern=ID_PATTERN)
    name: str | None = Field(default=None, max_length=200, pattern=PRINTABLE)
    spec: TrainingSpec
    result: ReferenceResult


EXAMPLE: dict[str, Any] = {
    "id": "job_01m8p3va2eypzzg2dkfayqryqm",
    "name": "baseline",
    "spec": {"target": "SalePrice", "k_folds": 5, "seed": 0},
    "result": {
        "metrics": {"rmsle": 0.1261},
        "folds": [],
        "receipt": dict.fromkeys(("dataset_sha256", "parquet_sha256", "spec_sha256"), "0" * 64),
    },
}


@router.post(
    "",
    summary="Train a job of another installation again and compare",
    status_code=202,
    responses=problems(*SPEC_PROBLEMS, *KEY_PROBLEMS),
)
def reproduce_elsewhere(
    resources: ResourcesDep,
    principal: PrincipalDep,
    body: Annotated[Reference, Body(examples=[EXAMPLE])],
    response: Response,
    background: BackgroundTasks,
    idempotency_key: IdempotencyKeyHeader = None,
) -> JobOut:
    """Takes the job as it was answered elsewhere, finds its table here by the receipt's
    `dataset_sha256`, and submits a new job with the same spec. Its result says in `reproduction`
    whether metrics, folds, holdout and coverages are equal to the last bit; epochs, predictions and
    weights are not in the document. 422 if the table is not here, or the spec is not the one that
    the receipt names."""
    submitted = _submit(resources, principal.tenant, body, idempotency_key)
    return announced(submitted, resources, background, response)


def _submit(resources: Resources, tenant: str, body: Reference, key: str | None) -> Submitted:
    """Queue the job; raises as `service.submit` does, and Invalid for another table or spec."""
    request = idempotency.fingerprint("POST /v1/reproductions", body.model_dump_json())
    receipt = body.result.receipt
    with resources.database.reading() as session:
        known = idempotency.recall(session, tenant, key, request)
        if known is not None:
            return service.repeated(session, tenant, known, key)
        dataset_id = datasets.newest_of(
            session, tenant, receipt.dataset_sha256, receipt.parquet_sha256
        )
    if dataset_id is None:
        raise _other(
            "dataset_sha256", "No table here has these bytes. Upload the CSV of that job first."
        )
    # Of a later version with more fields, the spec is still the one that it was.
    if sha256_of(body.spec.model_dump(mode="json", exclude_unset=True)) != receipt.spec_sha256:
        raise _other("spec_sha256", "`spec` is not the one that this receipt names.")
    found = service.plan(resources, tenant, dataset_id, body.spec)
    return service.enqueue(
        resources.database,
        resources.settings,
        tenant,
        service.Submission(body.name),
        found,
        key,
        request,
        reproduces=body.id,
        reference=body.result.model_dump(mode="json"),
    )


def _other(name: str, detail: str) -> Invalid:
    return Invalid(detail, [Fault(pointer=f"/result/receipt/{name}", detail=detail)])
