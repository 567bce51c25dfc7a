"""The size of a run before anything is read: weights, memory and time on a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from models.data.aside import seen_rows
from models.data.features import select
from models.objectives import objective_of
from models.planning import fitting
from models.spec import TrainingSpec
from models.spec.architectures import (
    Architecture,
    BoostedTreesArchitecture,
    KernelArchitecture,
    LinearArchitecture,
    MlpArchitecture,
    PerceptronArchitecture,
    Periodic,
    RealMlpArchitecture,
    ResNetArchitecture,
    RidgeArchitecture,
    TabmArchitecture,
    bins_of,
)
from models.spec.training import CURVE_HALVINGS
from models.tables.coordinates import ANGLES
from models.tables.kinds import MAX_LEVELS
from models.tables.profile import Profile

# Copies of a member's weights: weights, gradients, two moments, the best, one to spare.
WEIGHT_COPIES = 6
FLOAT_BYTES = 4
STATE_COPIES = 4  # of what solved members keep, until they are exported
# Copies of the table's cells: as read, as arrays, and what a fold's statistics take of them.
TABLE_COPIES = 5
# A process with torch imported, and what each lane adds to it.
PROCESS_BYTES = 420 * 1024 * 1024
LANE_BYTES = 60 * 1024 * 1024
# Inputs of all folds that take no more than this are encoded once, larger ones block by block.
ENCODED_BYTES = 1024 * 1024 * 1024
BLOCKS_BYTES = 256 * 1024 * 1024  # what the latter take in all lanes
# The exporter's own, and copies that exporting takes: of all members' weights (the networks, both
# graphs, their bytes, their sessions), and of the inputs of a block of rows that is checked.
EXPORTER_BYTES = 40 * 1024 * 1024
GRAPH_COPIES = 8
CHECKED_COPIES = 10
CHECKED_ROWS = 256
NUMBER_BYTES = 8

# Of the training rows, for the points of a learning curve besides the last; and copies of what is
# learned from them, until it is scored.
CURVE_SHARES = tuple(0.5**halving for halving in range(1, CURVE_HALVINGS + 1))
CURVE_COPIES = 2

# Python and the exporter, whatever the table; a core that multiplies faster does not speed it up.
OVERHEAD_SECONDS = 3.5
# Seconds on one core whose `core_rate` is REFERENCE_RATE, fitted to measured runs
# (benchmarks/estimates.py compares the two).
REFERENCE_RATE = 3.6e9  # multiplications a second
TRAINING_RATE = 55e9  # of that core in the products of a step
# How much longer a step takes on a CPU that rounds its products; measured at [256, 64].
ROUNDING = {"float32": 1.0, "tf32": 1.0, "bfloat16": 2.0, "float16": 11.0}
STEP_SECONDS = 0.3e-3  # a batch's calls, and each layer's
LAYER_SECONDS = 0.1e-3
WEIGHT_SECONDS = 0.6e-9  # the optimiser's step of one weight that the cache holds
FAR_WEIGHT_SECONDS = 5e-9  # and of one of a member that fills CACHE_BYTES
CACHE_BYTES = 16 * 1024 * 1024
SIMPLE_SECONDS = 1.5e-9  # activation of one hidden unit of one row, there and back
CURVED_SECONDS = 6e-9  # the same with an exponential in it
DROPOUT_SECONDS = 3e-9
WAVE_SECONDS = 30e-9  # one wave of a periodic embedding
ENCODING_SECONDS = 55e-9  # one input of one row: once, or in each epoch if block by block
LEARNING_SECONDS = 0.2e-6  # what a fold learns of one cell
AUTOGRAD_FACTOR = 2.0  # what a graph costs over gradients by hand
SIMPLE = ("relu", "leaky_relu", "identity")
# Reading and reviewing, for each cell of the table and for each column; and for each input of a
# row that is predicted.
CELL_SECONDS = 0.5e-6
COLUMN_SECONDS = 2.5e-3
PREDICTED_INPUT_SECONDS = 15e-9
# Cores that an evaluated row gains from: its products are small.
PREDICTING_CORES = 4
# Rows that permutation importance predicts again for each column, and in all: a table of 2,000
# columns must not take longer to explain than to train.
MOST_SHUFFLED_ROWS = 1_000
MOST_SHUFFLED = 100_000


@dataclass(frozen=True)
class Machine:
    """What trains: `cores`, and the `core_rate` of one."""

    cores: int
    core_rate: float


@dataclass(frozen=True)
class Estimate:
    """`memory_bytes` and `seconds` of a whole run."""

    memory_bytes: int
    seconds: float


def estimate(spec: TrainingSpec, profile: Profile, machine: Machine) -> Estimate:
    """Of a resolved spec.

    memory = process + table + the larger of training (inputs + members · (copies · 4 bytes ·
    weights + 12 bytes · batch · Σ widths)) and exporting. Members of a blend train one after
    another and are exported together. Seconds are those of all epochs: early stopping makes it
    less.
    """
    seen = seen_rows(spec, profile)
    trials = [_Trial(trial, profile) for trial in spec.trials()]
    lanes = min(machine.cores, max(trial.members for trial in trials))
    table = TABLE_COPIES * 8 * profile.rows * (len(spec.features.kinds) + 1)
    training = max(trial.training_bytes(seen, lanes) for trial in trials)
    shares = CURVE_SHARES if spec.learning_curve else ()
    training += len(shares) * CURVE_COPIES * sum(trial.served_bytes() for trial in trials)
    exporting = EXPORTER_BYTES + sum(trial.exporting_bytes() for trial in trials)
    if spec.features.comparables or spec.features.group_means:
        training += fitting.LINE_BYTES * seen * max(trial.inputs for trial in trials)
    memory = PROCESS_BYTES + LANE_BYTES * lanes + table + max(training, exporting)
    if spec.features.comparables:
        memory += spec.k_folds * sum(fitting.comparing_bytes(int(seen * s)) for s in (1, *shares))
    work = _reading_seconds(spec, profile)
    work += _comparing_seconds(spec, profile, seen, machine.cores)
    work += sum(trial.seconds(profile, seen, machine.cores) for trial in trials)
    for share in shares:
        work += sum(trial.curve_seconds(share, seen, machine.cores) for trial in trials)
        if spec.features.comparables:
            known = int(share * seen * (spec.k_folds - 1) / spec.k_folds)
            work += fitting.comparing_seconds(spec.k_folds * seen, known)
    return Estimate(memory, OVERHEAD_SECONDS + work * REFERENCE_RATE / machine.core_rate)


class _Trial:
    """The share of one spec without members."""

    def __init__(self, spec: TrainingSpec, profile: Profile) -> None:
        self.spec = spec
        self.inputs = input_width(spec, profile)
        self.outputs = _outputs(spec, profile)
        self.members = spec.k_folds * spec.members_per_fold
        self.widths = layer_widths(spec.architecture, self.inputs, self.outputs)
        self.learnt_rows = seen_rows(spec, profile) * (spec.k_folds - 1) // spec.k_folds

    def training_bytes(self, seen: int, lanes: int) -> int:
        encoded = encoded_bytes(self.spec.k_folds, seen, self.inputs)
        if encoded > ENCODED_BYTES:
            encoded = BLOCKS_BYTES
        architecture = self.spec.architecture
        if not architecture.is_fitted:
            return encoded + self.members * member_bytes(self.spec, self.widths)
        working = fitting.working_bytes(architecture, self.inputs, self.learnt_rows)
        return encoded + STATE_COPIES * self.served_bytes() + lanes * working

    def served_bytes(self) -> int:
        """What all members have learned."""
        architecture = self.spec.architecture
        if architecture.is_fitted:
            return self.members * fitting.state_bytes(
                architecture, self.inputs, self.learnt_rows, self.outputs
            )
        return FLOAT_BYTES * self.members * _parameters(self.widths)

    def exporting_bytes(self) -> int:
        checked = CHECKED_COPIES * NUMBER_BYTES * CHECKED_ROWS * self.spec.k_folds * self.inputs
        return GRAPH_COPIES * self.served_bytes() + checked

    def seconds(self, profile: Profile, seen: int, cores: int) -> float:
        """On the reference core."""
        predicted = _predicted_rows(self.spec, profile, seen, cores)
        return self._learning_seconds(1.0, seen, cores) + self._row_seconds(1.0) * predicted

    def curve_seconds(self, share: float, seen: int, cores: int) -> float:
        """A point of a learning curve: every row is encoded and scored once."""
        predicted = seen / min(cores, PREDICTING_CORES)
        return self._learning_seconds(share, seen, cores) + self._row_seconds(share) * predicted

    def _learning_seconds(self, share: float, seen: int, cores: int) -> float:
        """From a share of the training rows."""
        spec, in_lane = self.spec, -(-self.members // min(cores, self.members))
        seconds = _encoding_seconds(spec, self.inputs, seen)
        if spec.architecture.is_fitted:
            return seconds + in_lane * fitting.solving_seconds(
                spec.architecture, self.inputs, int(share * self.learnt_rows), self.outputs
            )
        rows = int(share * seen)
        return seconds + spec.max_epochs * _epoch_seconds(spec, self.widths, rows, in_lane)

    def _row_seconds(self, share: float) -> float:
        """A row through what one fold has learned from a share of its training rows."""
        spec = self.spec
        if spec.architecture.is_fitted:
            return spec.members_per_fold * fitting.row_seconds(
                spec.architecture, self.inputs, int(share * self.learnt_rows), self.outputs
            )
        return _row_seconds(spec, self.widths)


def parameters(spec: TrainingSpec, profile: Profile) -> int:
    """Weights and biases of one member of a resolved spec; of a blend, of one of each."""
    return sum(_parameters(_Trial(trial, profile).widths) for trial in spec.trials())


def served_bytes(spec: TrainingSpec, profile: Profile) -> int:
    """What a resolved spec's model has learned."""
    return sum(_Trial(trial, profile).served_bytes() for trial in spec.trials())


