"""What a run of a lesson shows: numbers, plots as data, and checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

Cell = float | int | str | None


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Check(_Frozen):
    """A claim that the lesson makes, and whether its numbers bear it out."""

    claim: str
    found: float
    holds: bool

    @classmethod
    def at_least(cls, claim: str, found: float, bound: float) -> Check:
        """NaN does not hold."""
        return cls(claim=f"{claim} ≥ {bound:g}", found=float(found), holds=bool(found >= bound))

    @classmethod
    def at_most(cls, claim: str, found: float, bound: float) -> Check:
        return cls(claim=f"{claim} ≤ {bound:g}", found=float(found), holds=bool(found <= bound))


class Figures(_Frozen):
    """A table of numbers."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]


class Series(_Frozen):
    """Points or bars, x and y of one length."""

    name: str
    x: list[float] | list[str]
    y: list[float]


class Plot(_Frozen):
    """`logarithmic`: the axes that are, in "xy"."""

    title: str
    kind: Literal["line", "points", "bars"]
    x: str
    y: str
    series: list[Series]
    logarithmic: str = ""

    @classmethod
    def lines(
        cls,
        title: str,
        x: str,
        y: str,
        series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
        *,
        logarithmic: str = "",
    ) -> Plot:
        """`series`: x and y by name."""
        return cls(
            title=title,
            kind="line",
            x=x,
            y=y,
            series=[
                Series(name=name, x=[float(v) for v in xs], y=[float(v) for v in ys])
                for name, (xs, ys) in series.items()
            ],
            logarithmic=logarithmic,
        )


class Outcome(_Frozen):
    """`note`: what the run could not do here, such as a number type that was emulated."""

    figures: list[Figures]
    plots: list[Plot]
    checks: list[Check]
    note: str | None = None

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)
