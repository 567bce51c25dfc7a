"""What a sweep came to: a member of its result and of its model's manifest, and in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field

from models.figures import number


class Expected(BaseModel):
    """What the best trial's metric is worth: it was picked for it, which flatters it. Corrected by
    the bootstrap (Tsamardinos, Greasidou and Borboudakis 2018)."""

    naive: float = Field(description="The metric by which it was picked.")
    estimate: float | None = Field(description="Corrected; null if the rows are too few.")
    low: float | None = Field(description="Of a 95 % interval.")
    high: float | None
    optimism: float | None = Field(description="By how much `naive` is nearer to perfect.")


class AsGood(BaseModel):
    """A smaller trial within one standard error of the best."""

    trial: int
    times_smaller: float
    difference: float = Field(description="By how much the best is nearer to perfect.")
    standard_error: float


class SweepOutcome(BaseModel):
    """A sweep as its model remembers it."""

    trials: int = Field(description="That could be picked.")
    metric: str = Field(description="By which they were compared.")
    best: int
    expected: Expected | None = Field(description="Null if the metric is not defined.")
    as_good: AsGood | None
    members: list[int] = Field(description="The trials that the model is made of.")

    def told(self, metric: str) -> list[str]:
        """What to expect of the model, as a reader calls the metric."""
        found = []
        if len(self.members) > 1:
            found.append(
                f"It blends the trials {listed(self.members)} of {self.trials:,}. No row had a say "
                "in the weights of the blend that predicts it."
            )
        if self.expected is not None:
            found.append(_worth(self.expected, self.trials, metric))
        if self.as_good is not None:
            found.append(
                f"Trial {self.as_good.trial} is as good, within one standard error, and "
                f"{number(self.as_good.times_smaller, 2)} times smaller."
            )
        return found


def _worth(expected: Expected, trials: int, metric: str) -> str:
    first = "The only trial" if trials == 1 else f"The best of {trials:,} trials"
    said = f"{first} has {metric} {number(expected.naive)}"
    if expected.estimate is None:
        return f"{said}. The rows are too few to say what to expect on new ones."
    begin = "On new rows" if trials == 1 else "It was picked for that, so on new rows"
    span = f"{number(expected.low, 3)} to {number(expected.high, 3)}"
    return f"{said}. {begin} expect {number(expected.estimate)} ({span})."


def listed(numbers: Sequence[int]) -> str:
    """
    >>> listed([3, 7, 12])
    '3, 7 and 12'
    """
    first, last = numbers[:-1], numbers[-1]
    return f"{', '.join(map(str, first))} and {last}" if first else str(last)
