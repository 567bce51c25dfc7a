"""A cache of loaded models."""

from __future__ import annotations

from prometheus_client import Histogram

from app.predictions.loading import LoadedOnce
from app.registry import service as registry
from app.storage.blobs import Blobs
from app.storage.tables import Model
from models import artifacts
from models.serving.predictor import Predictor


class Predictors:
    """A cache for all threads of the process, of `capacity` bytes.

    seconds : counts the loads
    """

    def __init__(self, blobs: Blobs, capacity: int, seconds: Histogram) -> None:
        self._blobs = blobs
        self._seconds = seconds
        self._cache: LoadedOnce[Predictor] = LoadedOnce(
            capacity, lambda predictor: predictor.memory_bytes
        )

    def ready(self, model: Model) -> Predictor | None:
        """The model's predictor, if `get` would not have to wait for it."""
        return self._cache.ready(model.id)

    def get(self, model: Model) -> Predictor:
        """The model's predictor; waits if another thread is loading it.

        Raises
        ------
        ArtifactCorrupt
        """
        return self._cache.get(model.id, lambda: self._load(model))

    def _load(self, model: Model) -> Predictor:
        with self._seconds.time():
            manifest = registry.manifest(model, self._blobs)
            return Predictor(registry.read_file(model, self._blobs, artifacts.CORE), manifest)
