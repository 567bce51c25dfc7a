"""What endpoints depend on: the sender of the request, and the process's open resources."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from app.grants import Role
from app.resources import Resources
from app.storage.tables import LOCAL_TENANT


@dataclass(frozen=True)
class Principal:
    """The sender of a request, who sees nothing of other tenants.

    key_id : the API key that the request carries; None of a person, and while there are no keys
    subject, subject_name : the person whom the identity provider knows by this, and calls so
    csrf : what a page of this server must send with whatever writes, if it is a browser
    """

    tenant: str
    key_id: str | None
    role: Role
    subject: str | None = None
    subject_name: str | None = None
    csrf: str | None = None

    @property
    def is_operator(self) -> bool:
        """Whether it may see and change keys and quotas of all tenants, and see their audit."""
        return self.role == "admin" and self.tenant == LOCAL_TENANT


LOCAL = Principal(tenant=LOCAL_TENANT, key_id=None, role="admin")
# Set by `app.accounts.authentication` for everything but public paths.
SENDER: ContextVar[Principal | None] = ContextVar("sender", default=None)
SIGNED_IN = "foldhouse.signed_in"  # in the scope of a request that signs in: as whom


# Both are async because a sync dependency costs a switch to another thread and back. Predictions
# call them without FastAPI, so `dependency_overrides` does not replace them.
async def resources(request: Request) -> Resources:
    found: Resources = request.app.state.resources
    return found


async def principal() -> Principal:
    found = SENDER.get()
    assert found is not None
    return found


# Sessions are not a dependency: the code that needs one opens it, `with
# resources.database.reading()`. FastAPI would enter and exit it in different threads. If all
# threads were waiting to write, no thread would be free to end a transaction. The code also commits
# before the answer is sent, so a 202 is about a row that exists.
ResourcesDep = Annotated[Resources, Depends(resources)]
PrincipalDep = Annotated[Principal, Depends(principal)]
