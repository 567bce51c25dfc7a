"""The inputs of a population: one copy of the table on the device, shared by F folds."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from models.data.design import Design
from models.data.folds import FoldRows
from models.data.preprocessing import FoldStatistics, learn
from models.networks.encoder import Encoder
from models.networks.extras import Extras
from models.networks.keys import input_keys, scaled_keys
from models.networks.population import Shape, take
from models.objectives.trained import learning_of
from models.planning.estimate import ENCODED_BYTES
from models.spec import TrainingSpec
from models.spec.architectures import bins_of
from models.training.earlier import EarlierNetworks, keep_statistics
from models.training.ragged import RaggedRows

# Rows encoded per call if all rows are encoded; `quantile` scaling takes 256 bytes per cell.
CHUNK_ROWS = 256


class Inputs:
    """The table as a spec's folds see it: encoded rows and standardised targets.

    Everything is learnt from each fold's training rows (`statistics`).
    """

    def __init__(
        self,
        spec: TrainingSpec,
        design: Design,
        folds: Sequence[FoldRows],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        extras: Extras | None = None,
        earlier: Mapping[int, EarlierNetworks] | None = None,
    ) -> None:
        """`extras`: learnt from the same rows of the same folds; None: there are none. `earlier`:
        the networks that trials start from."""
        self.device = device
        self.dtype = dtype
        known = [fold.known for fold in folds]
        if spec.early_stopping is None:  # other members of a blend may watch some rows
            folds = [fold.without_watching() for fold in folds]
        self.train_rows = [torch.from_numpy(fold.train) for fold in folds]
        self.watched_rows = [torch.from_numpy(fold.watched) for fold in folds]
        self.validation_rows = [torch.from_numpy(fold.validation) for fold in folds]
        self.statistics: FoldStatistics = learn(
            spec.preprocessing,
            design,
            [fold.train for fold in folds],
            bins=bins_of(spec.architecture),
        )
        self.earlier = earlier or {}
        if self.earlier:
            scaled = scaled_keys(design, self.statistics.center.shape[1])
            first = next(iter(self.earlier.values()))
            self.statistics = keep_statistics(self.statistics, scaled, first)
        self.extras = extras if spec.architecture.takes_extras else None
        self.encoder = Encoder(
            self.statistics,
            design.categorical,
            spec.preprocessing,
            dtype,
            extras=0 if self.extras is None else self.extras.width,
            levels=spec.architecture.levels,
        )
        self.keys = input_keys(self.encoder, self.extras, design) if self.earlier else []
        self.learning = learning_of(spec)
        self.loss, self.watched_loss = self.learning.loss(spec), self.learning.watched_loss(spec)
        # The same for all members of a blend, whose outputs are added up.
        self.target = self.learning.target(
            [design.target[rows] for rows in known], design.levels, spec
        )
        self.shape = Shape(
            self.encoder.numeric,
            self.encoder.width,
            self.target.outputs,
            self.encoder.columns,
            max(len(rows) for rows in self.train_rows),
        )
        self._numbers = torch.from_numpy(design.numbers).to(device)
        self._codes = torch.from_numpy(design.codes).to(device)
        self._targets = torch.from_numpy(design.target).to(device)
        self._extra = None  # (F, n, E)
        if self.extras is not None:
            self._extra = self.extras.of_training(design).to(device)
        self._choose(list(range(len(folds))))
        size = len(folds) * len(design) * self.encoder.width * dtype.itemsize
        self._encoded = self._encode_all() if size <= ENCODED_BYTES else None  # (F·n, D)

    def of(self, folds: list[int]) -> Inputs:
        """The same table with only these folds."""
        chosen = copy.copy(self)
        chosen._choose(folds)
        return chosen

    def _choose(self, folds: list[int]) -> None:
        chosen = torch.tensor(folds)
        self._encoder = take(self.encoder, chosen).to(self.device)
        self._target = take(self.target, chosen).to(self.device)
        self._first = (chosen.unsqueeze(1) * len(self._targets)).to(self.device)

    def targets(self, rows: RaggedRows) -> Tensor:
        """(F, M) standardised targets of each fold's rows."""
        targets = self._targets.index_select(0, rows.index.reshape(-1)).view(rows.index.shape)
        return self._target.standardize(targets).to(self.dtype)

    def row_weights(self, rows: RaggedRows) -> Tensor | None:
        """(F, M) weights of each fold's rows in the loss; None if all weigh the same."""
        targets = self._targets.index_select(0, rows.index.reshape(-1)).view(rows.index.shape)
        weights = self._target.row_weights(targets)
        return None if weights is None else weights.to(self.dtype)

    def rows(self, rows: RaggedRows) -> Tensor:
        """(F, M, D) inputs of each fold's rows."""
        if self._encoded is not None:
            places = (rows.index + self._first).reshape(-1)
            return self._encoded.index_select(0, places).view(*rows.index.shape, -1)
        flat = rows.index.reshape(-1)
        numbers = self._numbers.index_select(0, flat).view(*rows.index.shape, -1)
        codes = self._codes.index_select(0, flat).view(*rows.index.shape, -1)
        extra = None
        if self._extra is not None:
            places = (rows.index + self._first).reshape(-1)
            extra = self._extra.flatten(0, 1).index_select(0, places)
            extra = extra.view(*rows.index.shape, -1)
        encoded: Tensor = self._encoder(numbers, codes, extra)
        return encoded

    def batches(self, rows: RaggedRows, size: int, out: Tensor) -> Iterator[int]:
        """Write the inputs of one batch of these rows at a time into `out` (F, size, D), and
        yield its number.

        Encoded rows are gathered batch by batch into one buffer, which stays in the cache.
        """
        if self._encoded is None:
            for number, encoded in enumerate(self.rows(rows).split(size, 1)):
                out.copy_(encoded)
                yield number
            return
        places, flat = rows.index + self._first, out.view(-1, out.shape[2])
        for number, part in enumerate(places.split(size, 1)):
            torch.index_select(self._encoded, 0, part.reshape(-1), out=flat)
            yield number

    def _encode_all(self) -> Tensor:
        folds, rows = len(self._first), len(self._numbers)
        encoded = torch.empty(
            folds, rows, self.encoder.width, dtype=self.dtype, device=self._numbers.device
        )
        for start in range(0, rows, CHUNK_ROWS):  # written in place: joined parts are held twice
            chunk = slice(start, start + CHUNK_ROWS)
            numbers, codes = self._numbers[chunk].unsqueeze(0), self._codes[chunk].unsqueeze(0)
            extra = None if self._extra is None else self._extra[:, chunk]
            encoded[:, chunk] = self._encoder(numbers, codes, extra)
        return encoded.flatten(0, 1)
