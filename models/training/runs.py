"""Trains many specs on the same folds: grouped by shape, in chunks, over the cores.

Each chunk is a `Trainer`. Its outcome is its last checkpoint.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import numpy as np
import torch

from models.data.design import Design
from models.data.folds import FoldRows
from models.members import Member, members_of, population_key
from models.networks import build_network
from models.planning.estimate import layer_widths, member_bytes
from models.spec import TrainingSpec
from models.training.checkpoint import pack, unpack
from models.training.desk import Chunk, Desk
from models.training.earlier import EarlierNetworks
from models.training.engine import CHECKPOINT_INTERVAL, TrainedPopulation, Trainer
from models.training.extras import KnownExtras
from models.training.fitter import Fitter
from models.training.inputs import Inputs
from models.training.lanes import run_in_lanes
from models.training.progress import Course, Interrupted, MemberEpoch, Monitor

# Largest memory of a lane's members, so that their weights stay in the cache: half of a usual
# third-level cache, shared by two lanes.
CHUNK_BYTES = 16 * 1024 * 1024
# Largest share of a GPU's free memory for a chunk.
DEVICE_SHARE = 0.7


def train_many(
    specs: Sequence[TrainingSpec],
    design: Design,
    folds: Sequence[FoldRows],
    *,
    device: torch.device,
    monitor: Monitor,
    cores: int = 1,
    dtype: torch.dtype = torch.float32,
    checkpoints: Iterable[bytes] = (),
    thinned: Sequence[Sequence[FoldRows]] = (),
    earlier: Sequence[EarlierNetworks | None] = (),
) -> list[TrainedPopulation]:
    """Train each spec on all folds, and return the results in order.

    The specs were resolved on one table and have the same folds. `checkpoints`: those of earlier
    runs of the same specs, newest first. The run resumes from the first with this format.
    `thinned`: the folds with fewer training rows, on which each spec trains too, after the others.
    Their results follow in the same order. `earlier`: the networks that each spec starts from.

    Raises
    ------
    Interrupted: the monitor asked to stop without a result; a checkpoint was offered first.
    LaneDied: a training process was killed.
    """
    layouts = [folds, *thinned]
    members = members_of([*specs] * len(layouts))
    keys = [(place, population_key(spec)) for place in range(len(layouts)) for spec in specs]
    shares = [_training_rows(own) / _training_rows(folds) for own in layouts]
    book = Book(
        members,
        monitor,
        thinned={trial: shares[place] for trial, (place, _) in enumerate(keys) if place > 0},
    )
    for data in checkpoints:
        if book.restore(data):
            break
    trained: dict[int, TrainedPopulation] = {}
    known = [KnownExtras(design, own) for own in layouts]
    starts = dict(enumerate(earlier))
    for number, key in enumerate(dict.fromkeys(keys)):
        group = [member for member in members if keys[member.trial] == key]
        place, _ = key
        extras = known[place].of(group[0].spec)
        own_starts = {
            member.trial: start
            for member in group
            if (start := starts.get(member.trial)) is not None
        }
        inputs = Inputs(group[0].spec, design, layouts[place], device, dtype, extras, own_starts)
        if number == len(book.plans):
            book.plans.append(_plan(group, inputs, cores))
        works = [
            partial(_train_chunks, group, inputs, number, chunks, book.states)
            for chunks in book.plans[number]
        ]
        try:
            if len(works) == 1:
                works[0](book)
            else:
                run_in_lanes(works, book, max(1, cores // len(works)))
        except Interrupted:
            monitor.checkpoint(book.save)
            if not monitor.keeps_best():
                raise
            _add_untrained(group, inputs, book.plans[number], book.states.setdefault(number, {}))
        trained |= _results(group, inputs, book.states[number])
        del inputs, works  # before the next group's inputs are encoded
    return [trained[trial] for trial in range(len(keys))]


@dataclass
class Book(Desk):
    """The state of a run: each group's plan and each chunk's newest checkpoint.

    A fold's members may train in several chunks that are not equally far. Their metrics of an
    epoch are passed on when all of its members that trained in the epoch have reported.
    """

    members: list[Member]
    monitor: Monitor
    # Trials on fewer rows, and the share of the rows that they train on: their epochs are shorter.
    thinned: dict[int, float] = field(default_factory=dict)
    plans: list[list[list[Chunk]]] = field(default_factory=list)  # by group and lane
    states: dict[int, dict[Chunk, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._replicas = {(m.trial, m.fold): m.spec.members_per_fold for m in self.members}
        self._active = {m.place: m for m in self.members}
        # (trial, fold) to epoch to replica.
        self._waiting: dict[tuple[int, int], dict[int, dict[int, MemberEpoch]]] = {}
        self._reported: dict[tuple[int, int], int] = {}  # last epoch passed on, by (trial, fold)
        self._ended: dict[tuple[int, int, int], int] = {}  # last epoch by member
        self._epochs = dict.fromkeys(self._active, 0)  # by member, the furthest so far
        self._saved_at = time.monotonic()

    def epoch_ended(self, metrics: list[MemberEpoch], active: list[Member]) -> None:
        going_on = {member.place for member in active}
        for row in metrics:
            trial, fold, replica = row.member.place
            self._epochs[row.member.place] = max(row.epoch, self._epochs[row.member.place])
            # Epochs are repeated after an older checkpoint, and by the halves of a chunk.
            if row.epoch > self._reported.get((trial, fold), 0):
                waiting = self._waiting.setdefault((trial, fold), {})
                waiting.setdefault(row.epoch, {})[replica] = row
            if row.member.place not in going_on:
                self._ended[row.member.place] = row.epoch
                self._active.pop(row.member.place, None)
        self._tell_progress()
        complete: list[MemberEpoch] = []
        for owner in dict.fromkeys((row.member.trial, row.member.fold) for row in metrics):
            complete += self._complete(owner)
        if complete:
            self.monitor.epoch_ended(complete, list(self._active.values()))

    def _tell_progress(self) -> None:
        """A member that has stopped counts as finished with all epochs."""
        work = sum(self.thinned.get(member.trial, 1.0) for member in self.members)
        ahead = sum(
            self.thinned.get(member.trial, 1.0) * (1 - self._epochs[place] / member.spec.max_epochs)
            for place, member in self._active.items()
        )
        share = ahead / work
        whole = [self._epochs[place] for place in self._active if place[0] not in self.thinned]
        slowest = min(whole, default=None)
        self.monitor.progressed(
            1 - share, max(self._epochs.values()) if slowest is None else slowest
        )

    def _complete(self, owner: tuple[int, int]) -> list[MemberEpoch]:
        """Remove and return the epochs of a fold that all of its members have reported."""
        waiting, complete = self._waiting.get(owner, {}), []
        for epoch in sorted(waiting):
            expected = {
                replica
                for replica in range(self._replicas[owner])
                if self._ended.get((*owner, replica), epoch) >= epoch
            }
            if waiting[epoch].keys() >= expected:
                rows = waiting.pop(epoch)
                self._reported[owner] = epoch
                complete += [rows[replica] for replica in sorted(rows)]
        return complete

    def should_stop(self) -> bool:
        return self.monitor.should_stop()

    def checkpoint(self, group: int, chunk: Chunk, state: bytes) -> None:
        self.states.setdefault(group, {})[chunk] = state
        # Each lane returns one in turn.
        if time.monotonic() - self._saved_at > CHECKPOINT_INTERVAL / 2:
            self.monitor.checkpoint(self.save)
            self._saved_at = time.monotonic()

    def split(self, group: int, chunk: Chunk, halves: list[Chunk]) -> None:
        """Replace a chunk that was too large for the memory by its halves."""
        self.states.get(group, {}).pop(chunk, None)
        for lane in self.plans[group]:
            if chunk in lane:
                place = lane.index(chunk)
                lane[place : place + 1] = halves

    def save(self) -> bytes:
        """The whole state as bytes."""
        states = {
            f"{group}/{first}/{end}": torch.from_numpy(np.frombuffer(state, np.uint8).copy())
            for group, chunks in self.states.items()
            for (first, end), state in chunks.items()
        }
        waiting = [
            row
            for epochs in self._waiting.values()
            for replicas in epochs.values()
            for row in replicas.values()
        ]
        return pack(
            states,
            {
                "plans": self.plans,
                "told": [[*owner, epoch] for owner, epoch in self._reported.items()],
                "epochs": [[*place, epoch] for place, epoch in self._epochs.items()],
                "ended": [[*place, epoch] for place, epoch in self._ended.items()],
                "waiting": [{**vars(row), "member": row.member.place} for row in waiting],
            },
        )

    def restore(self, data: bytes) -> bool:
        """Resume from a checkpoint; False if its format differs."""
        unpacked = unpack(data)
        if unpacked is None:
            return False
        tensors, state = unpacked
        for name, tensor in tensors.items():
            group, first, end = map(int, name.split("/"))
            self.states.setdefault(group, {})[first, end] = tensor.numpy().tobytes()
        self.plans = [
            [[(first, end) for first, end in lane] for lane in plan] for plan in state["plans"]
        ]
        members = dict(self._active)
        for trial, fold, epoch in state["told"]:
            self._reported[trial, fold] = epoch
        for trial, fold, replica, epoch in state["epochs"]:
            self._epochs[trial, fold, replica] = epoch
        for trial, fold, replica, epoch in state["ended"]:
            self._ended[trial, fold, replica] = epoch
            self._active.pop((trial, fold, replica), None)
        for saved in state["waiting"]:
            trial, fold, replica = saved["member"]
            member = members[trial, fold, replica]
            row = MemberEpoch(**{**saved, "fold": fold, "member": member})
            epochs = self._waiting.setdefault((trial, fold), {})
            epochs.setdefault(row.epoch, {})[replica] = row
        return True


class _ChunkMonitor(Monitor):
    """Passes one chunk's reports to the desk."""

    def __init__(self, desk: Desk, group: int, chunk: Chunk) -> None:
        self._desk = desk
        self._group = group
        self._chunk = chunk

    def epoch_ended(self, metrics: list[MemberEpoch], active: Sequence[Member]) -> None:
        self._desk.epoch_ended(metrics, list(active))

    def should_stop(self) -> bool:
        return self._desk.should_stop()

    def checkpoint(self, make: Callable[[], bytes]) -> None:
        self._desk.checkpoint(self._group, self._chunk, make())


