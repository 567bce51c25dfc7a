"""/v1/webhooks"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response

from app.errors import (
    Conflict,
    IdempotencyMismatch,
    Invalid,
    NotFound,
    TooLarge,
    TooSlow,
    Unavailable,
    UnsupportedMedia,
)
from app.http.bodies import DocumentRoute
from app.http.deps import PrincipalDep, ResourcesDep
from app.http.openapi import problems
from app.http.parameters import IdempotencyKeyHeader, StrictRoute, name_path
from app.webhooks import repository, service
from app.webhooks.schemas import WebhookCreate, WebhookCreated, WebhookList, WebhookOut

COMMON = problems(Invalid, Unavailable)

router = APIRouter(
    prefix="/v1/webhooks", tags=["webhooks"], route_class=DocumentRoute, responses=COMMON
)
removal = APIRouter(
    prefix="/v1/webhooks", tags=["removal"], route_class=StrictRoute, responses=COMMON
)

WebhookId = Annotated[str, name_path("latest", "A webhook's id, or `latest`.")]


@router.post(
    "",
    summary="Create a webhook",
    status_code=201,
    responses=problems(
        Conflict, Invalid, IdempotencyMismatch, NotFound, TooSlow, TooLarge, UnsupportedMedia
    ),
)
def create_webhook(
    resources: ResourcesDep,
    principal: PrincipalDep,
    body: WebhookCreate,
    response: Response,
    idempotency_key: IdempotencyKeyHeader = None,
) -> WebhookCreated:
    """When a job ends, a `WebhookMessage` is posted to the address, signed with the secret, which
    is shown only now. Whatever is answered but 2xx is tried again, for a day."""
    allow_private = resources.settings.webhook_allow_private
    with resources.database.writing() as session:
        webhook = service.create(
            session, principal.tenant, body, idempotency_key, allow_private=allow_private
        )
        created = WebhookCreated.model_validate(webhook, from_attributes=True)
    response.headers["Location"] = f"/v1/webhooks/{created.id}"
    return created


@router.get("", summary="List webhooks")
def list_webhooks(resources: ResourcesDep, principal: PrincipalDep) -> WebhookList:
    """Ten at most; oldest first."""
    with resources.database.reading() as session:
        rows = repository.listed(session, principal.tenant)
        return WebhookList(data=[WebhookOut.of(row) for row in rows])


@router.get("/{webhook_id}", summary="Show a webhook", responses=problems(NotFound))
def show_webhook(
    resources: ResourcesDep, principal: PrincipalDep, webhook_id: WebhookId
) -> WebhookOut:
    """Whether its messages arrive."""
    with resources.database.reading() as session:
        return WebhookOut.of(repository.get(session, principal.tenant, webhook_id))


@removal.delete(
    "/{webhook_id}",
    summary="Delete a webhook",
    status_code=204,
    responses=problems(NotFound),
)
def delete_webhook(resources: ResourcesDep, principal: PrincipalDep, webhook_id: WebhookId) -> None:
    """Also drops the messages that have not been delivered yet."""
    with resources.database.writing() as session:
        repository.remove(session, repository.get(session, principal.tenant, webhook_id))
