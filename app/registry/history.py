"""Every change of an alias is kept, and a rollback goes back along them.

A change names the one before it, and a rollback copies that name from the change it returns to. So
what was rolled back is passed over from then on, and a second rollback goes back a second step:

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
    """Point an alias at a model; where it points there already, nothing has changed.

    Raises
    ------
    Conflict: it points at a model of another target, and there is no `force`.
    """
    alias = repository.lock_alias(session, tenant, name)
    if alias is not None:
        present = session.get_one(Model, alias.model_id)
        if present.id == model.id:
            return alias
        if present.target != model.target and not force:
            raise Conflict(
                f"'{name}' was not moved: {present.id}, at which it points, predicts "
                f"'{present.target}', and {model.id} predicts '{model.target}'. Whoever predicts "
                "by the alias would get numbers of another kind. Take another alias, or `force` it."
            )
    alias = _move(session, alias or Alias(tenant=tenant, name=name), model.id)
    record(session, tenant, name, model.id)
    return alias


def roll_back(session: Session, tenant: str, name: str) -> AliasChange:
    """Point an alias at the model of its target before its present one, of those that are still
    there; gives the step.

    Raises
    ------
    NotFound
    Conflict: there is none.
    """
    alias = _locked(session, tenant, name)
    present = session.get_one(Model, alias.model_id)
    change = _way_back(session, alias, present.target)
    if change is None or change.model_id is None:
        raise Conflict(
            f"There is nothing to go back to: before {present.id}, '{name}' pointed at no model of "
            f"'{present.target}' that is still there."
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
    """Keep what was done to an alias in this transaction, which holds its row or has deleted it."""
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
    """The change that made the alias point at another model of a target that is still there."""
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
