"""`keys`: made and revoked on the service's own machine, in its database. So the first admin's key
needs no password, and no other key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.connection import AsJson, print_json
from app.cli.service import make_data_dir, migrate_database, require_tables
from app.cli.terminal import keep_private, load_settings, refuse, tell
from app.grants import Role
from app.storage.tables import LOCAL_TENANT

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.accounts.service import NewKey

keys = typer.Typer(
    no_args_is_help=True, help="API keys. Once there has been one, every request needs one."
)
KeyId = Annotated[str, typer.Argument(help="A key's id.")]


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="For whom or what it is.")],
    role: Annotated[
        Role,
        typer.Option(
            help="predictor predicts and reads models; viewer reads all; editor uploads, submits, "
            "cancels and deletes; admin has the keys."
        ),
    ],
    tenant: Annotated[
        str,
        typer.Option(help="Whose data it sees. Admins of `local` make keys for all tenants."),
    ] = LOCAL_TENANT,
    days: Annotated[
        float | None, typer.Option(min=0.0, help="How long it works. Default: for ever.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, and print it this once."""
    from pydantic import ValidationError

    from app.accounts import service
    from app.accounts.schemas import KeyCreate

    ends = None if days is None else datetime.now(UTC) + timedelta(days=days)
    try:
        asked = KeyCreate(name=name, role=role, tenant=tenant, expires_at=ends)
    except ValidationError as error:
        fault = error.errors()[0]
        refuse(f"{fault['loc'][0]} {fault['input']!r}: {fault['msg']}")
    with writing() as session:
        new = service.create(
            session, tenant=tenant, name=asked.name, role=role, expires_at=asked.expires_at
        )
        show_new(new, as_json=as_json)


@keys.command(name="list")
def list_keys(as_json: AsJson = False) -> None:
    """All keys, oldest first."""
    from app.accounts import repository
    from app.accounts.schemas import KeyOut

    with writing() as session:
        found = [KeyOut.of(key).model_dump(mode="json") for key in repository.listed(session)]
    if as_json:
        print_json(found)
    else:
        from app.cli import display

        display.keys(found)


@keys.command()
def revoke(key_id: KeyId) -> None:
    """Refuse a key from now on; every process does so within a second."""
    from app.accounts import repository, service

    with writing() as session:
        key = repository.get(session, None, key_id)
        service.revoke(session, key)
        tell(f"{key.id}  {key.start}…  revoked")


@keys.command()
def rotate(
    key_id: KeyId,
    hours: Annotated[
        float, typer.Option(min=0.0, max=720.0, help="How long the old one still works.")
    ] = 24.0,
    as_json: AsJson = False,
) -> None:
    """Make a second key like this one, which ends after a while."""
    from app.accounts import repository, service

    with writing() as session:
        key = repository.get(session, None, key_id)
        show_new(service.rotate(session, key, hours * 3600), as_json=as_json)


@contextmanager
def writing() -> Iterator[Session]:
    """A transaction on the service's database; its problems end the command."""
    from app.errors import Problem
    from app.storage.database import Database

    keep_private()
    settings = load_settings()
    if settings.is_new:  # so that a service can have keys before it is first reached
        make_data_dir(settings.root)
        migrate_database(settings)
    require_tables(settings)
    try:
        with (
            closing(Database(settings.resolved_database_url)) as database,
            database.writing() as session,
        ):
            yield session
    except Problem as problem:
        refuse(problem.detail)


def show_new(new: NewKey, *, as_json: bool) -> None:
    from app.accounts.schemas import KeyCreated

    created: dict[str, Any] = KeyCreated.with_secret(new).model_dump(mode="json")
    if as_json:
        print_json(created)
        return
    tell(f"{created['id']}  {created['role']} of {created['tenant']}, shown only now:", err=True)
    typer.echo(new.secret)
