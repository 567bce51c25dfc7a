"""The points that a sweep may try, and the training spec of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from models.planning.faults import SpecError, SpecFault
from models.spec.sweep import DEFAULT_TRIALS, MOST_TRIALS, SweepSpec
from models.sweeps.dimensions import Dimension, Listed
from models.sweeps.documents import Document, merged
from models.sweeps.reading import DEFAULT_ARCHITECTURE, base_of, dimensions_of, parameters_of

# By dotted name, JSON values: only what applies to the point's architecture.
Point = dict[str, Any]


@dataclass(frozen=True)
class Space:
    """What a sweep searches.

    base : what all trials have in common
    dimensions : what they differ in, the architecture first
    trials : how many are tried
    takes_turns : samplers try one architecture after another, because a blend gains from models
        that err differently, and the architecture that is best alone would get most of the trials
    """

    base: Document
    dimensions: tuple[Dimension, ...]
    trials: int
    takes_turns: bool = False

    @classmethod
    def of(cls, sweep: SweepSpec, target: str) -> Space:
        """The space of a sweep that has a `search_space` (`models.sweeps.defaults`).

        Raises
        ------
        SpecError: listing what no table could train, with pointers into the sweep's document.
        """
        assert sweep.search_space is not None
        base, parameters = base_of(sweep, target), parameters_of(sweep)
        dimensions = dimensions_of(base, parameters)
        if "architecture" not in {*base, *parameters}:
            if any(name.startswith("architecture.") for name in parameters):
                base["architecture"] = DEFAULT_ARCHITECTURE
            else:
                base["effort"] = "quick"  # the recipe's network instead of its blend
        takes_turns = sweep.keep == "blend" and dimensions[0].name == "architecture"
        space = cls(base, tuple(dimensions), sweep.n_trials or DEFAULT_TRIALS, takes_turns)
        combinations = space.combinations
        if sweep.sampler == "grid":
            if faults := space._grid_faults():
                raise SpecError(faults)
            assert combinations is not None
            return replace(space, trials=min(sweep.n_trials or MOST_TRIALS, combinations))
        if combinations is None:
            return space
        return replace(space, trials=min(space.trials, combinations))

    def _grid_faults(self) -> list[SpecFault]:
        faults = [
            SpecFault(
                own.pointer, "a grid takes no continuous range: add 'step', or give 'choices'"
            )
            for own in self.dimensions
            if own.values.count is None
        ]
        combinations = self.combinations
        if combinations is not None and combinations > MOST_TRIALS:
            digits = len(str(combinations))
            has = f"{combinations:,}" if digits <= 15 else f"about 10^{digits - 1}"
            detail = (
                f"the grid has {has} combinations, and a sweep at most {MOST_TRIALS:,} trials: "
                "search fewer values, or use another 'sampler'"
            )
            faults.append(SpecFault("/search_space", detail))
        return faults

    @property
    def parameters(self) -> list[dict[str, Any]]:
        """What is searched, for charts: `choices`, or `low`, `high` and `log`."""
        return [
            {"name": own.name, "architectures": sorted(own.types) if own.types else None}
            | own.values.described()
            for own in self.dimensions
        ]

    @property
    def combinations(self) -> int | None:
        """How many points there are; None: a continuum."""
        sizes = [self._size(host) for host in self.hosts]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def hosts(self) -> list[Document]:
        """The architectures that are searched."""
        values = self._architectures.values if self._architectures else None
        if isinstance(values, Listed):
            return values.values
        return [self.base.get("architecture", DEFAULT_ARCHITECTURE)]

    def place_in_turn(self, number: int) -> int | None:
        """Which of `hosts` has its turn; None: any."""
        return number % len(self.hosts) if self.takes_turns else None

    @property
    def searches_architectures(self) -> bool:
        return self._architectures is not None

    @property
    def _architectures(self) -> Dimension | None:
        first = self.dimensions[0]
        return first if first.name == "architecture" else None

    def inside(self, point: Mapping[str, Any]) -> list[Dimension]:
        """What trials of the point's architecture differ in, the architecture included."""
        architecture = point.get("architecture") or self.hosts[0]
        return [own for own in self.dimensions if own.applies_to(architecture["type"])]

    def point_of(self, value: Callable[[Dimension], Any]) -> Point:
        """The point with a chosen value in each dimension that applies to it."""
        first = self._architectures
        point = {} if first is None else {first.name: value(first)}
        rest = [own for own in self.inside(point) if own is not first]
        return point | {own.name: value(own) for own in rest}

    def combination(self, number: int) -> Point:
        """One of the combinations of a space that is no continuum."""
        for host in self.hosts:
            size = self._size(host)
            assert size is not None
            if number < size:
                break
            number -= size

        def value(own: Dimension) -> Any:
            nonlocal number
            if own is self._architectures:
                return host
            assert own.values.count is not None
            number, place = divmod(number, own.values.count)
            return own.values.at(place)

        return self.point_of(value)

    def _size(self, host: Document) -> int | None:
        """Combinations with one architecture."""
        inside = self.inside({"architecture": host})
        counts = [own.values.count for own in inside if own is not self._architectures]
        return None if None in counts else math.prod(count for count in counts if count is not None)

    def document(self, point: Mapping[str, Any]) -> Document:
        """The training spec of a trial."""
        return merged(self.base, point)
