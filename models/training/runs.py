"""Trains many specs on the same folds: grouped by shape, in chunks, over the cores.

Each chunk is a `Trainer`. Its outcome is its last checkpoint.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from itertools import pairwise

import torch

from models.data.design import Design
from models.data.folds import FoldRows
from models.members import Member, members_of, population_key
from models.networks import build_network
from models.planning.estimate import layer_widths, member_bytes
from models.spec import TrainingSpec
from models.spec.sweep import Halving
from models.training.book import Book, ChunkMonitor
from models.training.checkpoint import unpack
from models.training.desk import Chunk, Desk
from models.training.earlier import EarlierNetworks
from models.training.engine import TrainedPopulation, Trainer
from models.training.extras import KnownExtras
from models.training.fitter import Fitter
from models.training.halving import rungs
from models.training.inputs import Inputs
from models.training.lanes import run_in_lanes
from models.training.progress import Course, Interrupted, Monitor

# Largest memory of a lane's members, so that their weights stay in the cache: half of a usual
# third-level cache, shared by two lanes.
CHUNK_BYTES = 16 * 1024 * 1024
# Largest share for a chunk of a GPU's memory that is free, or held by torch without being used.
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
    halving: Halving | None = None,
) -> list[TrainedPopulation]:
    """Train each spec on all folds, and return the results in order.

    The specs were resolved on one table and have the same folds. `checkpoints`: those of earlier
    runs of the same specs, newest first. The run resumes from the first with this format.
    `thinned`: the folds with fewer training rows, on which each spec trains too, after the others.
    Their results follow in the same order. `earlier`: the networks that each spec starts from.
    `halving`: of the specs that train in epochs; they are judged by their lowest watched loss so
    far, averaged over the folds.

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
    known = [KnownExtras(design, own) for own in layouts]
    starts = dict(enumerate(earlier))
    longest = max(spec.max_epochs for spec in specs)
    ahead = [] if halving is None else rungs(halving, longest)
    trained: dict[int, TrainedPopulation] = {}
    for rung in [*ahead[book.rungs :], None]:
        for number, key in enumerate(dict.fromkeys(keys)):
            group = [member for member in members if keys[member.trial] == key]
            place, _ = key
            extras = known[place].of(group[0].spec)
            own_starts = {
                member.trial: start
                for member in group
                if (start := starts.get(member.trial)) is not None
            }
            inputs = Inputs(
                group[0].spec, design, layouts[place], device, dtype, extras, own_starts
            )
            if number == len(book.plans):
                book.plans.append(_plan(group, inputs, cores))
            try:
                _train_group(group, inputs, number, book, rung, cores)
            except Interrupted:
                monitor.checkpoint(book.save)
                if not monitor.keeps_best():
                    raise
                states = book.states.setdefault(number, {})
                _add_untrained(group, inputs, book.plans[number], states)
            if rung is None:
                trained |= _results(group, inputs, book.states[number])
            del inputs  # before the next group's inputs are encoded
        if halving is not None and rung is not None and not monitor.should_stop():
            book.halve(halving)
    return [trained[trial] for trial in range(len(keys))]


def _train_group(
    group: list[Member],
    inputs: Inputs,
    number: int,
    book: Book,
    until: int | None,
    cores: int,
) -> None:
    """Train the chunks of a group in its lanes, up to an epoch or to the end."""
    works = [
        partial(_train_chunks, group, inputs, number, chunks, book.states, book.dropped, until)
        for chunks in book.plans[number]
    ]
    if len(works) == 1:
        works[0](book)
    else:
        run_in_lanes(works, book, max(1, cores // len(works)))


def _train_chunks(
    members: list[Member],
    inputs: Inputs,
    group: int,
    chunks: Sequence[Chunk],
    states: dict[int, dict[Chunk, bytes]],
    dropped: Collection[int],
    until: int | None,
    desk: Desk,
) -> None:
    """Train a group's chunks one after another, halving those that do not fit in memory; without
    the dropped trials, and up to an epoch or to the end."""
    ahead = list(chunks)
    while ahead:
        chunk = first, end = ahead.pop(0)
        state = states.get(group, {}).get(chunk)
        monitor = ChunkMonitor(desk, group, chunk)
        try:
            last = _train_chunk(members[first:end], inputs, state, dropped, until, monitor)
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
    members: Sequence[Member],
    inputs: Inputs,
    state: bytes | None,
    dropped: Collection[int],
    until: int | None,
    monitor: Monitor,
) -> bytes:
    """Train a chunk and return its last checkpoint. Its memory is freed in any case."""
    trainer = _runner(members, inputs)
    if state is not None:
        trainer.restore(state)
    trainer.drop(dropped)
    trainer.train(monitor, until)
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
        free, _ = torch.cuda.mem_get_info(inputs.device)
        held = torch.cuda.memory_reserved(inputs.device)  # in part since an earlier group
        used = torch.cuda.memory_allocated(inputs.device)
        lanes, room = 1, DEVICE_SHARE * (free + held - used)
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
