"""/v1/datasets:find"""

from __future__ import annotations

from functools import partial

from anyio import to_thread
from fastapi import APIRouter

from app.erasure import traces
from app.erasure.schemas import Sought, TracesOut
from app.errors import Busy, Invalid, TooLarge, TooSlow, Unavailable, UnsupportedMedia
from app.http.bodies import DocumentRoute
from app.http.deps import PrincipalDep, ResourcesDep
from app.http.openapi import problems
from app.http.paging import PageQueryDep

MOST_WAITING = 4  # searches; each may take ten seconds

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=DocumentRoute)


@router.post(
    ":find",
    summary="Find a value",
    responses=problems(Invalid, TooSlow, TooLarge, UnsupportedMedia, Busy, Unavailable),
)
async def find_value(
    resources: ResourcesDep, principal: PrincipalDep, query: PageQueryDep, body: Sought
) -> TracesOut:
    """Which datasets have a value in a column, and which jobs and models learnt from them: what to
    delete so that a person is forgotten. Move or delete the aliases, then delete the jobs, then the
    datasets.

    Datasets without the column are passed over. A page is `limit` datasets, or as many as are read
    in some ten seconds. The value is neither logged nor stored. Backups, and what jobs wrote
    elsewhere, are not searched: see docs/erasure.md."""
    if resources.searching.statistics().tasks_waiting >= MOST_WAITING:
        raise Busy("Other searches wait already. Try again in a moment.")
    look = partial(traces.find, resources, principal.tenant, body, query)
    return await to_thread.run_sync(look, limiter=resources.searching)
