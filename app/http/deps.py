"""What endpoints depend on: the sender of the request, and the process's open resources."""

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
    """The sender of a request, who sees nothing of other tenants.

    key_id : the API key that the request carries, or None
    """

    tenant: str
    key_id: str | None
    role: Role


LOCAL = Principal(tenant=LOCAL_TENANT, key_id=None, role="admin")


def identify(request: Request) -> Principal:  # noqa: ARG001
    """Every sender is `local` until there are keys. The application keeps this function as
    `state.identify`."""
    return LOCAL


# Both are async because a sync dependency costs a switch to another thread and back. Predictions
# call them without FastAPI, so `dependency_overrides` does not replace them: replace
# `app.state.identify` instead.
async def resources(request: Request) -> Resources:
    found: Resources = request.app.state.resources
    return found


async def principal(request: Request) -> Principal:
    found: Principal = request.app.state.identify(request)
    return found


# Sessions are not a dependency: the code that needs one opens it, `with
# resources.database.reading()`. FastAPI would enter and exit it in different threads. If all
# threads were waiting to write, no thread would be free to end a transaction. The code also commits
# before the answer is sent, so a 202 is about a row that exists.
ResourcesDep = Annotated[Resources, Depends(resources)]
PrincipalDep = Annotated[Principal, Depends(principal)]
