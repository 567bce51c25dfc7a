"""Keeps every change of an alias, and rolls back along them.

A change names the previous change. A rollback copies that name from the change to which it returns.
So a model that was rolled back is skipped from then on, and a second rollback goes a step further:

    1  put A       previous: none
    2  put B       previous: 1
    3  put C       previous: 2
    4  rollback B  previous: 1
    5  rollback A  previous: none

The functions take a session; the caller owns the transaction.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.errors import Conflict, NotFound
from app.registry import repository
from app.storage.database import database_now
from app.storage.tables import Alias, AliasChange, Model


def point(session: Session, tenant: str, name: str, model: Model, *, force: bool) -> Alias:
    """Point an alias at a model; does nothing if it already points there.

    Raises
    ------
    Conflict: it points at a model of another target, without `force`.
    """
    alias = repository.lock_alias(session, tenant, name)
    if alias is not None:
        present = session.get_one(Model, alias.model_id)
        if present.id == model.id:
            return alias
        if present.target != model.target and not force:
            raise Conflict(
                f"'{name}' was not moved. It points at {present.id}, which predicts "
                f"'{present.target}', but {model.id} predicts '{model.target}'. Clients of the "
                "alias would get values of another target. Use another alias, or `force` it."
            )
    alias = _move(session, alias or Alias(tenant=tenant, name=name), model.id)
    record(session, tenant, name, model.id)
    return alias


def roll_back(session: Session, tenant: str, name: str) -> AliasChange:
    """Point an alias at its previous existing model of the same target; returns the change.

    Raises
    ------
    NotFound
    Conflict: there is no such model.
    """
    alias = _locked(session, tenant, name)
    present = session.get_one(Model, alias.model_id)
    change = _way_back(session, alias, present.target)
    if change is None or change.model_id is None:
        raise Conflict(
            f"'{name}' cannot be rolled back: before {present.id}, it pointed at no model of "
            f"'{present.target}' that still exists."
        )
    _move(session, alias, change.model_id)
    step = AliasChange(
        tenant=tenant,
        alias=name,
        model_id=change.model_id,
        previous_id=change.previous_id,
        changed_at=alias.updated_at,
    )
    session.add(step)
    session.flush()
    return step


def delete(session: Session, tenant: str, name: str) -> None:
    """Delete an alias; its history stays. Raises NotFound."""
    session.delete(_locked(session, tenant, name))
    record(session, tenant, name, None)


def record(session: Session, tenant: str, name: str, model_id: str | None) -> None:
    """Record a change of an alias. The transaction has locked its row or deleted it."""
    newest = repository.newest_change(session, tenant, name)
    previous_id = None if newest is None else newest.id
    session.add(AliasChange(tenant=tenant, alias=name, model_id=model_id, previous_id=previous_id))


def _locked(session: Session, tenant: str, name: str) -> Alias:
    """Raises NotFound."""
    alias = repository.lock_alias(session, tenant, name)
    if alias is None:
        raise NotFound(f"There is no alias '{name}'.")
    return alias


def _way_back(session: Session, alias: Alias, target: str) -> AliasChange | None:
    """The latest change, along the way back, to another existing model of the target."""
    change = repository.newest_change(session, alias.tenant, alias.name)
    while change is not None:
        if change.model_id is not None and change.model_id != alias.model_id:
            model = session.get(Model, change.model_id)
            if model is not None and model.target == target:
                return change
        previous = change.previous_id
        change = session.get(AliasChange, previous) if previous is not None else None
    return None


def _move(session: Session, alias: Alias, model_id: str) -> Alias:
    alias.model_id = model_id
    alias.updated_at = database_now()
    session.add(alias)
    session.flush()
    session.refresh(alias)
    return alias
