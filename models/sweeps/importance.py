"""Which searched fields made the difference between good trials and the others."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from models.sweeps.sampling import Known, study_of
from models.sweeps.space import Space

LEAST_TRIALS = 10
# Trials that count as good: a tenth, or so many if that are more (PED-ANOVA's authors want five).
GOOD_SHARE, LEAST_GOOD = 0.1, 5


@dataclass(frozen=True)
class Importance:
    """The share of a field in the difference, from 0 to 1."""

    name: str
    importance: float


def importance(space: Space, known: Sequence[Known], *, minimize: bool) -> list[Importance]:
    """By PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255), the largest first: how different the
    values of a field are among good trials from those among all.

    Fields that apply to some architectures are compared among the trials that have them, and count
    by the share of the good trials that do (arXiv 2601.20800); parts of a field that architectures
    search differently are added up. Empty with fewer than LEAST_TRIALS scored trials, or if all are
    equally good.
    """
    scored = [trial for trial in known if trial.is_scored]
    if len(scored) < LEAST_TRIALS or len({trial.value for trial in scored}) == 1:
        return []
    study = study_of(space, scored, minimize=minimize)
    with _unavailable("sklearn.ensemble"):
        from optuna.importance import PedAnovaImportanceEvaluator

    for begin in ("Some regimes for parameter", "Target and region quantiles"):
        warnings.filterwarnings("ignore", message=begin, category=UserWarning)
    share = max(GOOD_SHARE, LEAST_GOOD / len(scored))
    evaluator = PedAnovaImportanceEvaluator(target_quantile=share)
    by_key = evaluator.evaluate(study)
    by_name: dict[str, float] = {}
    for own in space.dimensions:
        if own.values.count != 1:
            by_name[own.name] = by_name.get(own.name, 0.0) + by_key.get(own.key, 0.0)
    total = sum(by_name.values())
    shares = [Importance(name, own / total if total else 0.0) for name, own in by_name.items()]
    return sorted(shares, key=lambda own: -own.importance)


@contextmanager
def _unavailable(module: str) -> Iterator[None]:
    """Importing the module fails, unless it is there already. Optuna's other evaluators load it if
    they can: 82 MiB and two seconds, which the API has no use for.
    """
    absent = module not in sys.modules
    if absent:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if absent:
            del sys.modules[module]
