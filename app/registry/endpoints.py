"""/v1/models and /v1/aliases"""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, BackgroundTasks, Response

from app.errors import (
    Conflict,
    DamagedFile,
    Forbidden,
    IdempotencyMismatch,
    Invalid,
    NotFound,
    PreconditionFailed,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
)
from app.http.bodies import DocumentRoute
from app.http.deps import Principal, PrincipalDep, ResourcesDep
from app.http.openapi import problems
from app.http.paging import NumberedPageQueryDep, Page, PageQueryDep
from app.http.parameters import IdempotencyKeyHeader, IfMatchHeader, StrictRoute, name_path
from app.http.sent_files import SentFiles
from app.registry import history, promotion, repository, service, versions
from app.registry.names import ModelNames
from app.registry.schemas import (
    AliasChangeOut,
    AliasList,
    AliasOut,
    AliasPut,
    ModelDetail,
    ModelOut,
)
from app.resources import Resources
from app.storage import removals
from app.storage.blobs import CHUNK
from models import artifacts

ZIP = "application/zip"
ONNX = "application/octet-stream"

COMMON = problems(Invalid, Unavailable)

router = APIRouter(prefix="/v1", tags=["models"], route_class=DocumentRoute, responses=COMMON)
removal = APIRouter(prefix="/v1", tags=["removal"], route_class=StrictRoute, responses=COMMON)

