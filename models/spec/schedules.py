"""The learning rate during training, as a factor of the spec's."""

from __future__ import annotations

import math
from statistics import fmean

from models.spec.training import Schedule

# Share of the steps that `flat_cosine` trains at the full rate.
FLAT = 0.5
# Cycles of `multi_cosine`.
CYCLES = 4


def schedule_factor(schedule: Schedule, progress: float) -> float:
    """The factor, from 0 to 1, after a share `progress` of all steps.

    `cosine` falls to zero once; `flat_cosine` does so in the second half; `multi_cosine` is
    ½ (1 − cos(2π log₂(1 + 15 t))), four cycles of doubling length (Holzmüller et al. 2024,
    arXiv 2407.04491, "coslog4").
    """
    match schedule:
        case "constant":
            return 1.0
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        case "flat_cosine":
            falling = max(0.0, (progress - FLAT) / (1 - FLAT))
            return 0.5 * (1 + math.cos(math.pi * falling))
        case "multi_cosine":
            return 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + (2**CYCLES - 1) * progress)))


def mean_factor(schedule: Schedule) -> float:
    """The mean of the factor over a run."""
    return fmean(schedule_factor(schedule, (step + 0.5) / 1000) for step in range(1000))
