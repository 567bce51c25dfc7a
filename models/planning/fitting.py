"""What architectures that are solved take, and what comparables take: memory, and seconds on one
core of the reference rate (`models.planning.estimate`). Fitted to measured runs of 1,168 to 17,000
training rows."""

from __future__ import annotations

from models.objectives.regression.leave_one_out import SOLVING_RATE, line_seconds
from models.spec.architectures import (
    Architecture,
    BoostedTreesArchitecture,
    KernelArchitecture,
)

FLOAT_BYTES, NUMBER_BYTES = 4, 8
# Leaves of a tree with few and with many training rows: 16 and 48 had the lowest errors on 2,344
# houses and on 16,000 diamonds.
FEW_LEAVES, MANY_LEAVES, MANY_ROWS = 16, 48, 5_000
NODE_BYTES = 30  # in a graph; 16 while training
TREE_ROW_SECONDS = 5e-9  # a row and a column, in each level of a tree
TREE_BIN_SECONDS = 5e-9  # of 255 bins of a column, in each leaf
VISIT_SECONDS = 65e-9  # a row in one tree
# Kernel regression: coordinates, the most training rows that are all landmarks, and the landmarks
# of more rows.
COORDINATES, MOST_EXACT_ROWS, LANDMARKS = 64, 5_000, 2_000
WEIGHING_SECONDS = 0.5
NEAR_SECONDS = 1e-9  # one coordinate of a landmark and a row
MATRICES = 3  # of all pairs of landmarks at a time
# Comparables: a row and a reference, and the most references.
PAIR_SECONDS = 7e-9
MOST_REFERENCES = 20_000
REFERENCE_BYTES = 8_000  # a fold's, with those of its parts; of 21,613 rows
COMPARED_BYTES = 250  # the features of a row in a fold
LINE_BYTES = 10  # an input of a row, while a fold learns its comparables


def leaves_of(architecture: BoostedTreesArchitecture, rows: int) -> int:
    """The most leaves of a tree that learns from so many rows."""
    return architecture.leaves or (MANY_LEAVES if rows >= MANY_ROWS else FEW_LEAVES)


def landmarks_of(rows: int) -> int:
    """Landmarks of a kernel regression that learns from so many rows."""
    return rows if rows <= MOST_EXACT_ROWS else LANDMARKS


def state_bytes(architecture: Architecture, inputs: int, rows: int, outputs: int) -> int:
    """What one member keeps that learnt from so many rows."""
    match architecture:
        case BoostedTreesArchitecture():
            trees = architecture.iterations * (outputs if outputs > 2 else 1)
            return NODE_BYTES * trees * (2 * leaves_of(architecture, rows) - 1)
        case KernelArchitecture():
            return FLOAT_BYTES * COORDINATES * (inputs + landmarks_of(rows))
        case _:
            return FLOAT_BYTES * inputs * outputs


def working_bytes(architecture: Architecture, inputs: int, rows: int) -> int:
    """What solving one member takes besides."""
    size = landmarks_of(rows) if isinstance(architecture, KernelArchitecture) else 0
    pairs = MATRICES * NUMBER_BYTES * size * size
    return pairs + NUMBER_BYTES * rows * inputs


def solving_seconds(architecture: Architecture, inputs: int, rows: int, outputs: int) -> float:
    """Of one member."""
    match architecture:
        case BoostedTreesArchitecture():
            leaves = leaves_of(architecture, rows)
            by_row = leaves.bit_length() * rows * inputs * TREE_ROW_SECONDS
            by_leaf = leaves * inputs * 255 * TREE_BIN_SECONDS
            trees = architecture.iterations * (outputs if outputs > 2 else 1)
            return trees * (by_row + by_leaf)
        case KernelArchitecture():
            size = landmarks_of(rows)
            products = size**3 / 3 + rows * size * COORDINATES
            if size < rows:
                products += rows * size**2
            return WEIGHING_SECONDS + products / SOLVING_RATE
        case _:
            return line_seconds(rows, inputs)


def row_seconds(architecture: Architecture, inputs: int, rows: int, outputs: int) -> float:
    """Of one member for one row to predict."""
    match architecture:
        case BoostedTreesArchitecture():
            return VISIT_SECONDS * architecture.iterations * (outputs if outputs > 2 else 1)
        case KernelArchitecture():
            return NEAR_SECONDS * COORDINATES * landmarks_of(rows)
        case _:
            return NEAR_SECONDS * inputs


def comparing_bytes(rows: int) -> int:
    """Of one fold."""
    return REFERENCE_BYTES * min(rows, MOST_REFERENCES) + COMPARED_BYTES * rows


def comparing_seconds(rows: int, references: int) -> float:
    """Of rows that are compared with a fold's training rows."""
    return PAIR_SECONDS * rows * min(references, MOST_REFERENCES)
