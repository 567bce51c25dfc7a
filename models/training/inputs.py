"""What goes into a population: one copy of the table on the device, seen through F folds."""

from __future__ import annotations

import torch
from torch import Tensor

from models.data.design import Design
from models.data.preprocessing import FoldStatistics
from models.networks.encoder import Encoder
from models.networks.population import InputShape, take
from models.networks.target import TargetScale
from models.spec import Preprocessing
from models.training.rows import RaggedRows

# Inputs of all folds that take no more than this are encoded once, larger ones block by block.
ENCODED_BYTES = 256 * 1024 * 1024
# Standard deviations at which a target is cut off, which concerns none that a fold trains on: the
# square of a scored row's, or of a padding row's, stays finite in float32 and stops no fold.
LARGEST_TARGET = 1e15
# Rows that are encoded together when all of them are; `quantile` scaling takes 256 bytes a cell.
CHUNK_ROWS = 256


class Inputs:
    """Encoded rows and standardised targets of the folds that train."""

    def __init__(
        self,
        design: Design,
        preprocessing: Preprocessing,
        statistics: FoldStatistics,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.encoder = Encoder(statistics, design.categorical, preprocessing, dtype)
        self.target = TargetScale(statistics, preprocessing)
        self.shape = InputShape(self.encoder.numeric, self.encoder.width)
        self._dtype = dtype
        self._device = device
        self._numbers = torch.from_numpy(design.numbers).to(device)
        self._codes = torch.from_numpy(design.codes).to(device)
        self._targets = torch.from_numpy(design.target).to(device)
        folds = len(statistics.target_center)
        self.choose(list(range(folds)))
        size = folds * len(design) * self.encoder.width * dtype.itemsize
        self._encoded = self._encode_all() if size <= ENCODED_BYTES else None

    def choose(self, folds: list[int]) -> None:
        """Give rows of these folds from here on."""
        self._folds = torch.tensor(folds)
        self._encoder = take(self.encoder, self._folds).to(self._device)
        self._target = take(self.target, self._folds).to(self._device)
        self._folds = self._folds.to(self._device)

    def batch(self, rows: RaggedRows) -> tuple[Tensor, Tensor]:
        """Inputs (F, M, D) and standardised targets (F, M) of each fold's rows."""
        flat = rows.index.reshape(-1)
        targets = self._targets.index_select(0, flat).view(rows.index.shape)
        y = self._target.standardize(targets).clamp(-LARGEST_TARGET, LARGEST_TARGET)
        y = y.to(self._dtype)
        if self._encoded is not None:
            count = self._encoded.shape[1]
            places = (rows.index + self._folds.unsqueeze(1) * count).reshape(-1)
            x = self._encoded.flatten(0, 1).index_select(0, places)
            return x.view(*rows.index.shape, -1), y
        numbers = self._numbers.index_select(0, flat).view(*rows.index.shape, -1)
        codes = self._codes.index_select(0, flat).view(*rows.index.shape, -1)
        return self._encoder(numbers, codes), y

    def _encode_all(self) -> Tensor:
        """(F, n, D)"""
        parts = [
            self._encoder(numbers.unsqueeze(0), codes.unsqueeze(0))
            for numbers, codes in zip(
                self._numbers.split(CHUNK_ROWS), self._codes.split(CHUNK_ROWS), strict=True
            )
        ]
        return torch.cat(parts, 1)
