"""/healthz, /readyz and /metrics"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from app.errors import Invalid, Unavailable
from app.http.deps import ResourcesDep
from app.http.openapi import problems
from app.http.parameters import StrictRoute
from app.operations.metrics import Metrics
from app.operations.readiness import Readiness, readiness

router = APIRouter(tags=["operations"], route_class=StrictRoute)


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"]


@router.get("/healthz", summary="Is the process up?")
async def healthz() -> Health:
    """Asks nothing of anybody; see `/readyz` for that."""
    return Health(status="ok")


@router.get("/readyz", summary="Can it serve?", responses=problems(Invalid, Unavailable))
def readyz(
    resources: ResourcesDep,
    strict: Annotated[bool, Query(description="503 where any part is down.")] = False,
) -> Readiness:
    """503 without the database or the storage. Without the broker or a worker jobs wait and lose
    nothing, so that is a 200 that names what is `down`, unless `strict=true`."""
    return readiness(resources, strict=strict)


@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
def metrics(resources: ResourcesDep) -> Response:
    """Jobs by state, requests by route, rows priced, and the process's own."""
    return Response(resources[Metrics].text(), media_type=CONTENT_TYPE_LATEST)
