"""The served function: raw numbers and codes to predictions of all members at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.networks.encoder import Encoder
from models.networks.population import Network, take
from models.objectives.learning import Target
from models.training.engine import TrainedPopulation

# Rows per call.
CHUNK_ROWS = 256


class ServedModel(nn.Module):
    """The networks of F folds with m members each, with preprocessing and inverse target transform.

    Input
    -----
    numbers : (N, D) float64, NaN is missing
    codes : (N, C) int64

    Output
    ------
    value : (N, …) float64, on the target's own scale: the mean of the members; with folds in time
        only of the last fold's, because the first folds know only the oldest rows
    members : (F·m, N, …) float64, fold f owns members f·m … f·m + m − 1
    """

    def __init__(
        self,
        encoder: Encoder,  # of the folds
        network: Network,  # of the members
        target: Target,  # of the members
        folds: list[int],
        *,
        latest_alone: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.network = network
        self.target = target
        self.folds = folds  # their numbers
        self.members = len(next(network.parameters()))
        self.members_per_fold = self.members // len(folds)
        self.first_served = self.members - self.members_per_fold if latest_alone else 0

    @classmethod
    def of(cls, trained: TrainedPopulation, *, latest_alone: bool = False) -> ServedModel:
        """The learned functions without failed members. A fold in which no member has weights is
        left out; a member without weights is replaced by the fold's next one that has some.

        Raises
        ------
        ValueError: no member has any.
        """
        per_fold = len(trained.courses) // trained.folds
        places: list[int] = []
        folds: list[int] = []
        for fold in range(trained.folds):
            own = range(fold * per_fold, (fold + 1) * per_fold)
            usable = [place for place in own if trained.courses[place].best_epoch > 0]
            if usable:
                folds.append(fold)
                places += [usable[replica % len(usable)] for replica in range(per_fold)]
        if not folds:
            raise ValueError("no member of the population has weights to serve")
        kept, members = torch.tensor(folds), torch.tensor(places)
        return cls(
            take(trained.encoder, kept),
            take(trained.network, members),
            take(trained.target, members // per_fold),
            folds,
            latest_alone=latest_alone,
        )

    def outputs(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """(F·m, N, outputs) of the networks."""
        inputs = self.encoder(numbers.unsqueeze(0), codes.unsqueeze(0))  # (F, N, inputs)
        if self.members_per_fold > 1:
            inputs = inputs.repeat_interleave(self.members_per_fold, 0)
        return self.network.predict(inputs)

    def forward(self, numbers: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        members = self.target.restore(self.outputs(numbers, codes))
        return members[self.first_served :].mean(0), members

    def own(self, place: int) -> slice:
        """The members of one fold."""
        return slice(place * self.members_per_fold, (place + 1) * self.members_per_fold)

    def fold(self, place: int) -> ServedModel:
        """Only the members of one fold."""
        own = torch.arange(self.members)[self.own(place)]
        return ServedModel(
            take(self.encoder, torch.tensor([place])),
            take(self.network, own),
            take(self.target, own),
            [self.folds[place]],
        )


@torch.no_grad()
def predict(
    served: ServedModel, numbers: NDArray[np.float64], codes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """value (N, …) and members (F·m, N, …) of rows, numbers (N, D) and codes (N, C)."""
    parts = [served(*chunk) for chunk in _chunks(numbers, codes)]
    if not parts:
        return np.empty(0), np.empty((served.members, 0))
    return (
        torch.cat([value for value, _ in parts]).numpy(),
        torch.cat([members for _, members in parts], dim=1).numpy(),
    )


@torch.no_grad()
def raw_outputs(
    served: ServedModel, numbers: NDArray[np.float64], codes: NDArray[np.int64]
) -> Tensor:
    """(F·m, N, outputs) of the networks for N ≥ 1 rows."""
    return torch.cat([served.outputs(*chunk) for chunk in _chunks(numbers, codes)], dim=1)


def _chunks(
    numbers: NDArray[np.float64], codes: NDArray[np.int64]
) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(numbers), CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        yield torch.from_numpy(numbers[chunk]), torch.from_numpy(codes[chunk])
