"""Trains a population: one loop over epochs, blocks of batches, and batches.

The members are folds × trials × seeds and share one copy of the table. A member that stops leaves
the population at the end of the epoch; its best weights are kept. The loop does not wait for the
device before the end of an epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from models.data.preprocessing import FoldStatistics
from models.members import Member, population_key
from models.networks import build_network
from models.networks.encoder import Encoder
from models.networks.extras import Extras
from models.networks.population import Network, take
from models.objectives.learning import Target
from models.randomness import stream_seed
from models.spec.schedules import schedule_factor
from models.training.checkpoint import pack, unpack
from models.training.health import first_non_finite
from models.training.inputs import Inputs
from models.training.layers import Layers
from models.training.line import start_at_the_line
from models.training.progress import Course, Interrupted, MemberEpoch, Monitor, Trouble
from models.training.ragged import RaggedRows
from models.training.step import Step
from models.training.warm_start import start_from

# Rows of a fold between two questions to the monitor. A run stops and resumes between such blocks.
BLOCK_ROWS = 1_024
# Input values scored per call, over all members.
SCORE_BYTES = 64 * 1024 * 1024
# Validation rows whose hidden units are examined after each epoch.
PROBE_ROWS = 256
EARLIER = 0.8  # of the epochs: what comes later shows whether a loss still falls
CHECKPOINT_INTERVAL = 2.0  # seconds; one of five [256, 64] members takes 30 ms


@dataclass(frozen=True)
class TrainedPopulation:
    """K networks with their best weights, and what the F folds learnt, on the CPU."""

    network: Network
    encoder: Encoder
    target: Target
    statistics: FoldStatistics
    courses: list[Course]
    extras: Extras | None = None

    @property
    def folds(self) -> int:
        return len(self.statistics.fill)

    def own_courses(self, fold: int) -> list[Course]:
        """Those of a fold's members."""
        per_fold = len(self.courses) // self.folds
        return self.courses[fold * per_fold :][:per_fold]


