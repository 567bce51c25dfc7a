"""The errors that a user can get, as RFC 9457 problem documents.

Problem                      status  slug
├── Malformed                400     malformed-request
├── Unauthorized             401     unauthorized
│   └── InvalidToken         401     invalid-token
├── Forbidden                403     forbidden
├── NotFound                 404     not-found
├── Conflict                 409     conflict
├── PreconditionFailed       412     precondition-failed
├── Invalid                  422     invalid-request
│   ├── InvalidTable         422     invalid-table
│   ├── InvalidSpec          422     invalid-spec
│   ├── InvalidRows          422     invalid-rows
│   └── IdempotencyMismatch  422     idempotency-mismatch
├── TooSlow                  408     too-slow
├── TooLarge                 413     too-large
├── UnsupportedMedia         415     unsupported-media-type
├── TooManyAttempts          429     too-many-attempts
├── TooManyQueued            429     too-many-queued
├── OverQuota                429     over-quota
├── Busy                     503     busy
├── Unavailable              503     unavailable
├── DamagedFile              503     damaged-file
├── OutOfMemory              503     out-of-memory
├── OutOfSpace               507     out-of-space
└── OverStorageQuota         507     over-storage-quota
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

PROBLEM_MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "https://foldhouse.dev/problems/"


class Fault(BaseModel):
    """One of several faults, located by a JSON pointer or by a table's row and column.

    Rows count from 1, the first row below the header.
    """

    detail: str
    pointer: str | None = None
    row: int | None = None
    column: str | None = None


def describe(fault: Fault) -> str:
    """One fault as a line of text."""
    places = {"row": fault.row, "column": fault.column, "field": fault.pointer}
    where = ", ".join(f"{name} {place}" for name, place in places.items() if place is not None)
    return f"  {where}: {fault.detail}" if where else f"  {fault.detail}"


class ProblemDocument(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None
    errors: list[Fault]


class Problem(Exception):
    """The base class. `detail` says what is wrong and what to do."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, detail: str, errors: list[Fault] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors or []

    def document(self, instance: str | None = None) -> ProblemDocument:
        return ProblemDocument(
            type=TYPE_PREFIX + self.slug,
            title=self.title,
            status=self.status,
            detail=self.detail,
            instance=instance,
            errors=self.errors,
        )


class Malformed(Problem):
    status, slug, title = 400, "malformed-request", "Not a valid HTTP request"


class Unauthorized(Problem):
    status, slug, title = 401, "unauthorized", "An API key is needed"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer realm="foldhouse"'}


class InvalidToken(Unauthorized):
    slug, title = "invalid-token", "The identity provider does not vouch for you"
    headers: ClassVar[dict[str, str]] = {
        "WWW-Authenticate": 'Bearer realm="foldhouse", error="invalid_token"'
    }


class Forbidden(Problem):
    status, slug, title = 403, "forbidden", "Not allowed"


class NotFound(Problem):
    status, slug, title = 404, "not-found", "Not found"


class Conflict(Problem):
    status, slug, title = 409, "conflict", "Conflict with the current state"


class PreconditionFailed(Problem):
    status, slug, title = 412, "precondition-failed", "Changed since you read it"


class Invalid(Problem):
    status, slug, title = 422, "invalid-request", "The request is not valid"


class InvalidTable(Invalid):
    slug, title = "invalid-table", "The table cannot be read"


class InvalidSpec(Invalid):
    slug, title = "invalid-spec", "The job spec does not fit the table"


class InvalidRows(Invalid):
    slug, title = "invalid-rows", "The rows cannot be predicted"


class IdempotencyMismatch(Invalid):
    slug, title = "idempotency-mismatch", "The idempotency key was used for another request"


class TooSlow(Problem):
    status, slug, title = 408, "too-slow", "The request body arrived too slowly"


class TooLarge(Problem):
    status, slug, title = 413, "too-large", "Over a limit of this server"


class UnsupportedMedia(Problem):
    status, slug, title = 415, "unsupported-media-type", "Unsupported media type"


class TooManyAttempts(Problem):
    status, slug, title = 429, "too-many-attempts", "Too many failed attempts to sign in"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "60"}


class TooManyRequests(Problem):
    status, slug, title = 429, "too-many-requests", "Too many requests"


class TooManyQueued(Problem):
    status, slug, title = 429, "too-many-queued", "Too many jobs are waiting"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "30"}


class OverQuota(Problem):
    status, slug, title = 429, "over-quota", "Over a quota of the tenant"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "60"}


class Busy(Problem):
    status, slug, title = 503, "busy", "The server is busy"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "2", "Connection": "close"}


class Unavailable(Problem):
    status, slug, title = 503, "unavailable", "A service that this one needs is not available"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}


class DamagedFile(Problem):
    """503 and not 500: neither the request nor the code is at fault; a file was lost."""

    status, slug, title = 503, "damaged-file", "A stored file is damaged"


class OutOfMemory(Problem):
    status, slug, title = 503, "out-of-memory", "There is not enough memory"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}


class OutOfSpace(Problem):
    status, slug, title = 507, "out-of-space", "The disk is full"


class OverStorageQuota(Problem):
    status, slug, title = 507, "over-storage-quota", "The tenant has no room for it"
