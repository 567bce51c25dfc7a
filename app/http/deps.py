"""What endpoints ask for: whose request it is, and what the process has open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Request

from app.resources import Resources
from app.storage.tables import LOCAL_TENANT

# From the least to the most: predicts; reads; uploads, submits and deletes; has keys and quotas.
Role = Literal["predictor", "viewer", "editor", "admin"]


@dataclass(frozen=True)
class Principal:
    """Who sends a request: nothing of another tenant is there for them.

    key_id : the API key that the request carries; None for one without
    """

    tenant: str
    key_id: str | None
    role: Role


LOCAL = Principal(tenant=LOCAL_TENANT, key_id=None, role="admin")


def identify(request: Request) -> Principal:  # noqa: ARG001
    """Everybody is `local` until there are keys. The application has this as `state.identify`."""
    return LOCAL


# Both are async: a sync dependency costs a switch to another thread and back. The way of a price
# calls them without FastAPI, so neither is replaced by `dependency_overrides`: replace
# `app.state.identify`, which both ways ask.
async def resources(request: Request) -> Resources:
    found: Resources = request.app.state.resources
    return found


async def principal(request: Request) -> Principal:
    found: Principal = request.app.state.identify(request)
    return found


# A session is opened by who uses it, `with resources.database.reading()`. As a dependency it would
# be entered in one thread and left in another: while writers waited for their turn in all threads,
# none would be left to end one. And a transaction is over before the answer leaves: an answer that
# says 202 is about a row that is there.
ResourcesDep = Annotated[Resources, Depends(resources)]
PrincipalDep = Annotated[Principal, Depends(principal)]
