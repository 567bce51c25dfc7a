"""/v1/quotas, and /v1/whoami, which shows what is used of them"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from sqlalchemy.orm import Session

from app.accounts import quotas
from app.accounts.endpoints import BODY, COMMON
from app.accounts.predicted_rows import PredictedRows
from app.accounts.schemas import (
    QuotaOut,
    QuotasList,
    QuotasOut,
    QuotasPut,
    WhoAmIOut,
)
from app.errors import Forbidden, NotFound
from app.grants import TENANT_PATTERN
from app.http.bodies import DocumentRoute
from app.http.deps import Principal, PrincipalDep, ResourcesDep
from app.http.openapi import problems
from app.http.parameters import name_path
from app.resources import Resources
from app.storage.tables import LOCAL_TENANT

router = APIRouter(prefix="/v1", tags=["accounts"], route_class=DocumentRoute, responses=COMMON)
removal = APIRouter(prefix="/v1", tags=["removal"], route_class=DocumentRoute, responses=COMMON)

TenantName = Annotated[str, name_path(LOCAL_TENANT, "A tenant's name.", TENANT_PATTERN)]


@router.put("/quotas/{tenant}", summary="Set quotas", responses=BODY | problems(NotFound))
def set_quotas(
    resources: ResourcesDep, principal: PrincipalDep, tenant: TenantName, body: QuotasPut
) -> QuotasOut:
    """Replaces all of a tenant's own quotas. Only admins of `local` may. What is already there
    stays, and what already runs goes on."""
    return _change(resources, principal, tenant, body)


@router.get("/quotas", summary="List quotas")
def list_quotas(resources: ResourcesDep, principal: PrincipalDep) -> QuotasList:
    """Of tenants that have their own, by name; for admins of `local` those of all tenants."""
    with resources.database.reading() as session:
        tenants = quotas.tenants_with_own(session)
        seen = [one for one in tenants if principal.is_operator or one == principal.tenant]
        return QuotasList(data=[_shown(session, resources, tenant) for tenant in seen])


@router.get("/quotas/{tenant}", summary="Show quotas", responses=problems(NotFound))
def show_quotas(resources: ResourcesDep, principal: PrincipalDep, tenant: TenantName) -> QuotasOut:
    """What a tenant may use, and what it uses now."""
    _require_sight(principal, tenant)
    with resources.database.reading() as session:
        return _shown(session, resources, tenant)


@removal.delete(
    "/quotas/{tenant}", summary="Reset quotas", status_code=204, responses=problems(NotFound)
)
def reset_quotas(resources: ResourcesDep, principal: PrincipalDep, tenant: TenantName) -> None:
    """The tenant has the defaults of the service's settings again."""
    _change(resources, principal, tenant, QuotasPut())


@router.get("/whoami", summary="Who am I?")
def whoami(resources: ResourcesDep, principal: PrincipalDep) -> WhoAmIOut:
    """The tenant and role of the sender of this request, and what the tenant uses of its quotas."""
    with resources.database.reading() as session:
        used = _quotas(session, resources, principal.tenant)
    return WhoAmIOut(
        tenant=principal.tenant,
        role=principal.role,
        key_id=principal.key_id,
        subject=principal.subject,
        subject_name=principal.subject_name,
        quotas=used,
    )


def _quotas(session: Session, resources: Resources, tenant: str) -> dict[str, QuotaOut]:
    """What a tenant may use, and what it uses now."""
    allowed = quotas.limits(session, tenant, quotas.defaults(resources.settings))
    used = quotas.used(session, tenant)
    used["predicted_rows_per_minute"] = resources[PredictedRows].used(tenant)
    return {
        name: QuotaOut(limit=getattr(allowed, name), used=round(used[name]))
        for name in quotas.NAMES
    }


def _change(resources: Resources, principal: Principal, tenant: str, body: QuotasPut) -> QuotasOut:
    _require_sight(principal, tenant)
    if not principal.is_operator:
        raise Forbidden(f"Quotas are set by admins of the tenant {LOCAL_TENANT}.")
    with resources.database.writing() as session:
        quotas.set_own(session, tenant, body.model_dump())
        shown = _shown(session, resources, tenant)
    resources[PredictedRows].forget()
    return shown


def _require_sight(principal: Principal, tenant: str) -> None:
    """Raises NotFound."""
    if tenant != principal.tenant and not principal.is_operator:
        raise NotFound(f"There is no tenant {tenant}.")


def _shown(session: Session, resources: Resources, tenant: str) -> QuotasOut:
    return QuotasOut(
        tenant=tenant,
        own=quotas.own(session, tenant),
        quotas=_quotas(session, resources, tenant),
    )
