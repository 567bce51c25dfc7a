"""Which points a sweep tries.

The same space, seed and known trials give the same points. A point is tried again only if many
draws found no other.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from models.randomness import stream_seed
from models.spec.sweep import MOST_TRIALS, Sampler
from models.sweeps.covering import Covering
from models.sweeps.dimensions import Dimension, Listed, Spread, Stepped
from models.sweeps.space import Point, Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

# Trials that cover the space before TPE learns from them.
STARTING_TRIALS = 10
# Draws of a point that was tried before, until it is tried again.
MOST_REDRAWS = 20


@dataclass(frozen=True)
class Known:
    """A trial so far.

    value : of the metric; None if it is not, or will never be, known
    """

    number: int
    point: Point
    value: float | None
    state: Literal["succeeded", "failed", "running"]

    @property
    def is_scored(self) -> bool:
        return self.state == "succeeded" and self.value is not None and math.isfinite(self.value)


def draw(
    space: Space,
    sampler: Sampler,
    *,
    seed: int,
    first: int,
    count: int,
    known: Sequence[Known],
    minimize: bool,
) -> list[Point]:
    """The points of the trials `first` … `first + count − 1`, given those before.

    `random` and `grid` depend on a trial's number alone. `tpe` (Bergstra et al. 2011) does so for
    the first trials, and until as many have a value; then it learns from those that have one, and
    takes running trials, and those before in this draw, for bad ones so that it keeps away. For a
    blend the architectures take turns.
    """
    even = _Even(space, seed)
    numbers = range(first, first + count)
    if sampler != "tpe":
        return [even.point(number) for number in numbers]
    return _by_tpe(space, even, numbers, known, stream_seed(seed, "tpe", first), minimize)


class _Even:
    """Points that cover the space, by number: of few combinations all of them, in random order."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._order: list[int] = []
        combinations = space.combinations
        if combinations is not None and combinations <= MOST_TRIALS:
            self._order = [*range(combinations)]
            random.Random(stream_seed(seed, "grid")).shuffle(self._order)
        self._covering = Covering(len(space.dimensions), seed)
        self._points: list[Point] = []
        self._passed = 0  # numbers of the covering that gave these points

    def point(self, number: int) -> Point:
        if self._order:
            return self._space.combination(self._order[number % len(self._order)])
        while len(self._points) <= number:
            point = self._covered(self._passed)
            self._passed += 1
            # An architecture without parameters, such as ridge, soon repeats.
            if point not in self._points or self._passed > MOST_REDRAWS * (number + 1):
                self._points.append(point)
        return self._points[number]

    def _covered(self, number: int) -> Point:
        shares = self._covering.point(number)
        dimensions = self._space.dimensions
        by_key = {
            own.key: own.values.of_unit(share)
            for own, share in zip(dimensions, shares, strict=True)
        }
        turn = self._space.place_in_turn(number)
        if turn is not None:
            by_key[dimensions[0].key] = self._space.hosts[turn]
        return self._space.point_of(lambda own: by_key[own.key])

    def untried(self, tried: Sequence[Point]) -> Point | None:
        """A combination that is left, if there are few."""
        left = (self._space.combination(place) for place in self._order)
        return next((point for point in left if point not in tried), None)


def _by_tpe(
    space: Space,
    even: _Even,
    numbers: range,
    known: Sequence[Known],
    seed: int,
    minimize: bool,
) -> list[Point]:
    study = study_of(space, known, minimize=minimize, seed=seed)
    scored = sum(trial.is_scored for trial in known)
    tried = [trial.point for trial in known]
    for number in numbers:
        if number < STARTING_TRIALS or scored < STARTING_TRIALS:
            point = even.point(number)
            study.add_trial(_as_trial(space, point, None))
        else:
            # One without parameters, such as ridge, leaves its turn to the next.
            drawn = (_asked(space, study, number + again) for again in range(MOST_REDRAWS))
            fresh = next((point for point in drawn if point not in tried), None)
            point = fresh or even.untried(tried) or even.point(number)
        tried.append(point)
    return tried[len(known) :]


def study_of(space: Space, known: Sequence[Known], *, minimize: bool, seed: int = 0) -> Study:
    """Trials that have a value or run, as Optuna sees them. It lives in memory alone, and is made
    anew from our own rows whenever it is needed: Optuna's storages lock."""
    import optuna  # 13 MiB that most processes never need

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    # Multivariate: what goes together, by architecture (`group`), is drawn together (Falkner et al.
    # 2018, arXiv 1807.01774).
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=STARTING_TRIALS,
        multivariate=True,
        group=True,
        constant_liar=True,
        seed=seed % 2**32,
    )
    direction: Literal["minimize", "maximize"] = "minimize" if minimize else "maximize"
    study = optuna.create_study(direction=direction, sampler=sampler)
    for trial in known:
        if trial.is_scored or trial.state == "running":
            study.add_trial(_as_trial(space, trial.point, trial.value if trial.is_scored else None))
    return study


def _as_trial(space: Space, point: Point, value: float | None) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    inside = space.inside(point)
    return create_trial(
        state=TrialState.RUNNING if value is None else TrialState.COMPLETE,
        value=value,
        params={own.key: _internal(own, point[own.name]) for own in inside},
        distributions={own.key: _distribution(own) for own in inside},
    )


def _asked(space: Space, study: Study, number: int) -> Point:
    """The sampler's next point. It stays a running trial of the study."""
    turn = space.place_in_turn(number)
    trial = study.ask() if turn is None else _ask_in_turn(space, study, turn)

    def value(own: Dimension) -> Any:
        match own.values:
            case Listed(values):
                return own.values.at(trial.suggest_categorical(own.key, range(len(values))))
            case Stepped(count=count):
                return own.values.at(trial.suggest_int(own.key, 0, count - 1))
            case Spread(int(low), int(high), log, is_whole=True):
                return trial.suggest_int(own.key, low, high, log=log)
            case Spread(low, high, log):
                return trial.suggest_float(own.key, low, high, log=log)

    return space.point_of(value)


def _ask_in_turn(space: Space, study: Study, turn: int) -> Trial:
    study.enqueue_trial({space.dimensions[0].key: turn})
    return study.ask()


def _distribution(own: Dimension) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    match own.values:
        case Listed(values):
            return CategoricalDistribution(range(len(values)))
        case Stepped(count=count):
            return IntDistribution(0, count - 1)
        case Spread(int(low), int(high), log, is_whole=True):
            return IntDistribution(low, high, log=log)
        case Spread(low, high, log):
            return FloatDistribution(low, high, log=log)


def _internal(own: Dimension, value: Any) -> Any:
    """A value as Optuna has it: choices and steps by their place."""
    return value if isinstance(own.values, Spread) else own.values.place_of(value)
