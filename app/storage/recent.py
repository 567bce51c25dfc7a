"""What was looked up in the database a moment ago. While it is in use it is looked up again before
it is too old, by a thread, so that no request waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import LRUCache

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

RENEWED_AT = 0.5  # of the time that an entry is kept

_renewing = ThreadPoolExecutor(1, thread_name_prefix="renewing")


@dataclass
class _Entry(Generic[Value]):
    value: Value
    look_up: Callable[[], Value]
    at: float  # on the monotonic clock, before the look-up
    is_due: bool = False  # it is being looked up again


class Recent(Generic[Key, Value]):
    """A cache for all threads of the process. `fresh`: seconds that an entry is kept, so a change
    by another process is seen after that."""

    def __init__(self, fresh: float, most: int) -> None:
        self.fresh = fresh
        self._lock = threading.Lock()
        self._changes = 0
        self._entries: LRUCache[Key, _Entry[Value]] = LRUCache(most)

    def known(self, key: Key) -> Value | None:
        """The value of a key if it is fresh, without a look-up."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            age = time.monotonic() - entry.at
            if age >= self.fresh:
                return None
            is_due = age >= RENEWED_AT * self.fresh and not entry.is_due
            entry.is_due |= is_due
        if is_due:
            _renewing.submit(self._renew, key, entry)
        return entry.value

    def get(self, key: Key, look_up: Callable[[], Value]) -> Value:
        """The value of a key; raises what `look_up` does."""
        found = self.known(key)
        return self.look_up(key, look_up) if found is None else found

    def look_up(self, key: Key, look_up: Callable[[], Value]) -> Value:
        """The same, looked up now."""
        changes, at = self._changes, time.monotonic()
        value = look_up()
        with self._lock:
            if changes == self._changes:  # otherwise the value may already be outdated
                self._entries[key] = _Entry(value, look_up, at)
        return value

    def forget(self) -> None:
        """Empty the cache, after this process has changed what is looked up."""
        with self._lock:
            self._changes += 1
            self._entries.clear()

    def _renew(self, key: Key, entry: _Entry[Value]) -> None:
        with self._lock:
            if self._entries.get(key) is not entry:  # a request has looked it up meanwhile
                return
        try:
            self.look_up(key, entry.look_up)
        except Exception:  # the next request looks it up itself, and is told
            with self._lock:
                if self._entries.get(key) is entry:
                    del self._entries[key]