def _train_chunks(
    members: list[Member],
    inputs: Inputs,
    group: int,
    chunks: Sequence[Chunk],
    states: dict[int, dict[Chunk, bytes]],
    desk: Desk,
) -> None:
    """Train a group's chunks one after another, halving those that do not fit in memory."""
    ahead = list(chunks)
    while ahead:
        chunk = first, end = ahead.pop(0)
        state = states.get(group, {}).get(chunk)
        monitor = _ChunkMonitor(desk, group, chunk)
        try:
            last = _train_chunk(members[first:end], inputs, state, monitor)
        except (MemoryError, RuntimeError) as error:
            if end - first == 1 or not is_out_of_memory(error):
                raise
            middle = (first + end) // 2
            halves = [(first, middle), (middle, end)]
            desk.split(group, chunk, halves)
            ahead = halves + ahead
        else:
            desk.checkpoint(group, chunk, last)


def _train_chunk(
    members: Sequence[Member], inputs: Inputs, state: bytes | None, monitor: Monitor
) -> bytes:
    """Train a chunk and return its last checkpoint. Its memory is freed in any case."""
    trainer = _runner(members, inputs)
    if state is not None:
        trainer.restore(state)
    trainer.train(monitor)
    return trainer.save()


def _runner(members: Sequence[Member], inputs: Inputs) -> Trainer | Fitter:
    is_fitted = members[0].spec.architecture.is_fitted
    return Fitter(members, inputs) if is_fitted else Trainer(members, inputs)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: torch has an exception for CUDA, a RuntimeError for the CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        "not enough memory" in str(error) or "can't allocate memory" in str(error)
    )


