"""How long a row takes."""

from __future__ import annotations

import time

import torch

from models.data.design import Design
from models.export.served import ServedModel

# Predictions of a row that are timed; the quickest counts.
TIMED = 7


@torch.no_grad()
def row_seconds(served: ServedModel, design: Design) -> float:
    """What all networks take for one row in the trainer; the served file is quicker."""
    numbers, codes = torch.from_numpy(design.numbers[:1]), torch.from_numpy(design.codes[:1])
    taken = []
    for _ in range(TIMED):
        began = time.perf_counter()
        served(numbers, codes)
        taken.append(time.perf_counter() - began)
    return min(taken)
