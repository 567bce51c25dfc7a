"""/v1/keys"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response

from app.accounts import repository, service
from app.accounts.keys import Keys
from app.accounts.schemas import KeyCreate, KeyCreated, KeyOut, KeyRotate
from app.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TooLarge,
    TooSlow,
    Unavailable,
    UnsupportedMedia,
)
from app.http.bodies import DocumentRoute
from app.http.deps import Principal, PrincipalDep, ResourcesDep
from app.http.openapi import problems
from app.http.paging import Page, PageQueryDep
from app.http.parameters import name_path

COMMON = problems(Invalid, Unavailable)
BODY = problems(Invalid, Conflict, TooSlow, TooLarge, UnsupportedMedia)

router = APIRouter(prefix="/v1", tags=["accounts"], route_class=DocumentRoute, responses=COMMON)
removal = APIRouter(prefix="/v1", tags=["removal"], route_class=DocumentRoute, responses=COMMON)

KeyId = Annotated[str, name_path("latest", "A key's id, or `latest`: the newest that works.")]


@router.post("/keys", summary="Create a key", status_code=201, responses=BODY)
def create_key(
    resources: ResourcesDep, principal: PrincipalDep, body: KeyCreate, response: Response
) -> KeyCreated:
    """From the first key on, every request needs one."""
    tenant = body.tenant or principal.tenant
    if tenant != principal.tenant and not principal.is_operator:
        raise Forbidden(f"A key of the tenant {principal.tenant} makes no keys for others.")
    with resources.database.writing() as session:
        new = service.create(
            session, tenant=tenant, name=body.name, role=body.role, expires_at=body.expires_at
        )
        created = KeyCreated.with_secret(new)
    response.headers["Location"] = f"/v1/keys/{created.id}"
    return created


@router.get("/keys", summary="List keys")
def list_keys(
    resources: ResourcesDep, principal: PrincipalDep, query: PageQueryDep
) -> Page[KeyOut]:
    """Newest first, with those that were revoked. Admins of `local` see those of all tenants."""
    with resources.database.reading() as session:
        rows = repository.page(session, _scope(principal), query)
        return query.page([KeyOut.of(row) for row in rows])


@router.get("/keys/{key_id}", summary="Show a key", responses=problems(NotFound))
def show_key(resources: ResourcesDep, principal: PrincipalDep, key_id: KeyId) -> KeyOut:
    """When it was last used, and until when it works."""
    with resources.database.reading() as session:
        return KeyOut.of(repository.get(session, _scope(principal), key_id))


@router.post(
    "/keys/{key_id}/rotate",
    summary="Replace a key",
    status_code=201,
    responses=BODY | problems(NotFound),
)
def rotate_key(
    resources: ResourcesDep,
    principal: PrincipalDep,
    key_id: KeyId,
    response: Response,
    body: KeyRotate | None = None,
) -> KeyCreated:
    """A second key with the same name, role and end. The old one works for a while longer."""
    with resources.database.writing() as session:
        key = repository.get(session, _scope(principal), key_id)
        new = service.rotate(session, key, (body or KeyRotate()).grace_s)
        created = KeyCreated.with_secret(new)
    resources[Keys].forget()
    response.headers["Location"] = f"/v1/keys/{created.id}"
    return created


@removal.delete(
    "/keys/{key_id}", summary="Revoke a key", status_code=204, responses=problems(NotFound)
)
def revoke_key(resources: ResourcesDep, principal: PrincipalDep, key_id: KeyId) -> None:
    """It is refused at once, by other processes within a second, and stays in the list."""
    with resources.database.writing() as session:
        service.revoke(session, repository.get(session, _scope(principal), key_id))
    resources[Keys].forget()


def _scope(principal: Principal) -> str | None:
    """The tenant whose keys it sees; None for all."""
    return None if principal.is_operator else principal.tenant
