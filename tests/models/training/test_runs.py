"""Many specs at once: grouped by shape, in chunks, over lanes; each as it would be alone."""

from __future__ import annotations

import dataclasses
import math
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import pytest
import torch
from houses import Case, house_frame, lay, trainer_of
from polling import wait_until

from models.data.thinning import thin
from models.members import Member, members_of, population_key
from models.spec import TrainingSpec
from models.training.book import Book
from models.training.checkpoint import unpack
from models.training.engine import TrainedPopulation, Trainer
from models.training.inputs import Inputs
from models.training.progress import Course, Interrupted, MemberEpoch, Monitor
from models.training.runs import _plan, train_many

# A table of 40 rows makes three folds of about 21 rows to train on, and an epoch of three blocks.
BLOCK_ROWS = 8
# Holds two members or three of the small networks below.
CHUNK_BYTES = 10_000
WIDE = {"type": "mlp", "hidden_sizes": [6]}
DEEP = {"type": "mlp", "hidden_sizes": [4, 3], "activation": "relu", "normalization": "batch"}
LINEAR = {"type": "linear"}
BASE: dict[str, Any] = {
    "architecture": WIDE,
    "k_folds": 3,
    "batch_size": 8,
    "max_epochs": 5,
    "dropout": 0.2,
    "early_stopping": {"patience": 1, "fraction": 0.2},
    "optimizer": {"learning_rate": 0.1},
}
# Adam would blow up the rounding errors that are all the gradient of a bias before a batch norm.
SGD = {"name": "sgd", "learning_rate": 0.1}
# Three shapes, two of them shared and mixed; a fold's members stop at epochs of their own.
CHANGES: list[dict[str, Any]] = [
    {},
    {"architecture": DEEP, "members_per_fold": 2, "optimizer": SGD},
    {"dropout": 0.4, "optimizer": {"learning_rate": 0.03}},
    {"architecture": LINEAR},
    {"architecture": DEEP, "members_per_fold": 2, "optimizer": SGD, "weight_decay": 0.3},
]
TWO_GROUPS = CHANGES[:3]

Place = tuple[int, int, int]  # trial, fold, replica


@pytest.fixture(scope="module", autouse=True)
def _small_blocks() -> Iterator[None]:
    """And no checkpoint but that of an interruption, however long a test takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.training.engine.BLOCK_ROWS", BLOCK_ROWS)
        save_every(patch, math.inf)
        yield


def save_every(patch: pytest.MonkeyPatch, seconds: float) -> None:
    for module in ("engine", "book"):
        patch.setattr(f"models.training.{module}.CHECKPOINT_INTERVAL", seconds)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return lay(tmp_path_factory.mktemp("runs"), house_frame(40), **BASE)


def specs_of(case: Case, changes: Iterable[dict[str, Any]] = CHANGES) -> list[TrainingSpec]:
    return [TrainingSpec.model_validate(case.spec.model_dump() | change) for change in changes]


class Recorder(Monitor):
    """Keeps what it is told; `stop` decides when it asks the run to stop."""

    def __init__(self, stop: Callable[[Recorder], bool] = lambda _: False) -> None:
        self.calls: list[list[MemberEpoch]] = []
        self.active: list[set[Place]] = []  # by call
        self.saved: list[bytes] = []
        self.calls_before: list[int] = []  # by checkpoint
        self.asked = 0
        self.fractions: list[float] = []
        self._stop = stop

    @property
    def rows(self) -> list[MemberEpoch]:
        return [row for call in self.calls for row in call]

    def epoch_ended(self, metrics: list[MemberEpoch], active: Sequence[Member]) -> None:
        self.calls.append(metrics)
        self.active.append({member.place for member in active})

    def progressed(self, fraction: float, epoch: int) -> None:  # noqa: ARG002
        self.fractions.append(fraction)

    def should_stop(self) -> bool:
        self.asked += 1
        return self._stop(self)

    def checkpoint(self, make: Callable[[], bytes]) -> None:
        self.saved.append(make())
        self.calls_before.append(len(self.calls))


def start(
    case: Case,
    specs: Sequence[TrainingSpec],
    monitor: Monitor | None = None,
    *,
    cores: int = 1,
    dtype: torch.dtype = torch.float32,
    checkpoints: Iterable[bytes] = (),
) -> list[TrainedPopulation]:
    return train_many(
        specs,
        case.design,
        case.folds,
        device=torch.device("cpu"),
        monitor=monitor or Monitor(),
        cores=cores,
        dtype=dtype,
        checkpoints=checkpoints,
    )


# Comparisons.


def assert_alike(
    found: Sequence[TrainedPopulation], expected: Sequence[TrainedPopulation], tolerance: float
) -> None:
    """Weights, courses, and what the folds learnt of the table; to the last bit with 0."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert type(one.network) is type(other.network)
        weights = one.network.state_dict()
        assert weights.keys() == other.network.state_dict().keys()
        for name, weight in other.network.state_dict().items():
            torch.testing.assert_close(weights[name], weight, rtol=tolerance, atol=tolerance)
        for learnt in ("encoder", "target"):
            state = getattr(one, learnt).state_dict()
            for name, value in getattr(other, learnt).state_dict().items():
                assert torch.equal(state[name], value), name
        assert_same_courses(one.courses, other.courses, tolerance)


