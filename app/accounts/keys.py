"""A short-lived cache of keys: a database look-up takes longer than predicting a row."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import cast

from cachetools import LRUCache, TTLCache
from sqlalchemy.exc import SQLAlchemyError

from app.accounts import repository, secrets
from app.accounts.persons import of_grant
from app.errors import TooManyAttempts, Unauthorized
from app.grants import Grant, Role, granted
from app.http.deps import Principal
from app.storage.database import DATABASE_AWAY, Database
from app.storage.recent import Recent

FRESH = 0.5  # s that an entry is kept; a revoked key is refused after that
MOST_KEYS = 10_000
# Keys that do not exist, from one address.
MOST_ATTEMPTS, ATTEMPTS_S = 30, 60.0
MOST_ADDRESSES = 10_000

NO_KEY = (
    "This service needs an API key. Send it as `Authorization: Bearer fh_…`. An admin makes one "
    "with POST /v1/keys, or on the service's machine: `foldhouse keys create NAME --role editor`."
)
UNKNOWN = "There is no such key, or it was revoked, or it has expired."
MISTYPED = "That is no key of this service: one character or more is wrong or missing."
SIGNED_OUT = "You are no longer signed in."


class Keys:
    """A cache for all threads of the process. `grants`: what groups of people may do."""

    def __init__(self, database: Database, grants: Mapping[str, Grant]) -> None:
        self._database = database
        self._grants = grants
        self._lock = threading.Lock()
        self._known: Recent[str, Principal] = Recent(FRESH, MOST_KEYS)
        # As they were when they were last looked up: they are not slowed down by guesses from the
        # same address, such as a proxy's, and are taken while the database is away.
        self._seen: LRUCache[str, Principal] = LRUCache(MOST_KEYS)
        self._attempts: TTLCache[str, int] = TTLCache(MOST_ADDRESSES, ATTEMPTS_S)
        self._changes = 0
        self._exist = self._was_asked = False
        self._needed: Recent[None, bool] = Recent(FRESH, 1)

    def known(self, secret: str) -> Principal | None:
        """Who sends this key or cookie, without a look-up."""
        return self._known.known(secrets.digest(secret))

    def are_needed(self) -> bool | None:
        """Whether requests must carry a key; None if it was not looked up lately. They must for
        ever once there has been a key: with the last one revoked, the service is closed."""
        return True if self._exist else self._needed.known(None)

    def look_whether_needed(self) -> bool:
        return self._needed.look_up(None, self._look_whether_needed)

    def of_key(self, secret: str, address: str) -> Principal:
        """Whose key it is.

        Raises
        ------
        Unauthorized
        TooManyAttempts: the address has sent too many keys that do not exist.
        """
        digest = secrets.digest(secret)
        with self._lock:
            is_seen = digest in self._seen
        if not is_seen:
            self.require_few_failures(address)
        if not secrets.is_key(secret):
            self.note_failure(address)
            raise Unauthorized(MISTYPED)
        try:
            return self._known.get(digest, partial(self._of_key, digest))
        except Unauthorized:
            self.note_failure(address)
            raise

    def require_few_failures(self, address: str) -> None:
        """Raises TooManyAttempts."""
        with self._lock:
            failures = self._attempts.get(address, 0)
        if failures >= MOST_ATTEMPTS:
            raise TooManyAttempts("Too many attempts to sign in from this address have failed.")

    def note_failure(self, address: str) -> None:
        """Count an attempt to get in that has failed."""
        with self._lock:
            self._attempts[address] = self._attempts.get(address, 0) + 1

    def of_cookie(self, cookie: str) -> Principal:
        """Who has signed in; raises Unauthorized."""
        digest, csrf = secrets.digest(cookie), secrets.digest(f"csrf {cookie}")
        return self._known.get(digest, partial(self._of_cookie, digest, csrf))

    def forget(self) -> None:
        """Empty the cache after this process has changed a key."""
        self._known.forget()
        self._needed.forget()
        with self._lock:
            self._changes += 1
            self._seen.clear()

    def _look_whether_needed(self) -> bool:
        try:
            with self._database.reading() as session:
                self._exist = repository.exist(session)
        except DATABASE_AWAY:
            if not self._was_asked:
                raise
            # While it is away no first key can be made.
        self._was_asked = True
        return self._exist

    def _of_key(self, digest: str) -> Principal:
        changes = self._changes
        found = self._look_up(digest, is_cookie=False)
        if found is None:
            raise Unauthorized(UNKNOWN)
        return self._seen_as(digest, found, changes)

    def _of_cookie(self, digest: str, csrf: str) -> Principal:
        changes = self._changes
        found = self._look_up(digest, is_cookie=True)
        if found is None:
            raise Unauthorized(SIGNED_OUT)
        return self._seen_as(digest, replace(found, csrf=csrf), changes)

    def _look_up(self, digest: str, *, is_cookie: bool) -> Principal | None:
        find = repository.of_cookie if is_cookie else repository.of_secret
        try:
            with self._database.reading() as session:
                key = find(session, digest)
                person = repository.person(session, digest) if is_cookie and not key else None
        except DATABASE_AWAY:
            with self._lock:
                seen = self._seen.get(digest)
            if seen is None:
                raise
            return seen
        if person is not None and (grant := granted(self._grants, person.group_names or ())):
            return of_grant(grant, person.subject, person.subject_name)
        if key is None:
            with self._lock:
                self._seen.pop(digest, None)
            return None
        if repository.is_note_due(key):
            # A full disk, say, must not keep anyone from predicting.
            with suppress(SQLAlchemyError), self._database.writing() as session:
                repository.note_use(session, key.id)
        return Principal(tenant=key.tenant, key_id=key.id, role=cast(Role, key.role))

    def _seen_as(self, digest: str, principal: Principal, changes: int) -> Principal:
        """`changes`: before it was looked up; a key that was revoked since is not seen again."""
        with self._lock:
            if changes == self._changes:
                self._seen[digest] = principal
        return principal