ModelId = Annotated[str, name_path("champion", "A model's id, or an alias.")]
AliasName = Annotated[
    str, name_path("production", "Any name.", pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
]


@router.get("/models", summary="List models")
def list_models(
    resources: ResourcesDep, principal: PrincipalDep, query: PageQueryDep
) -> Page[ModelOut]:
    """Newest first."""
    with resources.database.reading() as session:
        rows = repository.page(session, principal.tenant, query)
        aliases = repository.alias_names(session, [model.id for model in rows])
    return query.page([ModelOut.of(model, aliases.get(model.id, [])) for model in rows])


@router.get(
    "/models/{model_id}",
    summary="Show a model",
    responses=problems(NotFound, Unavailable, DamagedFile),
)
def show_model(resources: ResourcesDep, principal: PrincipalDep, model_id: ModelId) -> ModelDetail:
    """A model's metrics, aliases, and the columns that it uses, with their levels and ranges."""
    # Files are read after the transaction, which on SQLite can block writers.
    with resources.database.reading() as session:
        model = repository.get(session, principal.tenant, model_id)
        aliases = repository.alias_names(session, [model.id]).get(model.id, [])
    manifest = service.manifest(model, resources.blobs)
    return ModelDetail.with_columns(ModelOut.of(model, aliases), manifest)


@router.get(
    "/models/{model_id}/export",
    summary="Download a model",
    response_class=Response,
    responses={
        200: {
            "content": {
                media_type: {"schema": {"type": "string", "format": "binary"}}
                for media_type in (ZIP, ONNX)
            }
        },
        **problems(NotFound, Unavailable, DamagedFile),
    },
)
def export_model(
    resources: ResourcesDep,
    principal: PrincipalDep,
    model_id: ModelId,
    format: Literal["zip", "onnx"] = "zip",
) -> Response:
    """A zip of everything needed to predict elsewhere, or only `model.onnx`."""
    with resources.database.reading() as session:
        model = repository.get(session, principal.tenant, model_id)
    headers = {"Content-Disposition": f'attachment; filename="{model.id}.{format}"'}
    if format == "onnx":
        file, media_type = service.open_file(model, resources.blobs, artifacts.ONNX), ONNX
    else:
        file, media_type = service.export_zip(model, resources.blobs), ZIP
    headers["Content-Length"] = str(file.seek(0, os.SEEK_END))
    file.seek(0)
    pieces = iter(partial(file.read, CHUNK), b"")
    return SentFiles(pieces, [file], media_type=media_type, headers=headers)


@router.get("/aliases", summary="List aliases")
def list_aliases(resources: ResourcesDep, principal: PrincipalDep) -> AliasList:
    """`champion` points at the tenant's first model until you move it."""
    with resources.database.reading() as session:
        rows = repository.aliases(session, principal.tenant)
        return AliasList(data=[AliasOut.of(*row) for row in rows])


@router.put(
    "/aliases/{alias}",
    summary="Point an alias at a model",
    responses=problems(
        NotFound,
        Conflict,
        PreconditionFailed,
        TooLarge,
        UnsupportedMedia,
        Unavailable,
        DamagedFile,
    ),
)
def put_alias(
    resources: ResourcesDep,
    principal: PrincipalDep,
    alias: AliasName,
    body: AliasPut,
    response: Response,
    if_match: IfMatchHeader = None,
) -> AliasOut:
    """Creates the alias or moves it. Requests that name it use the new model at once, or within a
    second in other API processes.

    With `if_better_than`, the alias moves only if the model's error is lower than that of the other
    model, by more than chance explains, on the rows for which both have out-of-fold predictions.
    Otherwise a 409 gives both errors and the standard error of their difference, or says why the
    models cannot be compared. Moving an alias to a model of another target needs `force`.

    A `protected` alias is moved and deleted by admins only.
    """
    is_admin = principal.role == "admin"
    if body.protected is not None and not is_admin:
        raise Forbidden("Only admins may protect an alias, or end that.")
    _require_may_move(resources, principal, alias)
    if body.if_better_than is not None:
        moved = promotion.put_if_better(
            resources.database,
            resources.blobs,
            principal.tenant,
            alias,
            body.model_id,
            body.if_better_than,
            force=body.force,
            if_match=if_match,
        )
        found = AliasOut.of(*moved)
    else:
        with resources.database.writing() as session:
            tenant = principal.tenant
            versions.require(session, tenant, alias, if_match)
            row = service.put_alias(session, tenant, alias, body.model_id, force=body.force)
            found = AliasOut.of(row, repository.version(session, tenant, alias))
    if body.protected is not None:
        with resources.database.writing() as session:
            service.protect(session, principal.tenant, alias, protected=body.protected)
        found = found.model_copy(update={"protected": body.protected})
    resources[ModelNames].forget()
    return _tagged(found, response)


@router.get("/aliases/{alias}", summary="Show an alias", responses=problems(NotFound))
def show_alias(
    resources: ResourcesDep, principal: PrincipalDep, alias: AliasName, response: Response
) -> AliasOut:
    """The model that the alias points at, and its version, which is also the ETag."""
    with resources.database.reading() as session:
        row = repository.alias(session, principal.tenant, alias)
        version = repository.version(session, principal.tenant, alias)
    return _tagged(AliasOut.of(row, version), response)


@router.get(
    "/aliases/{alias}/history",
    summary="List an alias's history",
    responses=problems(NotFound),
)
def alias_history(
    resources: ResourcesDep, principal: PrincipalDep, alias: AliasName, query: NumberedPageQueryDep
) -> Page[AliasChangeOut]:
    """Every change of the alias, newest first, including deleted models and its own deletion."""
    with resources.database.reading() as session:
        changes = repository.changes(session, principal.tenant, alias, query)
        return query.page([AliasChangeOut.of(change) for change in changes])


@router.post(
    "/aliases/{alias}/rollback",
    summary="Roll back an alias",
    responses=problems(NotFound, Conflict, PreconditionFailed, IdempotencyMismatch),
)
def roll_back_alias(
    resources: ResourcesDep,
    principal: PrincipalDep,
    alias: AliasName,
    response: Response,
    idempotency_key: IdempotencyKeyHeader = None,
    if_match: IfMatchHeader = None,
) -> AliasOut:
    """Points the alias at its previous model of the same target, skipping deleted models.

    Another rollback goes one step further back, not forward again; 409 if there is no step left. Of
    two concurrent requests, one gets a 409. Send an `Idempotency-Key`, or the version that you last
    saw as `If-Match`, so that a repeated request does not take a second step.
    """
    is_protected = _require_may_move(resources, principal, alias)
    step = service.roll_back(resources.database, principal.tenant, alias, idempotency_key, if_match)
    resources[ModelNames].forget()
    return _tagged(AliasOut.after(step, protected=is_protected), response)


@removal.delete(
    "/models/{model_id}",
    summary="Delete a model",
    status_code=204,
    responses=problems(NotFound, Conflict),
)
def delete_model(
    resources: ResourcesDep,
    principal: PrincipalDep,
    model_id: ModelId,
    background: BackgroundTasks,
) -> None:
    """Deletes its files too, including the out-of-fold predictions. 409 while an alias points at
    it."""
    with resources.database.writing() as session:
        service.delete(session, principal.tenant, model_id)
    resources[ModelNames].forget()
    background.add_task(removals.carry_out, resources.database, resources.blobs)


@removal.delete(
    "/aliases/{alias}",
    summary="Delete an alias",
    status_code=204,
    responses=problems(NotFound, PreconditionFailed),
)
def delete_alias(
    resources: ResourcesDep,
    principal: PrincipalDep,
    alias: AliasName,
    if_match: IfMatchHeader = None,
) -> None:
    """Keeps the model and the alias's history. If you delete `champion`, the model of the next job
    that succeeds becomes the champion; to choose it yourself, `PUT` another model instead."""
    _require_may_move(resources, principal, alias)
    with resources.database.writing() as session:
        versions.require(session, principal.tenant, alias, if_match)
        history.delete(session, principal.tenant, alias)
    resources[ModelNames].forget()


def _require_may_move(resources: Resources, principal: Principal, alias: str) -> bool:
    is_admin = principal.role == "admin"
    with resources.database.reading() as session:
        return service.require_may_move(session, principal.tenant, alias, is_admin=is_admin)


def _tagged(alias: AliasOut, response: Response) -> AliasOut:
    response.headers["ETag"] = versions.etag(alias.version)
    return alias