def assert_same_courses(
    found: Sequence[Course], expected: Sequence[Course], tolerance: float
) -> None:
    for one, other in zip(found, expected, strict=True):
        for name, value in asdict(other).items():
            assert asdict(one)[name] == near(value, max(tolerance, least(name))), name


def least(name: str) -> float:
    """The tolerance that a field needs: sums over a layer are not in one order, whatever the
    population."""
    return 1e-9 if name in ("layers", "last_layers") else 0.0


def near(value: Any, tolerance: float) -> Any:
    """Something that equals values whose numbers differ by a relative tolerance."""
    if isinstance(value, float):
        return pytest.approx(value, rel=tolerance, abs=0 if tolerance == 0 else 1e-12)
    if isinstance(value, list):
        return [near(part, tolerance) for part in value]
    if isinstance(value, dict):
        return {name: near(part, tolerance) for name, part in value.items()}
    return value


def assert_same_rows(
    found: Sequence[MemberEpoch], expected: Sequence[MemberEpoch], tolerance: float = 0
) -> None:
    """The same figures of the same members and epochs, in whatever order the folds came."""

    def key(row: MemberEpoch) -> tuple[Place, int]:
        return (row.member.place, row.epoch)

    for one, other in zip(sorted(found, key=key), sorted(expected, key=key), strict=True):
        assert key(one) == key(other)
        for name, value in vars(other).items():
            assert getattr(one, name) == near(value, max(tolerance, least(name))), name


def assert_told_once(
    calls: Sequence[Sequence[MemberEpoch]],
    specs: Sequence[TrainingSpec],
    trained: Sequence[TrainedPopulation],
) -> None:
    """Each epoch of a trial's fold in one call, with all members that trained in it; a fold's
    epochs in their order."""
    told: dict[tuple[int, int], list[tuple[int, list[int]]]] = defaultdict(list)
    for call in calls:
        replicas: dict[tuple[int, int, int], list[int]] = defaultdict(list)
        for row in call:
            assert row.member.spec == specs[row.member.trial]
            replicas[row.member.trial, row.member.fold, row.epoch].append(row.member.replica)
        for (trial, fold, epoch), members in replicas.items():
            told[trial, fold].append((epoch, sorted(members)))
    for trial, spec in enumerate(specs):
        count = spec.members_per_fold
        for fold in range(spec.k_folds):
            ends = [c.epochs for c in trained[trial].courses[fold * count :][:count]]
            assert told.pop((trial, fold)) == [
                (epoch, [replica for replica in range(count) if ends[replica] >= epoch])
                for epoch in range(1, max(ends) + 1)
            ]
    assert not told


def assert_stops_apart(trained: Sequence[TrainedPopulation], replicas: int = 2) -> None:
    """The members of some fold stop at different epochs: without it a test would show less."""
    assert any(
        len({course.epochs for course in population.courses[first : first + replicas]}) > 1
        for population in trained
        if len(population.courses) > BASE["k_folds"]
        for first in range(0, len(population.courses), replicas)
    )


