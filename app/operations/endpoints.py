"""/healthz, /readyz and /metrics"""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from app.deps import ResourcesDep
from app.errors import Unavailable
from app.openapi import problems
from app.operations.readiness import Readiness, readiness

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"]


@router.get("/healthz", summary="Is the process up?")
async def healthz() -> Health:
    """Asks nothing of anybody; see `/readyz` for that."""
    return Health(status="ok")


@router.get("/readyz", summary="Can it serve?", responses=problems(Unavailable))
def readyz(resources: ResourcesDep) -> Readiness:
    """503 without the database or the storage; a broker or a worker that is away is only told,
    because jobs wait for it and lose nothing."""
    return readiness(resources)


@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
def metrics(resources: ResourcesDep) -> Response:
    """Jobs by state, requests by route, rows priced, and the process's own."""
    return Response(resources.metrics.text(), media_type=CONTENT_TYPE_LATEST)
