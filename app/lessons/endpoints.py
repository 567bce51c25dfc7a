"""/v1/lessons"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.errors import (
    IdempotencyMismatch,
    Invalid,
    NotFound,
    TooLarge,
    TooManyQueued,
    Unavailable,
    UnsupportedMedia,
)
from app.http.bodies import DocumentRoute
from app.http.deps import PrincipalDep, ResourcesDep
from app.http.openapi import problems
from app.http.parameters import IdempotencyKeyHeader, name_path
from app.lessons import runs
from app.lessons.schemas import LessonList, LessonOut, LessonRunOut
from app.storage import idempotency
from lessons.catalogue import Language, lessons

router = APIRouter(prefix="/v1", tags=["lessons"], route_class=DocumentRoute)

RETRY_AFTER = "1"  # s until there may be an outcome


@router.get("/lessons", summary="List lessons", responses=problems(Invalid))
def list_lessons(
    language: Annotated[Language, Query(description="Of the texts: English or Chinese.")] = "en",
) -> LessonList:
    """`POST /v1/lessons/{name}` runs one here, `foldhouse lessons run NAME` on the command line."""
    return LessonList(data=[LessonOut.of(lesson, language) for lesson in lessons()])


@router.post(
    "/lessons/{name}",
    summary="Run a lesson",
    status_code=202,
    responses=problems(
        Invalid,
        NotFound,
        IdempotencyMismatch,
        TooLarge,
        TooManyQueued,
        Unavailable,
        UnsupportedMedia,
    ),
)
def run_lesson(
    resources: ResourcesDep,
    principal: PrincipalDep,
    name: Annotated[str, name_path("xor", "A lesson's name.")],
    response: Response,
    idempotency_key: IdempotencyKeyHeader = None,
) -> LessonRunOut:
    """Queues a run for a worker; `Location` is its address, where its figures, plots and checks
    will be."""
    tenant = principal.tenant
    request = idempotency.fingerprint("POST /v1/lessons/{name}", name)
    with resources.database.writing() as session:
        run_id = idempotency.once(
            session,
            tenant,
            idempotency_key,
            request,
            lambda: runs.begin(session, tenant, name).id,
        )
        with idempotency.repeating(idempotency_key):
            found = LessonRunOut.of(runs.get(session, tenant, run_id))
    response.headers["Location"] = f"/v1/lesson-runs/{run_id}"
    response.headers["Retry-After"] = RETRY_AFTER
    return found


@router.get(
    "/lesson-runs/{run_id}",
    summary="Show a run of a lesson",
    responses=problems(Invalid, NotFound, Unavailable),
)
def show_lesson_run(
    resources: ResourcesDep,
    principal: PrincipalDep,
    run_id: Annotated[str, name_path("latest", "A run's id, or `latest`.")],
) -> LessonRunOut:
    """Its state, and once it has succeeded the outcome: what the lesson claims, and whether its
    numbers bear it out. The newest hundred runs are kept."""
    with resources.database.reading() as session:
        return LessonRunOut.of(runs.get(session, principal.tenant, run_id))
