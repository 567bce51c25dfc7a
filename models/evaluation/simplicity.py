"""Which models are worth their size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def as_good(
    differences: Sequence[float | None],
    standard_errors: Sequence[float | None],
    sizes: Sequence[float | None],
    size: float,
) -> int | None:
    """The place of the smallest model that is less than half as large as `size` and no worse than
    the one of that size by more than one standard error of the difference (Breiman et al. 1984,
    "Classification and regression trees", section 3.4.3); None: there is none.

    `differences`: of the models' errors to that of the larger one. A model without one of the
    figures is passed over.
    """
    known = {
        place: own
        for place, (difference, error, own) in enumerate(
            zip(differences, standard_errors, sizes, strict=True)
        )
        if difference is not None and error is not None and own is not None
        if difference <= error and 2 * own < size
    }
    return min(known, key=known.__getitem__, default=None)


def front(errors: ArrayLike, costs: ArrayLike) -> list[int]:
    """The places, by rising cost, of those that no other beats in error and cost. Of equal ones
    the first counts; NaN never does."""
    error, cost = (np.asarray(values, np.float64) for values in (errors, costs))
    found: list[int] = []
    least = np.inf
    for place in np.lexsort((error, cost)).tolist():
        if error[place] < least and np.isfinite(cost[place]):
            found.append(place)
            least = float(error[place])
    return found
