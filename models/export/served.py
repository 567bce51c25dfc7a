"""The served function: raw numbers and codes to predictions of all members at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.networks.encoder import Encoder
from models.networks.extras import Extras
from models.networks.fitted import FittedNetwork
from models.networks.population import Network, take
from models.objectives.base import Outputs
from models.objectives.learning import Target
from models.training.engine import TrainedPopulation

# Rows per call.
CHUNK_ROWS = 256

Vector = NDArray[np.float64]


class Part(nn.Module):
    """What the trained networks of one spec give to F folds.

    encoder : of the folds
    network : of F·m members, fold f owns members f·m … f·m + m − 1
    """

    def __init__(self, encoder: Encoder, network: Network, per_fold: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.network = network
        self.per_fold = per_fold
        self._alone: dict[int, Part] = {}

    def forward(self, numbers: Tensor, codes: Tensor, extra: Tensor | None) -> Tensor:
        """(F·m, N, outputs), raw."""
        inputs = self.encoder(numbers, codes, extra if self.encoder.extras else None)
        if self.per_fold > 1:
            inputs = inputs.repeat_interleave(self.per_fold, 0)
        return self.network.predict(inputs)

    def fold(self, place: int) -> Part:
        """Only the members of one fold. It is kept, because trees take a second to prepare."""
        if place not in self._alone:
            own = torch.arange(place * self.per_fold, (place + 1) * self.per_fold)
            encoder = take(self.encoder, torch.tensor([place]))
            self._alone[place] = Part(encoder, take(self.network, own), self.per_fold)
        return self._alone[place]


class ServedModel(nn.Module):
    """The networks of F folds, with preprocessing and inverse target transform.

    A fold has m members. Those of a blend are one: the weighted sum of its parts' raw outputs.

    Input
    -----
    numbers : (N, D) float64, NaN is missing
    codes : (N, C) int64

    Output
    ------
    value : (N, …) float64, on the target's own scale: the mean of the members; with folds in time
        only of the last fold's, because the first folds know only the oldest rows
    members : (F·m, N, …) float64, fold f owns members f·m … f·m + m − 1
    spread : (N,) only of blends whose objective has one (`Target.spread`)
    """

    weights: Tensor | None  # (F, parts) of a blend

    def __init__(
        self,
        parts: Sequence[Part],
        target: Target,  # of the members
        folds: list[int],
        *,
        extras: Extras | None = None,  # of the folds
        weights: Tensor | None = None,
        latest_alone: bool = False,
    ) -> None:
        super().__init__()
        self._parts = nn.ModuleList(parts)
        self.target = target
        self.extras = extras
        self.folds = folds  # their numbers
        self.register_buffer("weights", weights)
        self.members_per_fold = parts[0].per_fold if weights is None else 1
        self.members = len(folds) * self.members_per_fold
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
        part = Part(take(trained.encoder, kept), take(trained.network, members), per_fold)
        target = take(trained.target, members // per_fold)
        extras = None if trained.extras is None else take(trained.extras, kept)
        return cls([part], target, folds, extras=extras, latest_alone=latest_alone)

    @classmethod
    def blend(
        cls, models: Sequence[ServedModel], weights: Tensor, *, latest_alone: bool = False
    ) -> ServedModel:
        """The sum of models of one architecture each, of the same folds, times `weights` (F,
        models)."""
        first = models[0]
        members = torch.arange(0, first.members, first.members_per_fold)
        parts = [part for model in models for part in model.parts]
        # They were learnt once.
        extras = next((model.extras for model in models if model.extras is not None), None)
        return cls(
            parts,
            take(first.target, members),
            first.folds,
            extras=extras,
            weights=weights,
            latest_alone=latest_alone,
        )

    def of_parts(self, numbers: Tensor, codes: Tensor) -> list[Tensor]:
        """(F·m, N, outputs) of the members of each part, raw."""
        numbers, codes = numbers.unsqueeze(0), codes.unsqueeze(0)
        extra = None if self.extras is None else self.extras(numbers, codes)
        return [part(numbers, codes, extra) for part in self.parts]

    def outputs(self, numbers: Tensor, codes: Tensor) -> tuple[Tensor, Tensor | None]:
        """(F·m, N, outputs) of the members, raw, and the spread (N,)."""
        found = self.of_parts(numbers, codes)
        if self.weights is None:
            return found[0], None
        stacked = self.means(found)
        blended = (stacked * self.weights[:, :, None, None]).sum(1)
        has_spread = self.target.has_spread
        return blended, self.target.spread(
            stacked, self.weights, self.first_served
        ) if has_spread else None

    def means(self, found: Sequence[Tensor]) -> Tensor:
        """(F, parts, N, outputs) float64 of what `of_parts` gives: the means of a part's members in
        each fold."""
        means = [
            outputs.unflatten(0, (-1, part.per_fold)).mean(1).double()
            for outputs, part in zip(found, self.parts, strict=True)
        ]
        return torch.stack(means, dim=1)

    def forward(self, numbers: Tensor, codes: Tensor) -> tuple[Tensor, ...]:
        outputs, spread = self.outputs(numbers, codes)
        members = self.target.restore(outputs)
        value = members[self.first_served :].mean(0)
        return (value, members) if spread is None else (value, members, spread)

    @property
    def parts(self) -> list[Part]:
        return [part for part in self._parts if isinstance(part, Part)]

    @property
    def bytes(self) -> int:
        """Of what was learnt."""
        return sum(value.numel() * value.element_size() for value in self.state_dict().values())

    @property
    def has_spread(self) -> bool:
        return self.weights is not None and self.target.has_spread

    def own(self, place: int) -> slice:
        """The members of one fold."""
        return slice(place * self.members_per_fold, (place + 1) * self.members_per_fold)

    def fold(self, place: int) -> ServedModel:
        """Only the members of one fold."""
        own = torch.arange(self.members)[self.own(place)]
        return ServedModel(
            [part.fold(place) for part in self.parts],
            take(self.target, own),
            [self.folds[place]],
            extras=None if self.extras is None else take(self.extras, torch.tensor([place])),
            weights=None if self.weights is None else self.weights[[place]],
        )

    def largest_network(self) -> int:
        """Weights of one member of the part with the most; 0 if none is trained in epochs."""
        return max(sum(p[0].numel() for p in part.parameters()) for part in self.parts)

    @property
    def learns_smoothly(self) -> bool:
        """Whether errors on training rows mean anything: those of networks, but not of functions
        that keep their training rows."""
        is_fitted = any(isinstance(part.network, FittedNetwork) for part in self.parts)
        return self.extras is None and not is_fitted


@torch.no_grad()
def predict(served: ServedModel, numbers: NDArray[np.float64], codes: NDArray[np.int64]) -> Outputs:
    """The model's outputs for rows, numbers (N, D) and codes (N, C)."""
    parts = [served(*chunk) for chunk in _chunks(numbers, codes)]
    if not parts:
        return Outputs(np.empty(0), np.empty((served.members, 0)), numbers, codes)
    return Outputs(
        torch.cat([part[0] for part in parts]).numpy(),
        torch.cat([part[1] for part in parts], dim=1).numpy(),
        numbers,
        codes,
        torch.cat([part[2] for part in parts]).numpy() if len(parts[0]) > 2 else None,
    )


@torch.no_grad()
def raw_outputs(
    served: ServedModel, numbers: NDArray[np.float64], codes: NDArray[np.int64]
) -> tuple[Tensor, Vector | None]:
    """(F·m, N, outputs) of the members for N ≥ 1 rows, before `Target.restore`, and their spread
    (N,)."""
    parts = [served.outputs(*chunk) for chunk in _chunks(numbers, codes)]
    outputs = torch.cat([part for part, _ in parts], dim=1)
    spreads = [spread for _, spread in parts if spread is not None]
    return outputs, torch.cat(spreads).numpy() if spreads else None


@torch.no_grad()
def outputs_of_parts(
    served: ServedModel, numbers: NDArray[np.float64], codes: NDArray[np.int64]
) -> Tensor:
    """(F, parts, N, outputs) float64, as `ServedModel.means`, for N ≥ 1 rows."""
    chunks = _chunks(numbers, codes)
    return torch.cat([served.means(served.of_parts(*chunk)) for chunk in chunks], dim=2)


def _chunks(
    numbers: NDArray[np.float64], codes: NDArray[np.int64]
) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(numbers), CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        yield torch.from_numpy(numbers[chunk]), torch.from_numpy(codes[chunk])
