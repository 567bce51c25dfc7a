"""Turns every error into an `application/problem+json` answer, or into the error format of the
route's protocol."""

from __future__ import annotations

import errno
import logging
from http import HTTPStatus
from typing import Any, Protocol, runtime_checkable

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException

from app.errors import (
    PROBLEM_MEDIA_TYPE,
    TYPE_PREFIX,
    Conflict,
    DamagedFile,
    Invalid,
    NotFound,
    OutOfMemory,
    OutOfSpace,
    Problem,
    ProblemDocument,
    Unavailable,
    UnsupportedMedia,
)
from app.http.methods import allowed
from app.http.validation import not_json, request_faults
from app.storage.blobs import ArtifactCorrupt
from app.storage.database import DATABASE_AWAY, lacks_tables

log = logging.getLogger(__name__)

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
API = "/v1/"
FAULTS_TOLD = 3  # in the detail; `errors` has all of them


@runtime_checkable
class WritesProblems(Protocol):
    """A route of a protocol that has its own error format."""

    def write_problem(self, document: ProblemDocument, headers: dict[str, str]) -> Response: ...


def problem_response(request: Request, problem: Problem) -> Response:
    return _answer(request, problem.document(request.url.path), dict(problem.headers))


def internal_error(request: Request, request_id: str) -> Response:
    """For unexpected errors: the log has the stack trace under the request's id."""
    return problem_response(
        request,
        Problem(
            "The service met an error that it has no answer for. Its log describes it under "
            f"request id {request_id}."
        ),
    )


def _answer(request: Request, document: ProblemDocument, headers: dict[str, str]) -> Response:
    route = request.scope.get("route")
    if isinstance(route, WritesProblems):
        return route.write_problem(document, headers)
    # Paths of a protocol before a route is found, or where none is: its clients read only its own
    # error format.
    for prefix, writer in request.app.state.problem_writers.items():
        if f"{request.url.path}/".startswith(f"{prefix}/"):
            answer: Response = writer.write_problem(document, headers)
            return answer
    # A browser's address line; a page's own route has answered above.
    if not request.url.path.startswith(API) and "text/html" in request.headers.get("Accept", ""):
        page: Response = request.app.state.problem_page(document, headers)
        return page
    body = document.model_dump_json(exclude_none=True)
    return Response(body, document.status, headers, PROBLEM_MEDIA_TYPE)


async def _problem(request: Request, error: Problem) -> Response:
    return problem_response(request, error)


async def _http_exception(request: Request, error: HTTPException) -> Response:
    # FastAPI hides what was raised while the body was read behind a 400.
    if isinstance(error.__cause__, Problem):
        return problem_response(request, error.__cause__)
    if error.status_code == 404:
        return problem_response(request, NotFound(f"There is nothing at {request.url.path}."))
    phrase = HTTPStatus(error.status_code).phrase
    detail = error.detail
    headers = dict(error.headers or {})
    if error.status_code == 405:
        methods = allowed(request.app, request.scope)
        headers["Allow"] = ", ".join(methods)
        detail = (
            f"{request.method} is not allowed on {request.url.path}; allowed: {headers['Allow']}."
        )
    document = ProblemDocument(
        type=TYPE_PREFIX + phrase.lower().replace(" ", "-"),
        title=phrase,
        status=error.status_code,
        detail=detail,
        instance=request.url.path,
        errors=[],
    )
    return _answer(request, document, headers)


# Not async: a body can be wrong in many places, and the event loop has other requests to serve.
def _invalid_request(request: Request, error: RequestValidationError) -> Response:
    if isinstance(error.body, bytes):
        sent = request.headers.get("Content-Type", "nothing")
        problem: Problem = UnsupportedMedia(f"Content-Type must be application/json, got {sent}.")
    elif (reason := not_json(error)) is not None:
        problem = Invalid(f"The body is not JSON: {reason}.")
    else:
        faults = request_faults(request, error)
        told = [f"{fault.pointer or ''} {fault.detail}".strip() for fault in faults[:FAULTS_TOLD]]
        more = "; and more" if len(faults) > FAULTS_TOLD else ""
        problem = Invalid("; ".join(told) + more + ".", faults)
    return problem_response(request, problem)


async def _overtaken(request: Request, error: Exception) -> Response:
    """Another request came first and deleted what this one refers to, or created the same."""
    log.warning("%s %s lost to a concurrent request: %s", request.method, request.url.path, error)
    detail = "Something that this request refers to was changed meanwhile: look, and try again."
    return problem_response(request, Conflict(detail))


async def _database_error(request: Request, error: SQLAlchemyError) -> Response:
    return problem_response(request, database_problem(error))


def database_problem(error: SQLAlchemyError) -> Problem:
    """What a failure of the database says to a client."""
    log.error("the database failed: %s", error)
    text = str(error.orig) if isinstance(error, DBAPIError) else ""
    if lacks_tables(error):
        return Unavailable(
            "The database does not have the tables of this version: run `foldhouse migrate`."
        )
    if "disk is full" in text or "No space left on device" in text:
        return OutOfSpace("The database's disk is full.")
    return Unavailable("The database does not answer; try again.")


async def _programming_error(request: Request, error: ProgrammingError) -> Response:
    if not lacks_tables(error):
        raise error
    return await _database_error(request, error)


async def _damaged_file(request: Request, error: ArtifactCorrupt) -> Response:
    log.error("damaged file: %s", error)
    return problem_response(request, DamagedFile(f"{error}. Restore it from a backup."))


async def _storage_error(request: Request, error: OSError) -> Response:
    log.error("the storage failed: %s", error, exc_info=error)
    if error.errno in DISK_FULL:
        problem: Problem = OutOfSpace(
            "The storage's disk is full; nothing was kept of this request."
        )
    else:
        problem = Unavailable("The storage cannot be used; try again.")
    return problem_response(request, problem)


async def _out_of_memory(request: Request, error: MemoryError) -> Response:
    log.error("%s %s needs more memory than there is: %s", request.method, request.url.path, error)
    detail = "The memory does not suffice for this request now: try again, or send it in parts."
    return problem_response(request, OutOfMemory(detail))


HANDLERS: dict[int | type[Exception], Any] = {
    Problem: _problem,
    HTTPException: _http_exception,
    RequestValidationError: _invalid_request,
    IntegrityError: _overtaken,
    StaleDataError: _overtaken,
    **dict.fromkeys(DATABASE_AWAY, _database_error),
    ProgrammingError: _programming_error,
    ArtifactCorrupt: _damaged_file,
    OSError: _storage_error,
    MemoryError: _out_of_memory,
}
