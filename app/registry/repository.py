"""Queries about models and aliases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.http.paging import PageQuery
from app.http.parameters import LATEST
from app.storage.tables import Alias, AliasChange, Model

ID_PREFIX = "mdl_"


def get(session: Session, tenant: str, reference: str) -> Model:
    """A model by its id or by an alias, or the newest for `latest`; raises NotFound."""
    query = select(Model).where(Model.tenant == tenant)
    if reference == LATEST:
        model = session.scalar(query.order_by(Model.id.desc()).limit(1))
        if model is None:
            raise NotFound("There is no model yet. The first job that succeeds registers one.")
        return model
    if reference.startswith(ID_PREFIX):
        model = session.scalar(query.where(Model.id == reference))
        if model is None:
            raise NotFound(f"There is no model {reference}.")
        return model
    model = session.scalar(query.join(Alias).where(Alias.tenant == tenant, Alias.name == reference))
    if model is None:
        raise NotFound(
            f"There is no model called '{reference}'. The model of the first job that "
            "succeeds becomes the champion. PUT /v1/aliases/{alias} creates other aliases."
        )
    return model


def page(session: Session, tenant: str, query: PageQuery) -> Sequence[Model]:
    return session.scalars(query.apply(select(Model).where(Model.tenant == tenant), Model.id)).all()


def aliases(session: Session, tenant: str) -> Sequence[Row[Alias, int]]:
    """Aliases with their versions, sorted by name."""
    version = select(func.max(AliasChange.id)).where(
        AliasChange.tenant == Alias.tenant, AliasChange.alias == Alias.name
    )
    return session.execute(
        select(Alias, version.scalar_subquery()).where(Alias.tenant == tenant).order_by(Alias.name)
    ).all()


def alias(session: Session, tenant: str, name: str) -> Alias:
    """Raises NotFound."""
    found = session.get(Alias, (tenant, name))
    if found is None:
        raise NotFound(f"There is no alias '{name}'.")
    return found


def alias_names(session: Session, model_ids: Iterable[str]) -> dict[str, list[str]]:
    """The aliases that point at each of these models."""
    names: dict[str, list[str]] = {}
    query = select(Alias).where(Alias.model_id.in_(model_ids)).order_by(Alias.name)
    for alias in session.scalars(query):
        names.setdefault(alias.model_id, []).append(alias.name)
    return names


def lock_alias(session: Session, tenant: str, name: str) -> Alias | None:
    """Lock an alias's row until the transaction ends."""
    return session.get(Alias, (tenant, name), with_for_update=True)


def newest_change(session: Session, tenant: str, name: str) -> AliasChange | None:
    return session.scalar(_changes(tenant, name).order_by(AliasChange.id.desc()).limit(1))


def version(session: Session, tenant: str, name: str) -> str:
    """The id of the newest change of an alias; empty before the first."""
    newest = newest_change(session, tenant, name)
    return "" if newest is None else str(newest.id)


def changes(session: Session, tenant: str, name: str, query: PageQuery) -> Sequence[AliasChange]:
    """A page of an alias's history, newest first; raises NotFound for a name never used."""
    found = session.scalars(query.apply(_changes(tenant, name), AliasChange.id)).all()
    if not found and newest_change(session, tenant, name) is None:
        raise NotFound(f"There has never been an alias '{name}'.")
    return found


def _changes(tenant: str, name: str) -> Select[AliasChange]:
    return select(AliasChange).where(AliasChange.tenant == tenant, AliasChange.alias == name)
