"""Training all folds at once: one loop over epochs, blocks of batches, and batches.

The members of a population are the folds that still train. A member that stops leaves at the end
of the epoch, with its best weights kept aside. Nothing in the loop waits for the device before
the end of an epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from models.data.design import Design
from models.data.folds import FoldRows
from models.data.preprocessing import FoldStatistics, learn
from models.networks import build_network
from models.networks.encoder import Encoder
from models.networks.population import Network, take
from models.networks.target import TargetScale
from models.randomness import stream_seed
from models.spec import TrainingSpec
from models.training.checkpoint import pack, unpack
from models.training.dropout import FoldNoise
from models.training.losses import row_losses
from models.training.optimizers import PopulationOptimizer
from models.training.rows import RaggedRows

# Rows of a fold that are encoded together: enough to spread the cost of an operation's call, few
# enough to stay in the cache. A block is also what a run stops and resumes between.
BLOCK_ROWS = 1_024
# Rows of a fold that are scored together.
SCORE_ROWS = 4_096
CHECKPOINT_INTERVAL = 5.0  # seconds


@dataclass(frozen=True)
class EpochLosses:
    """One fold after one epoch; losses are means over rows, NaN or infinity included."""

    fold: int
    epoch: int
    train_loss: float
    watched_loss: float | None
    validation_loss: float
    learning_rate: float


@dataclass
class FoldCourse:
    """How the training of one fold went. `best_epoch` is 0 until an epoch ended finite."""

    epochs: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    best_train_loss: float = math.nan
    best_validation_loss: float = math.nan
    stopped_by: str = "max_epochs"


@dataclass(frozen=True)
class TrainedFolds:
    """F networks with their best weights and what their folds learnt, on the CPU."""

    network: Network
    encoder: Encoder
    target: TargetScale
    statistics: FoldStatistics
    courses: list[FoldCourse]


class Monitor:
    """What the loop tells and asks between blocks; the default trains undisturbed."""

    def epoch_ended(self, losses: list[EpochLosses], active: int) -> None:
        """Called once an epoch with the losses of the folds that trained in it."""

    def should_stop(self) -> bool:
        """Asked between blocks; True ends the run with `Interrupted`."""
        return False

    def checkpoint(self, make: Callable[[], bytes]) -> None:
        """Called between blocks every few seconds, and before `Interrupted`."""


class Interrupted(Exception):
    """The monitor asked the run to stop; a checkpoint was offered first."""


class Trainer:
    """A run and its state. `train` runs it to the end."""

    def __init__(
        self,
        spec: TrainingSpec,
        design: Design,
        folds: Sequence[FoldRows],
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._spec = spec
        self._device = device
        self._dtype = dtype
        self._train_rows = [torch.from_numpy(fold.train) for fold in folds]
        self.statistics = learn(spec.preprocessing, design, [fold.train for fold in folds])
        # One copy of the table on the device, from which every fold gathers its rows.
        self._numbers = torch.from_numpy(design.numbers).to(device)
        self._codes = torch.from_numpy(design.codes).to(device)
        self._targets = torch.from_numpy(design.target).to(device)
        self.encoder = Encoder(self.statistics, design.categorical, spec.preprocessing, dtype)
        self.target = TargetScale(self.statistics, spec.preprocessing)
        self._watches = spec.early_stopping is not None
        self._all_watched = RaggedRows.pad([fold.watched for fold in folds], dtype, device)
        self._all_validation = RaggedRows.pad([fold.validation for fold in folds], dtype, device)

        seeds = [stream_seed(spec.seed, "fold", fold) for fold in range(len(folds))]
        network = build_network(spec, self.encoder.width, seeds).to(device, dtype)
        self.network = network
        self._best = {name: p.detach().clone() for name, p in network.named_parameters()}
        self.courses = [FoldCourse() for _ in folds]
        self._epoch = 1
        self._block = 0
        self._enter(list(range(len(folds))), network)
        self._loss_sums = torch.zeros(len(folds), dtype=torch.float64, device=device)

    # The members of the present population.

    def _enter(self, active: list[int], network: Network) -> None:
        """Make these folds, whose weights `network` holds, the ones that train."""
        self._active = active
        places = torch.tensor(active, device=self._device)
        self.network = network
        self._optimizer = PopulationOptimizer(network, self._spec)
        self._encoder = take(self.encoder, torch.tensor(active)).to(self._device)
        self._target = take(self.target, torch.tensor(active)).to(self._device)
        self._watched = self._all_watched.take(places)
        self._validation = self._all_validation.take(places)
        self._noise = FoldNoise(self._spec.seed, active, self._dtype, self._device)

    def _leave(self, stopped: set[int]) -> None:
        """Drop folds from the population."""
        kept = [place for place, fold in enumerate(self._active) if fold not in stopped]
        if not kept:
            self._active = []
            return
        places = torch.tensor(kept, device=self._device)
        state = {
            name: v.index_select(0, places.to(v.device))
            for name, v in self._optimizer.state().items()
        }
        self._enter([self._active[place] for place in kept], take(self.network, places))
        self._optimizer.load(state)

    # The loop.

    def train(self, monitor: Monitor) -> TrainedFolds:
        """Run every fold to its end.

        Raises
        ------
        Interrupted: the monitor asked for it.
        """
        saved_at = time.monotonic()
        while self._active and self._epoch <= self._spec.max_epochs:
            order = self._epoch_order()
            for block in range(self._block, self._blocks(order)):
                if monitor.should_stop():
                    monitor.checkpoint(self.save)
                    raise Interrupted
                if time.monotonic() - saved_at > CHECKPOINT_INTERVAL:
                    monitor.checkpoint(self.save)
                    saved_at = time.monotonic()
                self._train_block(order, block)
                self._block = block + 1
            losses = self._end_epoch()
            monitor.epoch_ended(losses, len(self._active))
        network = take(
            self.network, torch.zeros(len(self.courses), dtype=torch.int64, device=self._device)
        ).cpu()
        network.load_state_dict(self._best)
        return TrainedFolds(network, self.encoder, self.target, self.statistics, self.courses)

    def _epoch_order(self) -> RaggedRows:
        """The training rows of every member in this epoch's order, padded to whole batches."""
        shuffled = []
        for fold in self._active:
            rows = self._train_rows[fold]
            seed = stream_seed(self._spec.seed, "order", fold, self._epoch)
            order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
            shuffled.append(rows[order])
        return RaggedRows.pad(shuffled, self._dtype, self._device, self._spec.batch_size)

    def _block_rows(self) -> int:
        return max(1, BLOCK_ROWS // self._spec.batch_size) * self._spec.batch_size

    def _blocks(self, order: RaggedRows) -> int:
        return -(-order.index.shape[1] // self._block_rows())

    def _train_block(self, order: RaggedRows, block: int) -> None:
        start = block * self._block_rows()
        rows = order.span(start, start + self._block_rows())
        x, y = self._inputs(rows)
        self._noise.begin(self._epoch, block)
        size = self._spec.batch_size
        for first in range(0, rows.index.shape[1], size):
            batch = slice(first, first + size)
            remaining = [len(self._train_rows[fold]) - start - first for fold in self._active]
            idle = [member for member, left in enumerate(remaining) if left <= 0]
            self._optimizer.zero_grad()
            prediction = self.network(x[:, batch], self._noise)[..., 0]
            weight = rows.weight[:, batch]
            sums = (row_losses(self._spec.loss, prediction, y[:, batch]) * weight).sum(1)  # (K,)
            (sums / weight.sum(1).clamp(min=1)).sum().backward()
            self._optimizer.step(idle)
            self._loss_sums += sums.detach()

    def _inputs(self, rows: RaggedRows) -> tuple[Tensor, Tensor]:
        """Inputs (K, M, D) and standardised targets (K, M) of each member's rows."""
        shape = rows.index.shape
        flat = rows.index.reshape(-1)
        numbers = self._numbers.index_select(0, flat).view(*shape, -1)
        codes = self._codes.index_select(0, flat).view(*shape, -1)
        target = self._targets.index_select(0, flat).view(shape)
        return self._encoder(numbers, codes), self._target.standardize(target).to(self._dtype)

    def _end_epoch(self) -> list[EpochLosses]:
        """Score the epoch, keep what improved, drop what stopped."""
        train = self._loss_sums / torch.tensor(
            [len(self._train_rows[fold]) for fold in self._active], device=self._device
        )
        watched = self._score(self._watched) if self._watches else train
        validation = self._score(self._validation)
        # The one time in an epoch that the device is waited for.
        figures = torch.stack([train, watched, validation]).cpu().tolist()
        losses, improved, stopped = [], [], set()
        for member, fold in enumerate(self._active):
            train_loss, watched_loss, validation_loss = (row[member] for row in figures)
            losses.append(
                EpochLosses(
                    fold,
                    self._epoch,
                    train_loss,
                    watched_loss if self._watches else None,
                    validation_loss,
                    self._spec.optimizer.learning_rate,
                )
            )
            course = self.courses[fold]
            course.epochs = self._epoch
            if not all(map(math.isfinite, (train_loss, watched_loss, validation_loss))):
                course.stopped_by = "non_finite"
                stopped.add(fold)
            elif not self._watches or watched_loss < course.best_loss:
                course.best_epoch = self._epoch
                course.best_loss = watched_loss
                course.best_train_loss = train_loss
                course.best_validation_loss = validation_loss
                improved.append(member)
            elif self._spec.early_stopping is not None and (
                self._epoch - course.best_epoch >= self._spec.early_stopping.patience
            ):
                course.stopped_by = "early_stopping"
                stopped.add(fold)
        self._keep(improved)
        self._epoch += 1
        self._block = 0
        if stopped:
            self._leave(stopped)
        self._loss_sums = torch.zeros(len(self._active), dtype=torch.float64, device=self._device)
        return losses

    def _keep(self, improved: list[int]) -> None:
        """Copy the weights of these members aside as their folds' best."""
        if not improved:
            return
        members = torch.tensor(improved, device=self._device)
        folds = torch.tensor([self._active[member] for member in improved], device=self._device)
        for name, parameter in self.network.named_parameters():
            self._best[name].index_copy_(0, folds, parameter.detach().index_select(0, members))

    @torch.no_grad()
    def _score(self, rows: RaggedRows) -> Tensor:
        """(K,) float64 mean loss of each member over its rows, dropout off."""
        sums = torch.zeros(len(self._active), dtype=torch.float64, device=self._device)
        for start in range(0, rows.index.shape[1], SCORE_ROWS):
            part = rows.span(start, start + SCORE_ROWS)
            x, y = self._inputs(part)
            losses = row_losses(self._spec.loss, self.network(x)[..., 0], y)
            sums += torch.where(part.weight > 0, losses, 0.0).sum(1)
        return sums / rows.weight.sum(1)

    # Checkpoints.

    def save(self) -> bytes:
        """Everything that the rest of the run depends on."""
        tensors = {"loss_sums": self._loss_sums}
        tensors |= {f"network/{name}": p for name, p in self.network.named_parameters()}
        tensors |= {f"optimizer/{name}": value for name, value in self._optimizer.state().items()}
        tensors |= {f"best/{name}": value for name, value in self._best.items()}
        return pack(
            {name: tensor.cpu() for name, tensor in tensors.items()},
            {
                "epoch": self._epoch,
                "block": self._block,
                "active": self._active,
                "courses": [asdict(course) for course in self.courses],
            },
        )

    def restore(self, data: bytes) -> bool:
        """Go on from a checkpoint of the same spec and table; False if it is of another format."""
        unpacked = unpack(data)
        if unpacked is None:
            return False
        tensors, state = unpacked

        def part(prefix: str) -> dict[str, Tensor]:
            return {
                name.removeprefix(prefix): tensor.to(self._device)
                for name, tensor in tensors.items()
                if name.startswith(prefix)
            }

        self._epoch, self._block = state["epoch"], state["block"]
        self.courses = [FoldCourse(**course) for course in state["courses"]]
        self._best = part("best/")
        if state["active"]:
            network = take(self.network, torch.tensor(state["active"], device=self._device))
            network.load_state_dict(part("network/"))
            self._enter(state["active"], network)
            self._optimizer.load(part("optimizer/"))
        self._active = state["active"]
        self._loss_sums = tensors["loss_sums"].to(self._device)
        return True
