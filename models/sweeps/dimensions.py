"""The values of one searched field.

A kind of values has `count` (None: a continuum), `at(place)` and `place_of(value)` unless it is a
continuum, `of_unit(share)` for a share of the way from 0 to 1, and `tried()`: the values that must
fit the field, each with its place in the sweep's document.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from models.spec.sweep import Choices, Range

# Places of a range with steps; what samplers count in stays exact in a float.
MOST_STEPS = 2**31


@dataclass(frozen=True)
class Listed:
    """Values in no order."""

    values: list[Any]

    @property
    def count(self) -> int:
        return len(self.values)

    def at(self, place: int) -> Any:
        return self.values[place]

    def place_of(self, value: Any) -> int:
        return self.values.index(value)

    def of_unit(self, share: float) -> Any:
        return self.at(_place(share, self.count))

    def tried(self) -> Iterator[tuple[str, Any]]:
        for place, value in enumerate(self.values):
            yield f"choices/{place}", value

    def described(self) -> dict[str, Any]:
        return {"choices": self.values}


@dataclass(frozen=True)
class Stepped:
    """low, low + step, … Fractions, so that 0.1 + 2 × 0.1 is 0.3."""

    low: Fraction
    step: Fraction
    count: int
    is_whole: bool

    def at(self, place: int) -> int | float:
        value = self.low + place * self.step
        return int(value) if self.is_whole else float(value)

    def place_of(self, value: float) -> int:
        return round((exact(value) - self.low) / self.step)

    def of_unit(self, share: float) -> int | float:
        return self.at(_place(share, self.count))

    def tried(self) -> Iterator[tuple[str, int | float]]:
        yield "low", self.at(0)
        yield "high", self.at(self.count - 1)

    def described(self) -> dict[str, Any]:
        return {"low": self.at(0), "high": self.at(self.count - 1), "log": False}


@dataclass(frozen=True)
class Spread:
    """All numbers of an interval, or all whole numbers by their logarithm."""

    low: int | float
    high: int | float
    log: bool
    is_whole: bool

    @property
    def count(self) -> int | None:
        return int(self.high - self.low) + 1 if self.is_whole else None

    def at(self, place: int) -> int | float:
        return self.low + place

    def of_unit(self, share: float) -> int | float:
        low, high = float(self.low), float(self.high)
        if self.is_whole:  # each whole number has its share of the logarithm's axis
            low, high = low - 0.5, high + 0.5
        if self.log:
            low, high = math.log(low), math.log(high)
        value = low + share * (high - low)
        value = math.exp(value) if self.log else value
        value = min(max(value, float(self.low)), float(self.high))
        return round(value) if self.is_whole else value

    def tried(self) -> Iterator[tuple[str, int | float]]:
        yield "low", self.of_unit(0)
        yield "high", self.of_unit(1)

    def described(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "log": self.log}


Values = Listed | Stepped | Spread


@dataclass(frozen=True)
class Dimension:
    """One searched field, for all trials or for those of some architectures.

    key : unique among the dimensions; the name, unless architectures search it differently
    pointer : its place in the sweep's document
    types : the architectures that it applies to; None: all
    """

    name: str
    key: str
    pointer: str
    types: frozenset[str] | None
    values: Values

    def applies_to(self, architecture: str) -> bool:
        return self.types is None or architecture in self.types


def values_of(parameter: Range | Choices, *, is_whole: bool) -> Values:
    """The values of a parameter without faults."""
    if isinstance(parameter, Choices):
        return Listed(parameter.choices)
    if parameter.log or (parameter.step is None and not is_whole):
        return Spread(parameter.low, parameter.high, parameter.log, is_whole)
    step = exact(1 if parameter.step is None else parameter.step)
    low, high = exact(parameter.low), exact(parameter.high)
    return Stepped(low, step, int((high - low) / step) + 1, is_whole)


def fault_in(parameter: Range, *, is_whole: bool) -> tuple[str, str] | None:
    """What contradicts itself in a range: the field, and why."""
    low, high, step = parameter.low, parameter.high, parameter.step
    if low >= high:
        return "low", f"must be below 'high', {high:.15g}, got {low:.15g}"
    if is_whole and (not_whole := [x for x in ("low", "high") if getattr(parameter, x) % 1]):
        return not_whole[0], f"must be a whole number, got {getattr(parameter, not_whole[0]):.15g}"
    if parameter.log and low <= 0:
        return "low", f"must be above 0 with 'log', got {low:.15g}"
    if parameter.log and step is not None:
        return "step", "does not go with 'log': leave one of them out, or give 'choices'"
    if step is not None and step <= 0:
        return "step", f"must be above 0, got {step:.15g}"
    if step is not None and is_whole and step % 1:
        return "step", f"must be a whole number, got {step:.15g}"
    if step is not None and (exact(high) - exact(low)) % exact(step):
        return "step", f"must divide high − low, {high - low:.15g}, got {step:.15g}"
    places = exact(1 if step is None else step)
    if (step is not None or is_whole) and (exact(high) - exact(low)) / places >= MOST_STEPS:
        return "high", f"there are more than {MOST_STEPS:,} values: use a larger 'step'"
    return None


def exact(number: float) -> Fraction:
    """The fraction that a number's shortest decimals write.

    >>> exact(0.3) == 3 * exact(0.1)
    True
    """
    return Fraction(repr(number))


def _place(share: float, count: int) -> int:
    return min(int(share * count), count - 1)
