"""Training a population: one loop over epochs, blocks of batches, and batches.

The members are folds × trials × seeds, one copy of the table serves them all. A member that stops
leaves at the end of the epoch, with its best weights kept aside. Nothing in the loop waits for the
device before the end of an epoch.
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
from models.members import Member, population_key
from models.networks import build_network
from models.networks.encoder import Encoder
from models.networks.population import Network, take
from models.networks.target import TargetScale
from models.randomness import stream_seed
from models.spec import bins_of
from models.training.checkpoint import pack, unpack
from models.training.dropout import PopulationNoise
from models.training.gradients import gradients_of
from models.training.inputs import Inputs
from models.training.losses import row_losses
from models.training.optimizers import PopulationOptimizer
from models.training.rows import RaggedRows
from models.training.schedules import schedule_factor

# Rows of a fold that are gathered together: enough to spread the cost of an operation's call, few
# enough to stay in the cache. A block is also what a run stops and resumes between.
BLOCK_ROWS = 1_024
# Inputs that are scored together, over all members.
SCORE_BYTES = 64 * 1024 * 1024
CHECKPOINT_INTERVAL = 2.0  # seconds; one of five [256, 64] members takes 30 ms


@dataclass(frozen=True)
class EpochLosses:
    """One member after one epoch; losses are means over rows, NaN or infinity included."""

    member: Member
    epoch: int
    train_loss: float
    watched_loss: float | None
    validation_loss: float
    learning_rate: float


@dataclass
class Course:
    """How the training of one member went. `best_epoch` is 0 until an epoch ended finite."""

    epochs: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    stopped_by: str = "max_epochs"


@dataclass(frozen=True)
class TrainedPopulation:
    """K networks with their best weights and what the F folds learnt, on the CPU."""

    network: Network
    encoder: Encoder
    target: TargetScale
    statistics: FoldStatistics
    courses: list[Course]


class Monitor:
    """What the loop tells and asks between blocks; the default trains undisturbed."""

    def epoch_ended(self, losses: list[EpochLosses], active: list[Member]) -> None:
        """Called once an epoch with the losses of the members that trained in it, and with those
        that go on."""

    def should_stop(self) -> bool:
        """Asked between blocks; True ends the run with `Interrupted`."""
        return False

    def checkpoint(self, make: Callable[[], bytes]) -> None:
        """Called between blocks every few seconds, and before `Interrupted`."""


class Interrupted(Exception):
    """The monitor asked the run to stop; a checkpoint was offered first."""


class Trainer:
    """A run of a population and its state. `train` runs it to the end.

    The members' specs agree in `population_key`, and members of one fold stand together.
    """

    def __init__(
        self,
        members: Sequence[Member],
        design: Design,
        folds: Sequence[FoldRows],
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if len({population_key(member.spec) for member in members}) > 1:
            raise ValueError("the members' specs must agree in all but numbers of their own")
        self.members = list(members)
        self._spec = members[0].spec  # for what all members agree in
        self._device = device
        self._dtype = dtype
        self._train_rows = [torch.from_numpy(fold.train) for fold in folds]
        self._watched_rows = [torch.from_numpy(fold.watched) for fold in folds]
        self._validation_rows = [torch.from_numpy(fold.validation) for fold in folds]
        self._watches = self._spec.early_stopping is not None
        self.statistics: FoldStatistics = learn(
            self._spec.preprocessing,
            design,
            [fold.train for fold in folds],
            bins=bins_of(self._spec.architecture),
        )
        self.inputs = Inputs(design, self._spec.preprocessing, self.statistics, device, dtype)
        network = build_network(self.members, self.inputs.shape).to(device, dtype)
        self._best = {name: value.clone() for name, value in network.state_dict().items()}
        self.courses = [Course() for _ in members]
        self._epoch = 1
        self._block = 0
        self._enter(list(range(len(members))), network)
        self._loss_sums = torch.zeros(len(members), dtype=torch.float64, device=device)

    # The members that still train.

    def _enter(self, active: list[int], network: Network) -> None:
        """Make these members, whose weights `network` holds, the ones that train."""
        self._active = active
        self.network = network
        members = [self.members[place] for place in active]
        self._folds = sorted({member.fold for member in members})
        self._fold_of = torch.tensor(
            [self._folds.index(member.fold) for member in members], device=self._device
        )
        self._rates = [member.spec.optimizer.learning_rate for member in members]
        self._optimizer = PopulationOptimizer(network, [member.spec for member in members])
        self._gradients = gradients_of(network, self._spec.loss, self._fold_of)
        self._noise = PopulationNoise(members, self._dtype, self._device)
        self.inputs.choose(self._folds)
        self._watched = self._pad(self._watched_rows)
        self._validation = self._pad(self._validation_rows)

    def _leave(self, stopped: set[int]) -> None:
        """Drop members from the population."""
        kept = [place for place, member in enumerate(self._active) if member not in stopped]
        if not kept:
            self._active = []
            return
        places = torch.tensor(kept, device=self._device)
        stacked, steps = self._optimizer.state()
        self._enter([self._active[place] for place in kept], take(self.network, places))
        self._optimizer.load(
            {name: value.index_select(0, places) for name, value in stacked.items()},
            [steps[place] for place in kept],
        )

    def _pad(self, rows: Sequence[Tensor], multiple: int = 1) -> RaggedRows:
        chosen = [rows[fold] for fold in self._folds]
        return RaggedRows.pad(chosen, self._dtype, self._device, multiple)

    # The loop.

    def train(self, monitor: Monitor) -> TrainedPopulation:
        """Run every member to its end.

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
            monitor.epoch_ended(losses, [self.members[place] for place in self._active])
        everyone = torch.zeros(len(self.members), dtype=torch.int64, device=self._device)
        network = take(self.network, everyone)
        network.load_state_dict(self._best)
        return TrainedPopulation(
            network.cpu(), self.inputs.encoder, self.inputs.target, self.statistics, self.courses
        )

    def _epoch_order(self) -> RaggedRows:
        """Each fold's training rows in this epoch's order, padded to whole batches."""
        shuffled = []
        for fold, rows in enumerate(self._train_rows):
            seed = stream_seed(self._spec.seed, "order", fold, self._epoch)
            order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
            shuffled.append(rows[order])
        return self._pad(shuffled, self._spec.batch_size)

    def _block_rows(self) -> int:
        return max(1, BLOCK_ROWS // self._spec.batch_size) * self._spec.batch_size

    def _blocks(self, order: RaggedRows) -> int:
        return -(-order.index.shape[1] // self._block_rows())

    def _train_block(self, order: RaggedRows, block: int) -> None:
        start, size = block * self._block_rows(), self._spec.batch_size
        rows = order.span(start, start + self._block_rows())
        x, y = self.inputs.batch(rows)  # (F, R, inputs), (F, R)
        counts = rows.weight.unflatten(1, (-1, size)).sum(2)  # (F, batches)
        share = (rows.weight / counts.clamp(min=1).repeat_interleave(size, 1))[self._fold_of]
        y, counts = y[self._fold_of], counts[self._fold_of]  # (K, …)
        ends = [len(self._train_rows[self.members[m].fold]) for m in self._active]
        batches = [-(-end // size) for end in ends]  # of an epoch, by member
        self._noise.begin(self._epoch, block)
        for batch, first in enumerate(range(0, rows.index.shape[1], size)):
            part = slice(first, first + size)
            idle = [place for place, end in enumerate(ends) if end <= start + first]
            means = self._gradients.fill(x[:, part], y[:, part], share[:, part], self._noise)
            rates = [
                rate * self._factor((start // size + batch) / own)
                for rate, own in zip(self._rates, batches, strict=True)
            ]
            self._optimizer.step(rates, idle)
            self._loss_sums += means * counts[:, batch]

    def _factor(self, share: float) -> float:
        """Of the learning rate after a share of the present epoch's batches.

        A member's share is that of its own batches: it does not depend on longer folds beside it.
        """
        progress = (self._epoch - 1 + min(share, 1.0)) / self._spec.max_epochs
        return schedule_factor(self._spec.optimizer.schedule, progress)

    def _end_epoch(self) -> list[EpochLosses]:
        """Score the epoch, keep what improved, drop what stopped."""
        active = [self.members[place] for place in self._active]
        rows = [len(self._train_rows[member.fold]) for member in active]
        train = self._loss_sums / torch.tensor(rows, device=self._device)
        watched = self._score(self._watched) if self._watches else train
        validation = self._score(self._validation)
        # The one time in an epoch that the device is waited for.
        figures = torch.stack([train, watched, validation]).cpu().T.tolist()
        ended = self._factor(1.0)
        losses = [
            EpochLosses(
                member,
                self._epoch,
                train_loss,
                watched_loss if self._watches else None,
                validation_loss,
                member.spec.optimizer.learning_rate * ended,
            )
            for member, (train_loss, watched_loss, validation_loss) in zip(
                active, figures, strict=True
            )
        ]
        improved, stopped = [], set()
        for place, (member, figure) in enumerate(zip(self._active, figures, strict=True)):
            if self._note(self.courses[member], figure):
                improved.append(place)
            if self.courses[member].stopped_by != "max_epochs":
                stopped.add(member)
        self._keep(improved)
        self._epoch += 1
        self._block = 0
        if stopped:
            self._leave(stopped)
        self._loss_sums = torch.zeros(len(self._active), dtype=torch.float64, device=self._device)
        return losses

    def _note(self, course: Course, figures: list[float]) -> bool:
        """Enter an epoch's (train, watched, validation) losses; True if they are the best yet."""
        watched = figures[1]
        course.epochs = self._epoch
        if not all(map(math.isfinite, figures)):
            course.stopped_by = "non_finite"
            return False
        if not self._watches or watched < course.best_loss:
            course.best_epoch, course.best_loss = self._epoch, watched
            return True
        assert self._spec.early_stopping is not None
        if self._epoch - course.best_epoch >= self._spec.early_stopping.patience:
            course.stopped_by = "early_stopping"
        return False

    def _keep(self, improved: list[int]) -> None:
        """Copy the weights of these members aside as their best."""
        if not improved:
            return
        places = torch.tensor(improved, device=self._device)
        members = torch.tensor([self._active[place] for place in improved], device=self._device)
        for name, value in self.network.state_dict().items():
            self._best[name].index_copy_(0, members, value.index_select(0, places))

    @torch.no_grad()
    def _score(self, rows: RaggedRows) -> Tensor:
        """(K,) float64 mean loss of each member over its fold's rows, dropout off."""
        sums = torch.zeros(len(self._active), dtype=torch.float64, device=self._device)
        row_bytes = len(self._active) * self.inputs.shape.width * self._dtype.itemsize
        count = max(1, SCORE_BYTES // row_bytes)
        for start in range(0, rows.index.shape[1], count):
            part = rows.span(start, start + count)
            x, y = self.inputs.batch(part)
            prediction = self.network(x[self._fold_of]).mean(-1)
            losses = row_losses(self._spec.loss, prediction, y[self._fold_of])
            sums += torch.where(part.weight[self._fold_of] > 0, losses, 0.0).sum(1)
        return sums / rows.weight.sum(1)[self._fold_of]

    # Checkpoints.

    def save(self) -> bytes:
        """Everything that the rest of the run depends on."""
        stacked, steps = self._optimizer.state()
        tensors = {"loss_sums": self._loss_sums}
        tensors |= {f"network/{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"optimizer/{name}": value for name, value in stacked.items()}
        tensors |= {f"best/{name}": value for name, value in self._best.items()}
        return pack(
            {name: tensor.cpu() for name, tensor in tensors.items()},
            {
                "epoch": self._epoch,
                "block": self._block,
                "active": self._active,
                "steps": steps,
                "courses": [asdict(course) for course in self.courses],
            },
        )

    def restore(self, data: bytes) -> bool:
        """Go on from a checkpoint of the same members and table; False if of another format."""
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
        self.courses = [Course(**course) for course in state["courses"]]
        self._best = part("best/")
        if state["active"]:
            network = take(self.network, torch.tensor(state["active"], device=self._device))
            network.load_state_dict(part("network/"))
            self._enter(state["active"], network)
            self._optimizer.load(part("optimizer/"), state["steps"])
        self._active = state["active"]
        self._loss_sums = tensors["loss_sums"].to(self._device)
        return True
