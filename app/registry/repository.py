"""Queries about models and aliases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.paging import PageQuery
from app.parameters import LATEST
from app.storage.tables import Alias, Model

ID_PREFIX = "mdl_"


def get(session: Session, tenant: str, reference: str) -> Model:
    """A model by its id or by an alias, or the newest for `latest`; raises NotFound."""
    query = select(Model).where(Model.tenant == tenant)
    if reference == LATEST:
        model = session.scalar(query.order_by(Model.id.desc()).limit(1))
        if model is None:
            raise NotFound("There is no model yet: the first job to succeed registers one.")
        return model
    if reference.startswith(ID_PREFIX):
        model = session.scalar(query.where(Model.id == reference))
        if model is None:
            raise NotFound(f"There is no model {reference}.")
        return model
    model = session.scalar(query.join(Alias).where(Alias.tenant == tenant, Alias.name == reference))
    if model is None:
        raise NotFound(
            f"There is no model called '{reference}': the first job to succeed registers the "
            "champion, and PUT /v1/aliases/{alias} gives other names."
        )
    return model


def page(session: Session, tenant: str, query: PageQuery) -> Sequence[Model]:
    return session.scalars(query.apply(select(Model).where(Model.tenant == tenant), Model.id)).all()


def aliases(session: Session, tenant: str) -> Sequence[Alias]:
    return session.scalars(select(Alias).where(Alias.tenant == tenant).order_by(Alias.name)).all()


def alias_names(session: Session, model_ids: Iterable[str]) -> dict[str, list[str]]:
    """The aliases that point at each of these models."""
    names: dict[str, list[str]] = {}
    query = select(Alias).where(Alias.model_id.in_(model_ids)).order_by(Alias.name)
    for alias in session.scalars(query):
        names.setdefault(alias.model_id, []).append(alias.name)
    return names
