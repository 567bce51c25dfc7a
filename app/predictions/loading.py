"""A cache of what takes long to load: each is loaded once, and the least recently used are
dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from cachetools import LRUCache

Part = TypeVar("Part")


class LoadedOnce(Generic[Part]):
    """A cache for all threads of the process.

    capacity : bytes that its parts may take. A larger part is kept as the only one, because
        loading it for each request would take far longer than using it.
    size : bytes of a part
    """

    def __init__(self, capacity: int, size: Callable[[Part], int]) -> None:
        self._lock = threading.Lock()
        self._loaded: LRUCache[str, Part] = LRUCache(
            capacity, getsizeof=lambda part: min(size(part), capacity)
        )
        self._loading: dict[str, Future[Part]] = {}

    def ready(self, key: str) -> Part | None:
        """The part, if `get` would not have to wait for it."""
        with self._lock:
            return self._loaded.get(key)

    def get(self, key: str, load: Callable[[], Part]) -> Part:
        """The part; waits if another thread is loading it. Raises what `load` does."""
        with self._lock:
            part = self._loaded.get(key)
            if part is not None:
                return part
            future = self._loading.get(key)
            must_load = future is None
            if future is None:
                future = self._loading[key] = Future()
        if must_load:
            self._load(key, load, future)
        return future.result()

    def _load(self, key: str, load: Callable[[], Part], future: Future[Part]) -> None:
        try:
            part = load()
        except BaseException as error:
            # Let a later request try again.
            with self._lock:
                del self._loading[key]
            future.set_exception(error)
        else:
            with self._lock:
                del self._loading[key]
                self._loaded[key] = part
            future.set_result(part)
