"""Which searched fields mattered, kept while a sweep's trials stay the same: with 500 trials it
takes a third of a second to compute."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from cachetools import LRUCache

from app.storage.tables import Job, Trial
from app.sweeps.service import perfect_of
from models.spec.sweep import SweepSpec
from models.sweeps.importance import Importance, importance
from models.sweeps.sampling import Known
from models.sweeps.space import Space

MOST_SWEEPS = 100


class Importances:
    """A cache for all threads of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By sweep and how many trials have a value, which never changes.
        self._known: LRUCache[tuple[str, int], list[Importance]] = LRUCache(MOST_SWEEPS)

    def of(self, job: Job, scored: Sequence[Trial]) -> list[Importance]:
        """The largest first; empty of few trials. `scored`: all that have a value."""
        key = (job.id, len(scored))
        with self._lock:
            found = self._known.get(key)
        if found is None:
            found = _computed(job, scored)
            with self._lock:
                self._known[key] = found
        return found


def _computed(job: Job, scored: Sequence[Trial]) -> list[Importance]:
    assert job.sweep is not None
    perfect = perfect_of(job)
    space = Space.of(SweepSpec.model_validate(job.sweep), job.target)
    known = [
        Known(trial.number, trial.point, abs(trial.value - perfect), "succeeded")
        for trial in scored
        if trial.value is not None
    ]
    return importance(space, known, minimize=True)
