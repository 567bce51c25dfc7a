"""Loaded models: each is loaded once, and the least recently used ones make way."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future

from app.registry import service as registry
from app.storage.blobs import Blobs
from app.storage.tables import Model
from models import artifacts
from models.serving.predictor import Predictor

MODELS_IN_MEMORY = 8


class Predictors:
    """A cache for all threads of the process."""

    def __init__(self, blobs: Blobs, capacity: int = MODELS_IN_MEMORY) -> None:
        self._blobs = blobs
        self._capacity = capacity
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, Future[Predictor]] = OrderedDict()

    def ready(self, model: Model) -> Predictor | None:
        """The model's predictor, where `get` need not wait for it."""
        with self._lock:
            future = self._loaded.get(model.id)
            if future is None or not future.done():
                return None
            self._loaded.move_to_end(model.id)
        return future.result()

    def get(self, model: Model) -> Predictor:
        """The model's predictor; who asks while another thread loads it waits for that.

        Raises
        ------
        ArtifactCorrupt
        """
        with self._lock:
            future = self._loaded.get(model.id)
            must_load = future is None
            if future is None:
                future = self._loaded[model.id] = Future()
                if len(self._loaded) > self._capacity:
                    self._loaded.popitem(last=False)
            else:
                self._loaded.move_to_end(model.id)
        if must_load:
            self._load(model, future)
        return future.result()

    def _load(self, model: Model, future: Future[Predictor]) -> None:
        try:
            manifest = registry.manifest(model, self._blobs)
            core = registry.read_file(model, self._blobs, artifacts.CORE)
            future.set_result(Predictor(core, manifest))
        except BaseException as error:
            # Let a later request try again.
            with self._lock:
                self._loaded.pop(model.id, None)
            future.set_exception(error)