def _training_rows(folds: Sequence[FoldRows]) -> int:
    return sum(len(fold.known) for fold in folds)


def _plan(members: list[Member], inputs: Inputs, cores: int) -> list[list[Chunk]]:
    """Chunks of about equal size, by lane."""
    spec, shape = members[0].spec, inputs.shape
    each = member_bytes(spec, layer_widths(spec.architecture, shape.inputs, shape.outputs))
    if inputs.device.type == "cuda":
        lanes, room = 1, DEVICE_SHARE * torch.cuda.mem_get_info(inputs.device)[0]
    else:
        # Forking is only safe on Linux.
        lanes = min(cores, len(members)) if sys.platform == "linux" else 1
        room = CHUNK_BYTES
    largest = max(1, int(room // each))
    return [
        [(start + a, start + b) for a, b in _shares(end - start, -(-(end - start) // largest))]
        for start, end in _shares(len(members), lanes)
    ]


def _shares(count: int, parts: int) -> list[Chunk]:
    """0 … count in consecutive parts of about equal size."""
    bounds = [count * part // parts for part in range(parts + 1)]
    return list(pairwise(bounds))


def _add_untrained(
    members: list[Member], inputs: Inputs, plan: list[list[Chunk]], states: dict[Chunk, bytes]
) -> None:
    """The initial weights of chunks that have not begun."""
    for first, end in (chunk for lane in plan for chunk in lane):
        if (first, end) not in states:
            states[first, end] = _runner(members[first:end], inputs).save()


def _results(
    members: list[Member], inputs: Inputs, states: dict[Chunk, bytes]
) -> dict[int, TrainedPopulation]:
    """Each trial's population, assembled from the chunks that its members trained in."""
    best: dict[str, list[torch.Tensor]] = {}
    courses: list[Course] = []
    for chunk in sorted(states):
        tensors, state = unpack(states[chunk]) or ({}, {"courses": []})
        courses += [Course.from_dict(course) for course in state["courses"]]
        for name, tensor in tensors.items():
            if name.startswith("best/"):  # a stopped chunk has other tensors too
                best.setdefault(name.removeprefix("best/"), []).append(tensor)
    for member, course in zip(members, courses, strict=True):
        if course.stopped_by == "max_epochs" and course.epochs < member.spec.max_epochs:
            course.stopped_by = "keep_best"
    stacked = {name: torch.cat(parts) for name, parts in best.items()}
    trained = {}
    for trial in dict.fromkeys(member.trial for member in members):
        places = [place for place, member in enumerate(members) if member.trial == trial]
        network = build_network([members[place] for place in places], inputs.shape)
        network.to(inputs.dtype)
        network.load_state_dict({name: value[places] for name, value in stacked.items()})
        trained[trial] = TrainedPopulation(
            network,
            inputs.encoder,
            inputs.target,
            inputs.statistics,
            [courses[place] for place in places],
            inputs.extras,
        )
    return trained
