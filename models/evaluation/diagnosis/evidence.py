"""What a diagnosis knows about a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.evaluation.baselines import WORDS, Comparison
from models.spec import TrainingSpec
from models.training.progress import Course

Vector = NDArray[np.float64]

# A difference counts if it is so many standard errors.
SURE, LIKELY = 3.0, 2.0
# A rival is better if it errs less by this share.
MATERIAL = 0.05
# … and explains so much more: of a line without noise, no error is worth a cure.
POINTS = 0.02
MEAN = ("mean", "majority")


@dataclass(frozen=True)
class Evidence:
    """A run, out of fold.

    network : the spec of its networks; of a blend with several, of the first
    comparison : row errors of the model and of the baselines
    explained : the share of what is measured that the model explains out of fold
    fitted : the same on training rows, dropout off; None for models that repeat them, as trees do
    courses : of the networks, fold by fold; none if the model has none
    steps : batches of all epochs that a network may train
    widths : units of hidden layers
    residuals : (n,) signed, on the learnt scale; None for classes
    order : (n,) places of the rows in the table
    ordered_by : the largest rank correlation, by size, of the order with the target or a number
    folds : (n,) of the rows
    numbers : (n,) of each numeric column, NaN is missing; of `dates` in seconds since 1970
    words : of each categorical column its codes (n,), and the level of each code
    spans : typical sizes of unscaled inputs: standard deviations and means of numeric columns
    """

    spec: TrainingSpec
    network: TrainingSpec
    comparison: Comparison
    measured: str
    explained: float
    fitted: float | None
    courses: Sequence[Course]
    per_fold: int
    steps: int
    parameters: int
    train_rows: int
    widths: Sequence[int]
    residuals: Vector | None
    order: NDArray[np.int64]
    ordered_by: float
    folds: NDArray[np.int64]
    spans: Vector
    numbers: Mapping[str, Vector]
    dates: Collection[str]
    words: Mapping[str, tuple[NDArray[np.int64], list[str]]]

    @cached_property
    def over_mean(self) -> tuple[float, float | None]:
        """The share of the mean's error by which the model is better, and its standard error."""
        return self.comparison.better("constant")

    @property
    def constant(self) -> str:
        """What a model without columns would answer."""
        return WORDS["mean" if self.residuals is not None else "majority"]

    @property
    def beats_mean(self) -> bool:
        return _surely(*self.over_mean)

    @cached_property
    def rivals(self) -> Mapping[str, tuple[float, float | None]]:
        """Of each baseline that is not the mean: the share of the model's error by which it is
        better than the model."""
        names = [name for name in self.comparison.baselines if name not in MEAN]
        return {name: self.comparison.better("networks", name) for name in names}

    @property
    def learnable(self) -> bool:
        """Whether a baseline is better than the mean."""
        names = [name for name in self.comparison.baselines if name not in MEAN]
        return any(_surely(*self.comparison.better("constant", name)) for name in names)

    @cached_property
    def ahead(self) -> str | None:
        """The best of the baselines that are better than the model by more than chance and more
        than a little."""
        better = {
            name: share
            for name, (share, error) in self.rivals.items()
            if self._is_more(name, share) and _surely(share, error)
        }
        return max(better, key=lambda name: better[name], default=None)

    @property
    def best_rival(self) -> str:
        """The baseline with the smallest error; there is one."""
        return max(self.rivals, key=lambda name: self.rivals[name][0])

    @property
    def likely_ahead(self) -> bool:
        """Whether a baseline seems to be better by more than a little."""
        return any(
            self._is_more(name, share) and error is not None and share > LIKELY * error
            for name, (share, error) in self.rivals.items()
        )

    def _is_more(self, name: str, share: float) -> bool:
        """Whether a baseline that errs so much less matters."""
        return share >= MATERIAL and self.explained_by(name) - self.explained >= POINTS

    def explained_by(self, name: str) -> float:
        """The share of what is measured that a baseline explains out of fold."""
        errors = self.comparison.errors
        return 1 - float(errors[name].mean() / errors["constant"].mean())

    @cached_property
    def best_known(self) -> float:
        """The largest share that the model or a baseline explains out of fold."""
        names = [name for name in self.comparison.baselines if name not in MEAN]
        return max([self.explained, *map(self.explained_by, names)])


def _surely(share: float, error: float | None) -> bool:
    return error is not None and share > SURE * error


def percent(share: float) -> str:
    """A share as a reader takes it in: `41 %`, `0.3 %`, `below 0.1 %`."""
    size = abs(100 * share)
    if size >= 10:
        return f"{100 * share:.0f} %"
    return f"{100 * share:.1f} %" if size >= 0.1 else "below 0.1 %"


def number(value: float) -> str:
    """`1,250`, `0.031`, `3e-07`."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:.0e}"
