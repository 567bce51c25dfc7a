"""/v1/models/{model_id}/monitoring"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from app.errors import DamagedFile, Invalid, NotFound, Unavailable
from app.http.bodies import DocumentRoute
from app.http.deps import PrincipalDep, ResourcesDep
from app.http.openapi import problems
from app.http.parameters import AsDigits, name_path
from app.monitoring import service
from app.monitoring.schemas import ModelMonitoring
from app.monitoring.usage import Usage
from app.registry import repository
from app.registry.service import manifest

router = APIRouter(prefix="/v1", tags=["models"], route_class=DocumentRoute)


@router.get(
    "/models/{model_id}/monitoring",
    summary="Monitor a model",
    responses=problems(Invalid, NotFound, Unavailable, DamagedFile),
)
def show_monitoring(
    resources: ResourcesDep,
    principal: PrincipalDep,
    model_id: Annotated[str, name_path("champion", "A model's id, or an alias.")],
    days: Annotated[
        Annotated[int, Field(ge=1, le=365)],
        AsDigits,
        Query(description="Number of days, including today."),
    ] = 7,
) -> ModelMonitoring:
    """Requests, rows, latency, warnings, and each column's drift from the training rows. Counts of
    other processes are up to ten seconds old."""
    resources[Usage].write()
    since = datetime.now(UTC).date() - timedelta(days=days - 1)
    with resources.database.reading() as session:
        model = repository.get(session, principal.tenant, model_id)
        usage = service.usage_since(session, principal.tenant, model.id, since)
    return service.summarize(model, manifest(model, resources.blobs), since, usage)
