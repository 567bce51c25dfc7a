"""A cache of loaded models: each is loaded once, and the least recently used are dropped."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from cachetools import LRUCache

from app.registry import service as registry
from app.storage.blobs import Blobs
from app.storage.tables import Model
from models import artifacts
from models.serving.predictor import Predictor


class Predictors:
    """A cache for all threads of the process.

    capacity : bytes that loaded models may take. A larger model is kept as the only one, because
        loading it for each request would take far longer than predicting.
    """

    def __init__(self, blobs: Blobs, capacity: int) -> None:
        self._blobs = blobs
        self._lock = threading.Lock()
        self._loaded: LRUCache[str, Predictor] = LRUCache(
            capacity, getsizeof=lambda predictor: min(predictor.memory_bytes, capacity)
        )
        self._loading: dict[str, Future[Predictor]] = {}

    def ready(self, model: Model) -> Predictor | None:
        """The model's predictor, if `get` would not have to wait for it."""
        with self._lock:
            return self._loaded.get(model.id)

    def get(self, model: Model) -> Predictor:
        """The model's predictor; waits if another thread is loading it.

        Raises
        ------
        ArtifactCorrupt
        """
        with self._lock:
            predictor = self._loaded.get(model.id)
            if predictor is not None:
                return predictor
            future = self._loading.get(model.id)
            must_load = future is None
            if future is None:
                future = self._loading[model.id] = Future()
        if must_load:
            self._load(model, future)
        return future.result()

    def _load(self, model: Model, future: Future[Predictor]) -> None:
        try:
            manifest = registry.manifest(model, self._blobs)
            core = registry.read_file(model, self._blobs, artifacts.CORE)
            predictor = Predictor(core, manifest)
        except BaseException as error:
            # Let a later request try again.
            with self._lock:
                del self._loading[model.id]
            future.set_exception(error)
        else:
            with self._lock:
                del self._loading[model.id]
                self._loaded[model.id] = predictor
            future.set_result(predictor)
