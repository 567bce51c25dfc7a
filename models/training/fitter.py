"""Runs members whose architecture is solved instead of trained in epochs, one after another."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict

import torch
from torch import Tensor

from models.members import Member
from models.networks import build_network
from models.networks.fitted import FittedNetwork, Problem
from models.networks.population import take
from models.training.checkpoint import pack, unpack
from models.training.inputs import Inputs
from models.training.progress import Course, Interrupted, MemberEpoch, Monitor, Trouble
from models.training.ragged import RaggedRows

# Rows encoded, or scored, per call.
CHUNK_ROWS = 1_024


class Fitter:
    """A run of solved members and its state, like `models.training.engine.Trainer`. Each member
    counts as one epoch, and a run stops and resumes between two of them."""

    def __init__(self, members: Sequence[Member], inputs: Inputs) -> None:
        self.members = list(members)
        self._inputs = inputs
        network = build_network(self.members, inputs.shape)
        assert isinstance(network, FittedNetwork)
        self._network = network
        self.courses = [Course() for _ in members]

    def train(self, monitor: Monitor, until: int | None = None) -> None:  # noqa: ARG002
        """Solve every member that is not solved yet; `until` is for those that have epochs.

        Raises
        ------
        Interrupted: the monitor asked to stop.
        """
        for place, member in enumerate(self.members):
            if self.courses[place].epochs > 0:
                continue
            if monitor.should_stop():
                monitor.checkpoint(self.save)
                raise Interrupted
            metrics = self._fit(place, member)
            # In this order: a run that resumes reports an epoch again rather than never.
            monitor.epoch_ended([metrics], self.members[place + 1 :])
            monitor.checkpoint(self.save)

    def _fit(self, place: int, member: Member) -> MemberEpoch:
        own, course = self._inputs.of([member.fold]), self.courses[place]
        rows = self._inputs.train_rows[member.fold]
        parts = self._parts(rows)
        weights = [own.row_weights(part) for part in parts]
        try:
            self._network.fit(
                place,
                Problem(
                    x=torch.cat([own.rows(part)[0] for part in parts]).float().cpu().numpy(),
                    y=torch.cat([own.targets(part)[0] for part in parts]).double().cpu().numpy(),
                    weights=None
                    if weights[0] is None
                    else torch.cat([w[0] for w in weights if w is not None]).double().numpy(),
                    outputs=self._inputs.shape.outputs,
                    seed=member.initial_seed % 2**32,
                ),
            )
        except ValueError as error:
            course.trouble = Trouble(1, 1, f"the solution: {error}")
        train_loss = self._score(place, own, rows)
        validation_loss = self._score(place, own, self._inputs.validation_rows[member.fold])
        metrics = MemberEpoch(
            member=member,
            fold=member.fold,
            epoch=1,
            train_loss=train_loss,
            watched_loss=None,
            validation_loss=validation_loss,
            learning_rate=0.0,
            gradient_norm=math.nan,
        )
        course.epochs = 1
        if course.trouble is None and math.isfinite(train_loss + validation_loss):
            course.note(metrics)
            course.best_epoch, course.best_loss = 1, train_loss
        else:
            course.stopped_by = "non_finite"
            course.trouble = course.trouble or Trouble(1, 1, "the solution")
        return metrics

    def _parts(self, rows: Tensor) -> list[RaggedRows]:
        chosen = RaggedRows.pad([rows], self._inputs.dtype, self._inputs.device)
        return [chosen.span(start, start + CHUNK_ROWS) for start in range(0, len(rows), CHUNK_ROWS)]

    @torch.no_grad()
    def _score(self, place: int, own: Inputs, rows: Tensor) -> float:
        """The mean loss of a member over rows of its fold."""
        alone = take(self._network, torch.tensor([place]))
        total = 0.0
        for part in self._parts(rows):
            outputs = alone.predict(own.rows(part))
            total += own.watched_loss.rows(outputs, own.targets(part)).double().sum().item()
        return total / len(rows)

    def drop(self, trials: Collection[int]) -> None:
        """Nothing: a solved member has ended."""

    def save(self) -> bytes:
        """Everything that the rest of the run depends on; for a finished run, its outcome."""
        state = self._network.state_dict()
        return pack(
            {f"best/{name}": value.cpu() for name, value in state.items()},
            {"courses": [asdict(course) for course in self.courses]},
        )

    def restore(self, data: bytes) -> bool:
        """Resume from a checkpoint of the same members and table; False if its format differs."""
        unpacked = unpack(data)
        if unpacked is None:
            return False
        tensors, state = unpacked
        self._network.load_state_dict(
            {name.removeprefix("best/"): tensor for name, tensor in tensors.items()}
        )
        self.courses = [Course.from_dict(course) for course in state["courses"]]
        return True
