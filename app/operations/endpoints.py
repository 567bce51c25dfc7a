"""/healthz, /readyz and /metrics"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from app.accounts.authentication import sender
from app.errors import Invalid, Unauthorized, Unavailable
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
    """Checks nothing else; `/readyz` checks what the process depends on."""
    return Health(status="ok")


@router.get("/readyz", summary="Can it serve?", responses=problems(Invalid, Unavailable))
def readyz(
    resources: ResourcesDep,
    strict: Annotated[bool, Query(description="Answer 503 if any part is down.")] = False,
) -> Readiness:
    """503 without the database or the storage. Without the broker or a worker, jobs only wait, so
    the answer is 200 and names what is `down`, unless `strict=true`."""
    return readiness(resources, strict=strict)


async def is_operator(request: Request) -> bool:
    """Whether the scraper may see the names of tenants. It needs no key, but one that it sends must
    exist."""
    try:
        return (await sender(request.scope)).is_operator
    except Unauthorized:
        if "Authorization" in request.headers:
            raise
    except SQLAlchemyError:
        pass  # the metrics that need no database matter most now
    return False


@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
def metrics(
    resources: ResourcesDep, for_operator: Annotated[bool, Depends(is_operator)]
) -> Response:
    """Of all processes of this API: requests by route, predicted rows, shards that wait and run,
    and more. With the key of an admin of `local`, also by tenant and model."""
    text = resources[Metrics].text(for_operator=for_operator)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