def encoded_bytes(folds: int, rows: int, inputs: int) -> int:
    """What the inputs of all folds take together once they are encoded."""
    return FLOAT_BYTES * folds * rows * inputs


def member_bytes(spec: TrainingSpec, widths: list[int]) -> int:
    """What training takes for one member of these layers: copies of its weights, and a batch's
    activations."""
    activations = 3 * FLOAT_BYTES * spec.batch_size * sum(widths) * _passes(spec.architecture)
    return WEIGHT_COPIES * FLOAT_BYTES * _parameters(widths) + activations


def _epoch_seconds(spec: TrainingSpec, widths: list[int], rows: int, members: int) -> float:
    """One epoch of a lane with so many members, on the reference core."""
    inputs = widths[0]
    passes = _passes(spec.architecture)
    watched = spec.early_stopping.fraction if spec.early_stopping else 0.0
    trained = rows * (spec.k_folds - 1) / spec.k_folds * (1 - watched)
    batches = -(-trained // spec.batch_size)
    weights = _parameters(widths)
    # Forward, and backward by weights and, but for the first layer, by inputs.
    operations = passes * (6 * weights - 2 * widths[0] * widths[1])
    scored = passes * 2 * weights * rows / spec.k_folds
    activation = getattr(spec.architecture, "activation", "identity")
    unit = SIMPLE_SECONDS if activation in SIMPLE else CURVED_SECONDS
    unit += DROPOUT_SECONDS if spec.dropout > 0 else 0.0
    units = passes * sum(widths[1:-1]) * unit
    embedding = getattr(spec.architecture, "numeric_embedding", None)
    if isinstance(embedding, Periodic):
        columns = (inputs - 1) // embedding.size + 1
        units += columns * embedding.frequencies * WAVE_SECONDS
    encoding = 0.0
    if encoded_bytes(spec.k_folds, rows, inputs) > ENCODED_BYTES:
        encoding = min(members, spec.k_folds) * trained * inputs * ENCODING_SECONDS
    trained_rate = TRAINING_RATE / ROUNDING[spec.precision]
    by_row = operations * trained / trained_rate + scored / TRAINING_RATE + units * trained
    far = min(1.0, WEIGHT_COPIES * FLOAT_BYTES * weights / CACHE_BYTES)
    update = WEIGHT_SECONDS + far * (FAR_WEIGHT_SECONDS - WEIGHT_SECONDS)
    by_batch = weights * update * members + STEP_SECONDS + LAYER_SECONDS * len(widths)
    factor = 1.0 if _by_hand(spec.architecture) else AUTOGRAD_FACTOR
    return factor * (by_row * members + by_batch * batches) + encoding


def _reading_seconds(spec: TrainingSpec, profile: Profile) -> float:
    """The table is read and reviewed, on the reference core."""
    return len(spec.features.kinds) * (COLUMN_SECONDS + CELL_SECONDS * profile.rows)


def _encoding_seconds(spec: TrainingSpec, inputs: int, seen: int) -> float:
    """Each fold learns from the table and encodes it."""
    seconds = LEARNING_SECONDS * spec.k_folds * seen * len(spec.features.kinds)
    if encoded_bytes(spec.k_folds, seen, inputs) <= ENCODED_BYTES:
        seconds += ENCODING_SECONDS * spec.k_folds * seen * inputs
    return seconds


def _row_seconds(spec: TrainingSpec, widths: list[int]) -> float:
    """A row through the networks of one fold."""
    products = 2 * _passes(spec.architecture) * _parameters(widths) * spec.members_per_fold
    return products / TRAINING_RATE + widths[0] * PREDICTED_INPUT_SECONDS


def _predicted_rows(spec: TrainingSpec, profile: Profile, seen: int, cores: int) -> float:
    """Rows through one fold after training, as if one core predicted them: scores, importance, the
    check of the exported graphs."""
    columns = len(spec.features.kinds)
    # Each row is scored, and R² taken of it by the members of every fold.
    by_a_fold = seen * (spec.k_folds + 1) + importance_rows(seen, columns) * (columns + 1)
    # Both graphs are compared with the scores.
    by_all = spec.k_folds * (2 * seen + profile.rows - seen)
    return by_a_fold / min(cores, PREDICTING_CORES) + by_all


def _comparing_seconds(spec: TrainingSpec, profile: Profile, seen: int, cores: int) -> float:
    """Of comparables: learnt from the other parts of each fold, and found for each row."""
    if not spec.features.comparables:
        return 0.0
    known = seen * (spec.k_folds - 1) // spec.k_folds
    rows = spec.k_folds * known + _predicted_rows(spec, profile, seen, cores)
    return fitting.comparing_seconds(int(rows), known)


def importance_rows(rows: int, columns: int) -> int:
    """Of so many scored rows those that are predicted again for each column."""
    return max(1, min(rows, MOST_SHUFFLED_ROWS, MOST_SHUFFLED // columns))


def _by_hand(architecture: Architecture) -> bool:
    """Whether models.training.gradients differentiates it without a graph."""
    if isinstance(architecture, MlpArchitecture):
        periodic = isinstance(architecture.numeric_embedding, Periodic)
        return architecture.normalization == "none" and not periodic
    return isinstance(architecture, LinearArchitecture | PerceptronArchitecture)


def _parameters(widths: list[int]) -> int:
    return sum(a * b + b for a, b in pairwise(widths))


def _passes(architecture: Architecture) -> int:
    """Forward passes a row."""
    return architecture.ensemble_size if isinstance(architecture, TabmArchitecture) else 1


def input_width(spec: TrainingSpec, profile: Profile) -> int:
    """Inputs of the first layer: a number with its embedding, and one a level."""
    columns = {column.name: column for column in profile.columns}
    bins = bins_of(spec.architecture)
    embedding = getattr(spec.architecture, "numeric_embedding", None)
    width = 0
    for feature in select(spec, profile):
        column = columns[feature.name]
        if feature.kind == "categorical" and spec.architecture.levels == "codes":
            width += 1
        elif feature.kind == "categorical":
            width += min(column.distinct + (column.missing > 0), MAX_LEVELS)
        elif isinstance(embedding, Periodic):
            width += embedding.size
        else:
            width += 1 + min(bins, max(0, column.distinct - 1))
    if spec.features.coordinates is not None:
        width += len(ANGLES) * (embedding.size if isinstance(embedding, Periodic) else 1 + bins)
    return width


def _outputs(spec: TrainingSpec, profile: Profile) -> int:
    target = next(column for column in profile.columns if column.name == spec.target)
    return objective_of(spec).outputs(target)


def layer_widths(architecture: Architecture, inputs: int, outputs: int) -> list[int]:
    """Units from the inputs to the outputs, layer after layer."""
    match architecture:
        case LinearArchitecture() | PerceptronArchitecture() | RidgeArchitecture():
            return [inputs, outputs]
        case ResNetArchitecture():
            blocks = [architecture.block_width, architecture.width] * architecture.blocks
            return [inputs, architecture.width, *blocks, outputs]
        case BoostedTreesArchitecture():
            # A row meets each tree once, whatever the number of inputs.
            return [inputs, architecture.iterations, outputs]
        case KernelArchitecture():
            return [inputs, fitting.COORDINATES, outputs]
        case MlpArchitecture() | RealMlpArchitecture() | TabmArchitecture():
            return [inputs, *architecture.hidden_sizes, outputs]
