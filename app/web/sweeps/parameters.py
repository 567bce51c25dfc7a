"""The searched fields of a sweep, as tables and charts show them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from app.sweeps.schemas import SweepOut
from app.web.formats import words
from app.web.jobs.listing import setting
from models.figures import number, one_line

# A number of more different values is cut into so many parts.
MOST_LEVELS, PARTS = 8, 5
LONGEST = 40  # characters


@dataclass(frozen=True)
class Parameter:
    """A searched field. `log`: of a number that is drawn by its logarithm."""

    name: str
    is_number: bool
    log: bool

    @property
    def label(self) -> str:
        return words(self.name)

    def of(self, params: Mapping[str, Any]) -> float | str | None:
        """Its value in a trial: a number, or in words; None where it does not apply."""
        value = params.get(self.name)
        if value is None or self.is_number:
            return value
        return worded(value)

    def parts(self, values: Sequence[float | str]) -> tuple[list[str], list[str]]:
        """The parts of its range in their order, and the part of each value."""
        if not self.is_number:
            found = [str(value) for value in values]
            return sorted({*found}), found
        numbers = [float(value) for value in values]
        if len({*numbers}) <= MOST_LEVELS:
            order = [number(value) for value in sorted({*numbers})]
            return order, [number(value) for value in numbers]
        scaled = [math.log(value) for value in numbers] if self.log else numbers
        low, width = min(scaled), (max(scaled) - min(scaled)) / PARTS
        ends = [low + place * width for place in range(PARTS + 1)]
        ends = [math.exp(end) for end in ends] if self.log else ends
        order = [f"{number(one, 2)} to {number(other, 2)}" for one, other in pairwise(ends)]
        return order, [order[min(int((own - low) / width), PARTS - 1)] for own in scaled]


def parameters_of(sweep: SweepOut, ranked: Sequence[str] = ()) -> list[Parameter]:
    """Those named in `ranked` first, in its order."""
    found = [_parameter(name, drawn) for name, drawn in sweep.search_space.items()]
    rank = {name: place for place, name in enumerate(ranked)}
    return sorted(found, key=lambda own: rank.get(own.name, len(rank)))


def _parameter(name: str, drawn: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Parameter:
    parts = [drawn] if isinstance(drawn, Mapping) else drawn
    choices = [choice for part in parts for choice in part.get("choices", ())]
    is_number = all(type(choice) in (int, float) for choice in choices)
    return Parameter(name, is_number, any(part.get("log") for part in parts))


def worded(value: Any) -> str:
    """
    >>> worded({"type": "mlp", "hidden_sizes": [64, 64]}), worded(True), worded([8, 8])
    ('mlp, hidden sizes 64, 64', 'yes', '8, 8')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        rest = [f"{words(name)} {worded(own)}" for name, own in value.items() if name != "type"]
        return one_line(", ".join([*([value["type"]] if "type" in value else []), *rest]), LONGEST)
    return one_line(setting(value), LONGEST)
