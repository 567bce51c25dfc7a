"""The rows of the audit, chained by their hashes, so that a changed or removed one is noticed.

Each row has the SHA-256 over that of the row before and its own content. Rows are numbered 1, 2,
3 …; appending takes a lock of the chain's row, so that several processes append one after the
other. The oldest rows may be removed: the chain's row keeps the hash from which the rest goes on.

Whoever can write to the database can also write a whole chain anew. The last hash, kept elsewhere,
shows that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from app.storage.database import Database, upsert
from app.storage.tables import AuditChain, AuditRow

ONLY = 1  # the id of the chain's row
NOTHING = "0" * 64  # the hash before the first row
READ_ROWS = 1_000  # at a time


@dataclass(frozen=True)
class Entry:
    """The content of a row, see `AuditRow`."""

    at: datetime
    tenant: str | None
    key_id: str | None
    role: str | None
    method: str
    route: str
    object_id: str | None
    address: str
    request_id: str
    status: int
    count: int = 1
    subject: str | None = None
    subject_name: str | None = None


NAMES = tuple(Entry.__dataclass_fields__)
# They came later: rows without them have the hash that they had before.
OF_PERSON = ("subject", "subject_name")


class ChainBroken(Exception):
    """Says where a chain is not what was written."""


@dataclass(frozen=True)
class Checked:
    """A chain that holds. `first` and `last` are None if it has no rows."""

    rows: int
    first: AuditRow | None
    last: AuditRow | None


def append(session: Session, entries: Sequence[Entry]) -> None:
    chain = _lock(session)
    rows = []
    for entry in entries:
        content = {"id": chain.last_id + 1, **asdict(entry)}
        sha256 = _digest(chain.last_sha256, content)
        rows.append({**content, "sha256": sha256})
        chain.last_id, chain.last_sha256 = content["id"], sha256
    session.execute(insert(AuditRow), rows)


def remove_older(session: Session, days: int) -> None:
    """Remove rows from the oldest on, up to the first that is not older."""
    chain = _lock(session)
    kept = AuditRow.at >= datetime.now(UTC) - timedelta(days=days)
    first = session.scalar(select(AuditRow.id).where(kept).order_by(AuditRow.id).limit(1))
    before = select(AuditRow).order_by(AuditRow.id.desc()).limit(1)
    last = session.scalar(before if first is None else before.where(AuditRow.id < first))
    if last is not None:
        chain.removed_id, chain.removed_sha256 = last.id, last.sha256
        session.execute(delete(AuditRow).where(AuditRow.id <= last.id))


def check(database: Database) -> Checked:
    """Compute every hash again, as of one moment; raises ChainBroken."""
    with database.reading() as session:
        if database.engine.dialect.name == "postgresql":
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        chain = session.get(AuditChain, ONLY)
        place, sha256 = (chain.removed_id, chain.removed_sha256) if chain else (0, NOTHING)
        rows, first, last = 0, None, None
        of_all = select(AuditRow).order_by(AuditRow.id).execution_options(yield_per=READ_ROWS)
        with closing(session.scalars(of_all)) as found:
            for row in found:
                if row.id != place + 1:
                    raise ChainBroken(f"Row {place + 1} is missing: row {row.id} comes next.")
                content = {name: getattr(row, name) for name in ("id", *NAMES)}
                if row.sha256 != _digest(sha256, content):
                    raise ChainBroken(f"Row {row.id} is not what was written, or the one before.")
                place, sha256 = row.id, row.sha256
                rows, first, last = rows + 1, first or row, row
        end = (chain.last_id, chain.last_sha256) if chain else (0, NOTHING)
        if (place, sha256) != end:
            raise ChainBroken(f"The newest rows are missing: {end[0]} was the last, not {place}.")
        return Checked(rows, first, last)


def _lock(session: Session) -> AuditChain:
    chain = session.get(AuditChain, ONLY, with_for_update=True)
    if chain is None:
        begin = {"last_id": 0, "last_sha256": NOTHING, "removed_id": 0, "removed_sha256": NOTHING}
        first = upsert(session, AuditChain).values(id=ONLY, **begin)
        session.execute(first.on_conflict_do_nothing())
        chain = session.get_one(AuditChain, ONLY, with_for_update=True)
    return chain


def _digest(previous: str, content: dict[str, Any]) -> str:
    is_person = any(content[name] is not None for name in OF_PERSON)
    names = [name for name in NAMES if is_person or name not in OF_PERSON]
    values = [content["id"], *(content[name] for name in names)]
    text = json.dumps([previous, *values], separators=(",", ":"), default=_written)
    return hashlib.sha256(text.encode()).hexdigest()


def _written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