class Trainer:
    """A run of a population and its state. `train` runs it to the end.

    The members' specs agree in `population_key`, and members of one fold are adjacent.
    """

    def __init__(self, members: Sequence[Member], inputs: Inputs) -> None:
        if len({population_key(member.spec) for member in members}) > 1:
            raise ValueError("the members' specs may differ only in numbers of each member")
        self.members = list(members)
        self._spec = members[0].spec  # for settings that all members share
        self.inputs = inputs
        self._device = inputs.device
        # Whether to look at the losses of each batch: any other device would have to be waited for.
        self._looks = self._device.type == "cpu"
        self._watches = self._spec.early_stopping is not None
        self._stops_without_mistakes = self._spec.architecture.type == "perceptron"
        network = build_network(self.members, inputs.shape).to(self._device, inputs.dtype)
        start_at_the_line(network, self.members, inputs)
        start_from(network, self.members, inputs)
        self._best = {name: value.clone() for name, value in network.state_dict().items()}
        self.courses = [Course() for _ in members]
        self._epoch = 1
        self._block = 0
        self._enter(list(range(len(members))), network)
        self._begin_epoch()

    # Members that still train.

    def _enter(self, active: list[int], network: Network) -> None:
        """Continue with these members, whose weights are in `network`."""
        self._active = active
        self.network = network
        members = [self.members[place] for place in active]
        self._folds = sorted({member.fold for member in members})
        self._fold_of = torch.tensor(
            [self._folds.index(member.fold) for member in members], device=self._device
        )
        self._rates = [member.spec.optimizer.learning_rate for member in members]
        self._step = Step(
            network,
            members,
            self.inputs.loss,
            self._fold_of,
            self._spec.batch_size,
            self.inputs.shape.inputs,
        )
        self._layers = Layers(network)
        self._seen = self.inputs.of(self._folds)
        self._watched = self._pad(self.inputs.watched_rows)
        self._validation = self._pad(self.inputs.validation_rows)
        # Of all folds, so that what a member shows doesn't depend on its companions.
        shortest = min(map(len, self.inputs.validation_rows))
        self._probed = min(shortest, PROBE_ROWS)
        # Training rows and batches of an epoch, by member.
        self._rows = [len(self.inputs.train_rows[member.fold]) for member in members]
        self._batches = [-(-rows // self._spec.batch_size) for rows in self._rows]

    def _leave(self, stopped: set[int]) -> None:
        """Drop members from the population."""
        kept = [place for place, member in enumerate(self._active) if member not in stopped]
        if not kept:
            self._active = []
            return
        places = torch.tensor(kept, device=self._device)
        stacked, steps = self._step.optimizer.state()
        self._enter([self._active[place] for place in kept], take(self.network, places))
        self._step.optimizer.load(
            {name: value.index_select(0, places) for name, value in stacked.items()},
            [steps[place] for place in kept],
        )

    def _pad(self, rows: Sequence[Tensor], multiple: int = 1) -> RaggedRows:
        chosen = [rows[fold] for fold in self._folds]
        return RaggedRows.pad(chosen, self.inputs.dtype, self._device, multiple)

    def _by_member(self, of_folds: Tensor) -> Tensor:
        """(F, …) to (K, …); without a copy if each member has its own fold."""
        alone = len(self._folds) == len(self._active)
        return of_folds if alone else of_folds[self._fold_of]

    # The loop.

    def train(self, monitor: Monitor, until: int | None = None) -> TrainedPopulation:
        """Run every member to its end, or until it has trained for `until` epochs.

        Raises
        ------
        Interrupted: the monitor asked to stop.
        """
        saved_at = time.monotonic()
        while not self.finished and (until is None or self._epoch <= until):
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
            metrics = self._end_epoch()
            monitor.epoch_ended(metrics, [self.members[place] for place in self._active])
        everyone = torch.zeros(len(self.members), dtype=torch.int64, device=self._device)
        network = take(self.network, everyone)
        network.load_state_dict(self._best)
        inputs = self.inputs
        return TrainedPopulation(
            network.cpu(),
            inputs.encoder,
            inputs.target,
            inputs.statistics,
            self.courses,
            inputs.extras,
        )

    def drop(self, trials: Collection[int]) -> None:
        """End the members of these trials that still train, with their best weights so far."""
        dropped = {place for place in self._active if self.members[place].trial in trials}
        for place in dropped:
            self.courses[place].stopped_by = "halving"
        if dropped:
            self._leave(dropped)
            self._begin_epoch()

    @property
    def finished(self) -> bool:
        return not self._active or self._epoch > self._spec.max_epochs

    def _epoch_order(self) -> RaggedRows:
        """Each fold's training rows in this epoch's order, padded to whole batches."""
        shuffled = []
        for fold, rows in enumerate(self.inputs.train_rows):
            seed = stream_seed(self._spec.seed, "order", fold, self._epoch)
            order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
            shuffled.append(rows[order])
        return self._pad(shuffled, self._spec.batch_size)

    def _block_rows(self) -> int:
        return max(1, BLOCK_ROWS // self._spec.batch_size) * self._spec.batch_size

    def _blocks(self, order: RaggedRows) -> int:
        return -(-order.index.shape[1] // self._block_rows())

    def _begin_epoch(self) -> None:
        """Reset the results of the current epoch."""
        batches = max(self._batches, default=0)
        places = torch.arange(batches, device=self._device)
        rows = torch.tensor(self._rows, device=self._device).unsqueeze(1)
        # (K, batches): rows of each batch, and their mean loss.
        self._counts = (rows - places * self._spec.batch_size).clamp(0, self._spec.batch_size)
        self._losses = torch.zeros(self._counts.shape, dtype=self.inputs.dtype, device=self._device)
        self._gradient_norms = torch.zeros(len(self._active), device=self._device)
        self._updates = torch.zeros(len(self._active), dtype=torch.int64, device=self._device)

    def _train_block(self, order: RaggedRows, block: int) -> None:
        start, size = block * self._block_rows(), self._spec.batch_size
        rows = order.span(start, start + self._block_rows())
        y = self._by_member(self._seen.targets(rows))  # (K, rows)
        counts = rows.weight.unflatten(1, (-1, size)).sum(2)  # (F, batches)
        share = self._by_member(rows.weight / counts.clamp(min=1).repeat_interleave(size, 1))
        weights = self._seen.row_weights(rows)
        if weights is not None:
            share = share * self._by_member(weights)
        step = self._step
        step.noise.begin(self._epoch, block)
        for batch in self._seen.batches(rows, size, step.x):
            part = slice(batch * size, (batch + 1) * size)
            number = start // size + batch  # in the epoch
            idle = [place for place, batches in enumerate(self._batches) if number >= batches]
            rates = [
                rate * self._factor(number / batches)
                for rate, batches in zip(self._rates, self._batches, strict=True)
            ]
            step.fill(y[:, part], share[:, part], rates, idle)
            step.differentiate()
            self._losses[:, number] = step.losses
            if number == 0:
                self._gradient_norms = step.optimizer.gradient_norms()
                self._layers.before_step()
            if self._stops_without_mistakes:
                self._updates += step.optimizer.gradient_norms() > 0
            if self._looks and not math.isfinite(step.losses.sum().item()):
                self._look_for_trouble(step.losses, number, step.x)
            step.move()
            if number == 0:
                self._layers.after_step()

    def _look_for_trouble(self, losses: Tensor, number: int, x: Tensor) -> None:
        """Name the layer for each member whose loss is not finite for the first time."""
        for place, finite in enumerate(torch.isfinite(losses).tolist()):
            course = self.courses[self._active[place]]
            if not finite and course.trouble is None:
                layer = first_non_finite(self.network, place, self._by_member(x))
                step = (self._epoch - 1) * self._batches[place] + number + 1
                course.trouble = Trouble(self._epoch, step, layer)

    def _factor(self, share: float) -> float:
        """Factors of the learning rate after a share of the current epoch's batches.

        A member's share is that of its own batches, so it does not depend on longer folds.
        """
        progress = (self._epoch - 1 + min(share, 1.0)) / self._spec.max_epochs
        return schedule_factor(self._spec.optimizer.schedule, progress)

    def _end_epoch(self) -> list[MemberEpoch]:
        """Score the epoch, keep weights that improved, drop members that stopped."""
        active = [self.members[place] for place in self._active]
        train = (self._losses.double() * self._counts).sum(1) / self._counts.sum(1)
        watched = self._score(self._watched) if self._watches else train
        with self._layers.observe(self._probed) as units:
            validation = self._score(self._validation)
        by_layer = self._layers.figures(units)
        columns = [train, watched, validation, self._gradient_norms.double()]
        columns += [share for share in (units.dead, units.saturated) if share is not None]
        columns.append(self._updates.double())
        # The only time in an epoch that waits for the device.
        figures = torch.stack(columns).cpu().T.tolist()
        layers = by_layer.cpu().tolist()
        ended = self._factor(1.0)
        metrics = [
            MemberEpoch(
                member=member,
                fold=member.fold,
                epoch=self._epoch,
                train_loss=figure[0],
                watched_loss=figure[1] if self._watches else None,
                validation_loss=figure[2],
                learning_rate=member.spec.optimizer.learning_rate * ended,
                gradient_norm=figure[3],
                dead_units=None if units.dead is None else figure[4],
                saturated_units=None if units.saturated is None else figure[-2],
                updates=int(figure[-1]) if self._stops_without_mistakes else None,
                layers=self._layers.of_member(layers, place),
            )
            for place, (member, figure) in enumerate(zip(active, figures, strict=True))
        ]
        improved, stopped = [], set()
        for place, (member, row) in enumerate(zip(self._active, metrics, strict=True)):
            if self._note(place, self.courses[member], row):
                improved.append(place)
            if self.courses[member].stopped_by != "max_epochs":
                stopped.add(member)
        self._keep(improved)
        self._epoch += 1
        self._block = 0
        if stopped:
            self._leave(stopped)
        self._begin_epoch()
        return metrics

    def _note(self, place: int, course: Course, metrics: MemberEpoch) -> bool:
        """Enter an epoch; True if its weights are the best yet."""
        course.epochs = self._epoch
        watched = metrics.train_loss if metrics.watched_loss is None else metrics.watched_loss
        if not all(map(math.isfinite, (metrics.train_loss, watched, metrics.validation_loss))):
            course.stopped_by = "non_finite"
            if course.trouble is None:  # in the last step, or in a row that was in no batch
                x = self._by_member(self._seen.rows(self._validation.span(0, 1)))
                layer = first_non_finite(self.network, place, x)
                course.trouble = Trouble(self._epoch, self._epoch * self._batches[place], layer)
            return False
        course.note(metrics)
        if self._epoch <= EARLIER * self._spec.max_epochs:
            course.earlier_best = min(course.earlier_best, watched)
        if metrics.updates == 0:
            course.stopped_by = "no_mistakes"
        if not self._watches or watched < course.best_loss:
            course.best_epoch, course.best_loss = self._epoch, watched
            return True
        assert self._spec.early_stopping is not None
        if self._epoch - course.best_epoch >= self._spec.early_stopping.patience:
            course.stopped_by = "early_stopping"
        return False

    def _keep(self, improved: list[int]) -> None:
        """Save the weights of these members as their best."""
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
        row_bytes = len(self._active) * self.inputs.shape.inputs * self.inputs.dtype.itemsize
        count = max(1, SCORE_BYTES // row_bytes)
        for start in range(0, rows.index.shape[1], count):
            part = rows.span(start, start + count)
            x, y = self._seen.rows(part), self._seen.targets(part)
            outputs = self.network.predict(self._by_member(x))  # (K, rows, outputs)
            losses = self.inputs.watched_loss.rows(outputs, self._by_member(y))
            sums += torch.where(self._by_member(part.weight) > 0, losses, 0.0).sum(1)
        return sums / self._by_member(rows.weight.sum(1))

    # Checkpoints.

    def save(self) -> bytes:
        """Everything that the rest of the run depends on; for a finished run, its outcome."""
        tensors = {f"best/{name}": value for name, value in self._best.items()}
        steps: list[int] = []
        if not self.finished:
            stacked, steps = self._step.optimizer.state()
            weights = self.network.state_dict()
            tensors |= {
                "losses": self._losses,
                "gradient_norms": self._gradient_norms,
                "updates": self._updates,
                "layers": self._layers.first,
            }
            tensors |= {f"network/{name}": value for name, value in weights.items()}
            tensors |= {f"optimizer/{name}": value for name, value in stacked.items()}
        return pack(
            {name: tensor.cpu() for name, tensor in tensors.items()},
            {
                "epoch": self._epoch,
                "block": self._block,
                "active": [] if self.finished else self._active,
                "steps": steps,
                "courses": [asdict(course) for course in self.courses],
            },
        )

    def restore(self, data: bytes) -> bool:
        """Resume from a checkpoint of the same members and table; False if its format differs."""
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
        self.courses = [Course.from_dict(course) for course in state["courses"]]
        self._best = part("best/")
        if state["active"]:
            network = take(self.network, torch.tensor(state["active"], device=self._device))
            network.load_state_dict(part("network/"))
            self._enter(state["active"], network)
            self._step.optimizer.load(part("optimizer/"), state["steps"])
            self._begin_epoch()
            self._losses = tensors["losses"].to(self._device)
            self._gradient_norms = tensors["gradient_norms"].to(self._device)
            self._updates = tensors["updates"].to(self._device)
            self._layers.first = tensors["layers"].to(self._device)
        self._active = state["active"]
        return True