# As each would be alone.


@dataclass
class Finished:
    """A run that nothing interrupted."""

    specs: list[TrainingSpec]
    trained: list[TrainedPopulation]
    rows: list[MemberEpoch]


@pytest.fixture(scope="module")
def alone(case: Case) -> Finished:
    """Each spec trained by itself, in float64 and without a thought of chunks."""
    found = Finished(specs_of(case), [], [])
    for trial, spec in enumerate(found.specs):
        recorder = Recorder()
        found.trained.append(trainer_of(case, torch.float64, [spec]).train(recorder))
        for row in recorder.rows:
            member = dataclasses.replace(row.member, trial=trial)
            found.rows.append(dataclasses.replace(row, member=member))
    return found


@pytest.mark.parametrize(
    ("cores", "chunk_bytes"), [(1, None), (2, None), (3, None), (1, 1), (2, CHUNK_BYTES)]
)
def test_many_specs_fare_as_each_would_alone(
    case: Case,
    alone: Finished,
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    chunk_bytes: int | None,
) -> None:
    if chunk_bytes is not None:
        monkeypatch.setattr("models.training.runs.CHUNK_BYTES", chunk_bytes)
    assert len({population_key(spec) for spec in alone.specs}) == 3
    assert_stops_apart(alone.trained)
    monitor = Recorder()
    together = start(case, alone.specs, monitor, cores=cores, dtype=torch.float64)
    assert_alike(together, alone.trained, 1e-9)
    assert_same_rows(monitor.rows, alone.rows, 1e-9)
    assert_told_once(monitor.calls, alone.specs, together)


def test_a_trial_fares_among_others_as_it_would_alone_in_float32(case: Case) -> None:
    changes = [
        {
            "dropout": 0.05 * trial,
            "optimizer": {"learning_rate": 0.002 * (trial + 1)},
            "max_epochs": 1,
        }
        for trial in range(16)
    ]
    specs = specs_of(case, changes)
    together = start(case, specs)
    for trial in (0, 7, 15):
        assert_alike([together[trial]], start(case, [specs[trial]]), 1e-4)


@pytest.mark.parametrize("cores", [1, 2])
def test_a_seed_decides_every_bit(case: Case, cores: int) -> None:
    specs = specs_of(case, TWO_GROUPS)
    first, again = Recorder(), Recorder()
    found = start(case, specs, first, cores=cores)
    assert_alike(found, start(case, specs, again, cores=cores), 0)
    assert_same_rows(first.rows, again.rows)
    other = start(case, [spec.model_copy(update={"seed": 8}) for spec in specs], cores=cores)
    for one, another in zip(found, other, strict=True):
        weight = one.network.linear_layers()[0].weight
        assert not torch.equal(weight, another.network.linear_layers()[0].weight)


@pytest.mark.parametrize("cores", [1, 2])
def test_members_that_stopped_early_are_no_longer_among_those_that_go_on(
    case: Case, cores: int
) -> None:
    specs, monitor = specs_of(case), Recorder()
    trained = start(case, specs, monitor, cores=cores)
    everyone = {
        (trial, fold, replica)
        for trial, spec in enumerate(specs)
        for fold in range(spec.k_folds)
        for replica in range(spec.members_per_fold)
    }
    stopped = {
        (trial, *divmod(place, specs[trial].members_per_fold))
        for trial, population in enumerate(trained)
        for place, course in enumerate(population.courses)
        if course.stopped_by == "early_stopping"
    }
    assert stopped < everyone
    assert monitor.active[-1] == everyone - stopped
    gone: set[Place] = set()
    for call, active in zip(monitor.calls, monitor.active, strict=True):
        assert active >= everyone - stopped
        gone |= {
            row.member.place
            for row in call
            if row.member.place in stopped and row.epoch == course_of(trained, row.member).epochs
        }
        assert not active & gone
    assert gone == stopped


def course_of(trained: Sequence[TrainedPopulation], member: Member) -> Course:
    place = member.fold * member.spec.members_per_fold + member.replica
    return trained[member.trial].courses[place]


# Chunks.


@dataclass
class Chunks:
    """What the trainers of a run were given: members of each, and how many were held by then."""

    sizes: list[int]
    held: list[int]


