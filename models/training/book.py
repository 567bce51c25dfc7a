"""The reports of a run's chunks, put together."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np
import torch

from models.members import Member
from models.spec.sweep import Halving
from models.training.checkpoint import pack, unpack
from models.training.desk import Chunk, Desk
from models.training.engine import CHECKPOINT_INTERVAL
from models.training.halving import losers
from models.training.progress import MemberEpoch, Monitor


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
    rungs: int = 0  # at which trials were judged
    dropped: set[int] = field(default_factory=set)  # trials that left then

    def __post_init__(self) -> None:
        self._replicas = {(m.trial, m.fold): m.spec.members_per_fold for m in self.members}
        self._active = {m.place: m for m in self.members}
        # (trial, fold) to epoch to replica.
        self._waiting: dict[tuple[int, int], dict[int, dict[int, MemberEpoch]]] = {}
        self._reported: dict[tuple[int, int], int] = {}  # last epoch passed on, by (trial, fold)
        self._ended: dict[tuple[int, int, int], int] = {}  # last epoch by member
        self._epochs = dict.fromkeys(self._active, 0)  # by member, the furthest so far
        self._lowest = dict.fromkeys(self._active, math.inf)  # watched loss, by member
        self._saved_at = time.monotonic()

    def epoch_ended(self, metrics: list[MemberEpoch], active: list[Member]) -> None:
        going_on = {member.place for member in active}
        for row in metrics:
            trial, fold, replica = row.member.place
            self._epochs[row.member.place] = max(row.epoch, self._epochs[row.member.place])
            watched = row.train_loss if row.watched_loss is None else row.watched_loss
            if watched < self._lowest[row.member.place]:
                self._lowest[row.member.place] = watched
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

    def halve(self, halving: Halving) -> None:
        """Drop the trials that are worst so far, of those that train in epochs."""
        lowest: dict[int, list[float]] = {}
        for member in self.members:
            if not member.spec.architecture.is_fitted and member.trial not in self.dropped:
                lowest.setdefault(member.trial, []).append(self._lowest[member.place])
        left = losers(halving, {trial: fmean(found) for trial, found in lowest.items()})
        for place in [place for place in self._active if place[0] in left]:
            self._ended[place] = self._epochs[place]
            del self._active[place]
        self.dropped |= left
        self.rungs += 1

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
                "lowest": [[*place, loss] for place, loss in self._lowest.items()],
                "rungs": self.rungs,
                "dropped": sorted(self.dropped),
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
        for trial, fold, replica, loss in state["lowest"]:
            self._lowest[trial, fold, replica] = loss
        self.rungs, self.dropped = state["rungs"], {*state["dropped"]}
        for saved in state["waiting"]:
            trial, fold, replica = saved["member"]
            member = members[trial, fold, replica]
            row = MemberEpoch(**{**saved, "fold": fold, "member": member})
            epochs = self._waiting.setdefault((trial, fold), {})
            epochs.setdefault(row.epoch, {})[replica] = row
        return True


class ChunkMonitor(Monitor):
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