def replace_trainer(
    monkeypatch: pytest.MonkeyPatch,
    before: Callable[[int], None] = lambda _: None,
    while_training: Callable[[int], None] = lambda _: None,
) -> Chunks:
    """Trainers that call these functions with the number of their members."""
    chunks, living = Chunks([], []), weakref.WeakSet[Trainer]()

    class Watched(Trainer):
        def __init__(self, members: Sequence[Member], inputs: Inputs) -> None:
            chunks.sizes.append(len(members))
            chunks.held.append(len(living))
            before(len(members))
            super().__init__(members, inputs)
            living.add(self)

        def train(self, monitor: Monitor, until: int | None = None) -> TrainedPopulation:
            while_training(len(self.members))
            return super().train(monitor, until)

    monkeypatch.setattr("models.training.runs.Trainer", Watched)
    return chunks


def allocate(members: int) -> None:
    """What torch says on the CPU when more than four members train together."""
    if members > 4:
        torch.empty(1 << 60)


def overfill(members: int) -> None:
    if members > 4:
        raise MemoryError


def overfill_device(members: int) -> None:
    if members > 4:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def nothing(_members: int) -> None:
    pass


def test_chunks_are_of_about_equal_size(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """And only one of them is held at a time."""
    monkeypatch.setattr("models.training.runs.member_bytes", lambda _spec, _inputs: 100)
    monkeypatch.setattr("models.training.runs.CHUNK_BYTES", 500)
    chunks = replace_trainer(monkeypatch)
    start(case, specs_of(case, [{"members_per_fold": 4}]))  # 12 members
    assert chunks.sizes == [4, 4, 4]
    assert chunks.held == [0, 0, 0]


def test_on_a_gpu_one_lane_takes_a_share_of_the_memory_that_nothing_uses(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What torch holds since an earlier group counts as free. A member takes its own bytes."""
    members = members_of(specs_of(case, [{}, {}, {}, {}]))
    inputs = trainer_of(case).inputs
    inputs.device = torch.device("cuda")
    monkeypatch.setattr("models.training.runs.member_bytes", lambda *_: 100)
    monkeypatch.setattr("models.training.runs.DEVICE_SHARE", 0.5)
    for name, size in (("mem_get_info", (500, 9_999)), ("memory_reserved", 800)):
        monkeypatch.setattr(torch.cuda, name, lambda _, size=size: size)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 300)
    # 12 members of 3 folds × 4 trials, five of them in (500 + 800 − 300) / 2 bytes.
    assert _plan(members, inputs, cores=8) == [[(0, 4), (4, 8), (8, 12)]]


@pytest.mark.parametrize(
    ("before", "while_training", "cores"),
    [
        (allocate, nothing, 1),
        (overfill, nothing, 1),
        (nothing, allocate, 1),
        (nothing, overfill_device, 1),
        (allocate, nothing, 2),
    ],
    ids=["building", "MemoryError", "training", "on a GPU", "lanes"],
)
def test_a_chunk_is_halved_until_the_memory_holds_it(
    case: Case,
    monkeypatch: pytest.MonkeyPatch,
    before: Callable[[int], None],
    while_training: Callable[[int], None],
    cores: int,
) -> None:
    changes: list[dict[str, Any]] = [{"members_per_fold": 4}, {"architecture": LINEAR}]
    specs, monitor = specs_of(case, changes), Recorder()
    expected = start(case, specs, dtype=torch.float64)
    chunks = replace_trainer(monkeypatch, before, while_training)
    found = start(case, specs, monitor, cores=cores, dtype=torch.float64)
    assert_alike(found, expected, 1e-9)
    assert_told_once(monitor.calls, specs, found)
    if cores == 1:
        assert chunks.sizes == [12, 6, 3, 3, 6, 3, 3, 3]
        assert chunks.held == [0] * 8  # one that did not fit makes room for its halves


@pytest.mark.parametrize("cores", [1, 2])
def test_a_member_that_the_memory_does_not_hold_ends_the_run(
    case: Case, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    chunks = replace_trainer(monkeypatch, lambda _: allocate(5))
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        start(case, specs_of(case, TWO_GROUPS), cores=cores)
    if cores == 1:
        assert chunks.sizes == [6, 3, 1]


@pytest.mark.parametrize("cores", [1, 2])
def test_any_other_error_ends_the_run_at_once(
    case: Case, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    def fail(_members: int) -> NoReturn:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    chunks, monitor = replace_trainer(monkeypatch, while_training=fail), Recorder()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        start(case, specs_of(case, TWO_GROUPS), monitor, cores=cores)
    assert monitor.calls == []
    if cores == 1:
        assert chunks.sizes == [6]


# Interruptions.


@dataclass
class Undisturbed(Finished):
    told: Recorder


def undisturbed(case: Case, cores: int = 1) -> Undisturbed:
    specs, told = specs_of(case, TWO_GROUPS), Recorder()
    trained = start(case, specs, told, cores=cores)
    return Undisturbed(specs, trained, told.rows, told)


@pytest.fixture(scope="module")
def whole(case: Case) -> Undisturbed:
    return undisturbed(case)


@pytest.fixture(scope="module")
def in_lanes(case: Case) -> Undisturbed:
    return undisturbed(case, cores=2)


@pytest.fixture(scope="module")
def in_chunks(case: Case) -> Undisturbed:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.training.runs.CHUNK_BYTES", CHUNK_BYTES)
        return undisturbed(case)


def interrupt(case: Case, stop: Callable[[Recorder], bool], cores: int = 1) -> Recorder:
    """What a run tells until it is stopped."""
    first = Recorder(stop)
    with pytest.raises(Interrupted):
        start(case, specs_of(case, TWO_GROUPS), first, cores=cores)
    return first


def after(questions: int) -> Callable[[Recorder], bool]:
    """Stop at this question."""
    return lambda monitor: monitor.asked >= questions


def assert_goes_on(
    case: Case,
    expected: Undisturbed,
    before: Sequence[Sequence[MemberEpoch]],
    *checkpoints: bytes,
    cores: int = 1,
) -> None:
    """With these checkpoints the rest of a run is as if nothing had been."""
    rest = Recorder()
    resumed = start(case, expected.specs, rest, cores=cores, checkpoints=checkpoints)
    assert_alike(resumed, expected.trained, 0)
    calls = [*before, *rest.calls]
    assert_same_rows([row for call in calls for row in call], expected.rows)
    assert_told_once(calls, expected.specs, expected.trained)
    if rest.active:
        assert rest.active[-1] == expected.told.active[-1]


class Relay(Monitor):
    """Stands between a chunk and its monitor."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor

    def epoch_ended(self, metrics: list[MemberEpoch], active: Sequence[Member]) -> None:
        self.monitor.epoch_ended(metrics, active)

    def should_stop(self) -> bool:
        return self.monitor.should_stop()

    def checkpoint(self, make: Callable[[], bytes]) -> None:
        self.monitor.checkpoint(make)


def relay(
    monkeypatch: pytest.MonkeyPatch, between: Callable[[list[Member], Monitor], Monitor]
) -> None:
    """Let trainers tell what this makes of their members and their monitor."""

    class Relayed(Trainer):
        def train(self, monitor: Monitor, until: int | None = None) -> TrainedPopulation:
            return super().train(between(self.members, monitor), until)

    monkeypatch.setattr("models.training.runs.Trainer", Relayed)


def test_a_run_interrupted_once_goes_on(
    case: Case, in_chunks: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its first block, within an epoch, between epochs, and in later chunks."""
    monkeypatch.setattr("models.training.runs.CHUNK_BYTES", CHUNK_BYTES)
    for questions in (1, 2, 4, 14, 27):
        first = interrupt(case, after(questions))
        assert_goes_on(case, in_chunks, first.calls, *first.saved)


def test_a_run_interrupted_again_and_again_goes_on(
    case: Case, in_chunks: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every fourth block, of which an epoch has three."""
    monkeypatch.setattr("models.training.runs.CHUNK_BYTES", CHUNK_BYTES)
    attempts: list[Recorder] = []
    trained = None
    while trained is None:
        checkpoints = [data for attempt in reversed(attempts) for data in attempt.saved]
        attempts.append(Recorder(after(5)))
        try:
            trained = start(case, in_chunks.specs, attempts[-1], checkpoints=checkpoints)
        except Interrupted:
            assert len(attempts) <= in_chunks.told.asked
    assert len(attempts) >= in_chunks.told.asked / 4
    assert_alike(trained, in_chunks.trained, 0)
    calls = [call for attempt in attempts for call in attempt.calls]
    assert_same_rows([row for call in calls for row in call], in_chunks.rows)
    assert_told_once(calls, in_chunks.specs, in_chunks.trained)


def test_a_run_interrupted_between_its_groups_goes_on(case: Case, whole: Undisturbed) -> None:
    """All epochs of the first group were told of, none of the second, which is trial 1."""
    group = [row for row in whole.rows if row.member.trial != 1]
    first = interrupt(case, lambda monitor: len(monitor.rows) == len(group))
    assert_same_rows(first.rows, group)
    assert_goes_on(case, whole, first.calls, *first.saved)


def test_thinned_folds_train_after_the_others_and_go_on(case: Case) -> None:
    """Each as it would by itself, interrupted anywhere; the epochs shown are of the others."""
    specs = specs_of(case, TWO_GROUPS)
    thinned = thin(case.spec, case.design, case.folds)[:2]

    def run(monitor: Recorder, checkpoints: Iterable[bytes] = ()) -> list[TrainedPopulation]:
        return train_many(
            specs,
            case.design,
            case.folds,
            device=torch.device("cpu"),
            monitor=monitor,
            checkpoints=checkpoints,
            thinned=thinned,
        )

    whole = Recorder()
    expected = run(whole)
    assert len(expected) == 3 * len(specs)
    assert_alike(expected[:3], start(case, specs), 0)
    for place, folds in enumerate(thinned):
        own = expected[3 * (place + 1) :][:3]
        alone = train_many(specs, case.design, folds, device=torch.device("cpu"), monitor=Monitor())
        assert_alike(own, alone, 0)
    assert whole.fractions == sorted(whole.fractions)
    assert whole.fractions[-1] == 1
    for questions in range(2, whole.asked, whole.asked // 5):
        first = Recorder(after(questions))
        with pytest.raises(Interrupted):
            run(first)
        assert_alike(run(Recorder(), first.saved), expected, 0)


# Blocks that each of two lanes trains of a group, None for all of them.
LaneBlocks = tuple[int | None, int | None]
MOMENTS: dict[str, dict[str, LaneBlocks]] = {
    "apart": {"wide": (0, 8)},
    "one has ended": {"wide": (2, None)},
    "between the groups": {"wide": (None, None), "deep": (0, 0)},
    "the first ahead in the second group": {"wide": (None, None), "deep": (10, 1)},
    "one has ended in the second group": {"wide": (None, None), "deep": (None, 5)},
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_lanes_that_are_interrupted_go_on(
    case: Case, in_lanes: Undisturbed, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Each gives way after blocks of its own, and not before it is asked to."""

    class Held(Relay):
        def __init__(self, monitor: Monitor, blocks: int | None) -> None:
            super().__init__(monitor)
            self.left = blocks

        def should_stop(self) -> bool:
            if self.left is None:
                return False
            self.left -= 1
            return self.left < 0 and wait_until(self.monitor.should_stop)

    def hold(members: list[Member], monitor: Monitor) -> Monitor:
        """The first lane has fold 0, the second begins with fold 1."""
        group = "deep" if members[0].trial == 1 else "wide"
        return Held(monitor, MOMENTS[moment][group][members[0].fold])

    with monkeypatch.context() as patch:
        relay(patch, hold)
        first = interrupt(case, lambda _: True, cores=2)
    _, state = unpack(first.saved[0]) or pytest.fail("its own checkpoint")
    one, other = MOMENTS[moment].get("deep", (0, 0))
    assert bool(state["waiting"]) == (one != other), "a replica of fold 1 waits for the other"
    assert_goes_on(case, in_lanes, first.calls, *first.saved, cores=2)


@pytest.mark.parametrize("cores", [1, 2])
def test_a_run_that_is_killed_goes_on_from_any_checkpoint(
    case: Case,
    whole: Undisturbed,
    in_lanes: Undisturbed,
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
) -> None:
    """From what was offered while it trained; what was told of by then is not told again."""
    expected = whole if cores == 1 else in_lanes
    with monkeypatch.context() as patch:
        save_every(patch, -1.0)
        first = undisturbed(case, cores).told
    assert len(first.saved) > 20
    for place in range(1, len(first.saved), len(first.saved) // 3):
        before = first.calls[: first.calls_before[place]]
        assert_goes_on(case, expected, before, first.saved[place], cores=cores)


def test_a_run_goes_on_from_the_newest_checkpoint_of_this_format(
    case: Case, whole: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = (interrupt(case, after(questions)) for questions in (5, 12))
    with monkeypatch.context() as patch:
        patch.setattr("models.training.checkpoint.FORMAT", 0)
        other = interrupt(case, after(14))
    assert len(older.calls) < len(newer.calls) <= len(other.calls)
    (o,), (n,), (x,) = older.saved, newer.saved, other.saved
    assert_goes_on(case, whole, newer.calls, x, n, o)
    assert_goes_on(case, whole, older.calls, x, o, n)
    assert_goes_on(case, whole, [], x)


def test_epochs_told_of_before_a_checkpoint_are_not_told_again(case: Case) -> None:
    """The chunks' own checkpoints were older: they train and tell some epochs again."""
    members = members_of(specs_of(case, [{"members_per_fold": 2}]))
    ahead, behind = (member for member in members if member.fold == 0)

    def tell(book: Book, member: Member, *epochs: int) -> None:
        for epoch in epochs:
            row = MemberEpoch(
                member=member,
                fold=member.fold,
                epoch=epoch,
                train_loss=0.5,
                watched_loss=None,
                validation_loss=math.inf,
                learning_rate=0.1,
                gradient_norm=math.nan,
            )
            book.epoch_ended([row], [member])

    def told(monitor: Recorder) -> list[tuple[int, int]]:
        return [(row.epoch, row.member.replica) for row in monitor.rows]

    before = Recorder()
    book = Book(members, before)
    tell(book, ahead, 1, 2, 3)
    tell(book, behind, 1, 2)
    assert told(before) == [(1, 0), (1, 1), (2, 0), (2, 1)]
    later = Recorder()
    again = Book(members, later)
    assert again.restore(book.save())
    tell(again, ahead, 2)
    tell(again, behind, 1, 2, 3)
    tell(again, ahead, 3, 4)
    tell(again, behind, 4)
    assert told(later) == [(3, 0), (3, 1), (4, 0), (4, 1)]
    assert later.rows[0].validation_loss == math.inf
    assert math.isnan(later.rows[0].gradient_norm)


@pytest.mark.parametrize("cores", [1, 2])
def test_a_chunk_that_outgrows_the_memory_later_tells_nothing_twice(
    case: Case, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    """Its halves begin anew, and what it saved is of no use."""
    save_every(monkeypatch, -1.0)
    specs = specs_of(case, [{"members_per_fold": 4}])

    class Growing(Relay):
        def epoch_ended(self, metrics: list[MemberEpoch], active: Sequence[Member]) -> None:
            super().epoch_ended(metrics, active)
            if metrics[0].epoch == 2:
                allocate(len(metrics))

    expected = start(case, specs, dtype=torch.float64)
    relay(monkeypatch, lambda _members, monitor: Growing(monitor))
    monitor = Recorder()
    found = start(case, specs, monitor, cores=cores, dtype=torch.float64)
    assert_alike(found, expected, 1e-9)
    assert_told_once(monitor.calls, specs, found)


def test_halves_stay_halves_when_a_run_goes_on(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = replace_trainer(monkeypatch, allocate)
    expected = undisturbed(case)
    assert chunks.sizes == [6, 3, 3] * 2
    chunks.sizes.clear()
    first = interrupt(case, lambda monitor: any(row.member.fold == 2 for row in monitor.rows))
    assert chunks.sizes == [6, 3, 3]
    chunks.sizes.clear()
    assert_goes_on(case, expected, first.calls, *first.saved)
    assert chunks.sizes == [3, 3, 6, 3, 3]
