"""How time and memory grow with folds, trials, rows and columns.

A made-up table, a network of [64] and batches of 64. Each case runs in a process of its own, lanes
included. "Per row" is the time of one network for one training row of one epoch: it stays where it
is if the work grows in proportion.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import plots
from benchmarks.houses import CORES, Table, made_up, seconds_of_training, stored
from benchmarks.measurement import measure
from models.spec import TrainingSpec

LEARNING_RATES = (1e-4, 1e-2)  # from the first trial to the last


@dataclass(frozen=True)
class Case:
    rows: int = 10_000
    columns: int = 50
    folds: int = 5
    trials: int = 1
    epochs: int = 5


AXES: dict[str, list[Case]] = {
    "folds": [Case(folds=k) for k in (2, 5, 10, 20)],
    "trials": [Case(trials=count) for count in (1, 4, 16, 64)],
    "rows": [
        Case(rows=1_000, epochs=20),
        Case(rows=10_000),
        Case(rows=100_000, epochs=2),
        Case(rows=1_000_000, epochs=1),
    ],
    "columns": [Case(columns=count) for count in (10, 50, 200, 1_000)],
}


@dataclass(frozen=True)
class Result:
    case: Case
    seconds: float
    memory_bytes: int
    estimated_bytes: int

    @property
    def members(self) -> int:
        return self.case.folds * self.case.trials

    @property
    def row_seconds(self) -> float:
        """Of one member, training row and epoch."""
        trained = self.case.rows * (self.case.folds - 1) / self.case.folds * self.case.epochs
        return self.seconds / self.members / trained


def main(arguments: Sequence[str] = ()) -> None:
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    print(
        f"{CORES} cores. Unless a table says otherwise: 10,000 rows, 50 columns, 5 folds, 1 trial, "
        "5 epochs.\n"
    )
    results = {axis: print_axis(axis, cases) for axis, cases in AXES.items()}
    plot(results)


def print_axis(axis: str, cases: list[Case]) -> list[Result]:
    print(
        f"| {axis} | epochs | networks | seconds | per network, s | per row, µs | "
        "peak memory, MB | estimated, MB |"
    )
    print("| ---: " * 8 + "|")
    results = []
    for case in cases:
        result = run(case)
        results.append(result)
        print(
            f"| {getattr(case, axis):,} | {case.epochs} | {result.members} | "
            f"{result.seconds:.2f} | {result.seconds / result.members:.3f} | "
            f"{result.row_seconds * 1e6:.2f} | {result.memory_bytes / 1e6:,.0f} | "
            f"{result.estimated_bytes / 1e6:,.0f} |",
            flush=True,
        )
    print()
    return results


def run(case: Case) -> Result:
    with stored(made_up(case.rows, case.columns), "price") as table:
        trials = trials_of(table, case)
        measured = measure(seconds_of_training, table, trials)
        estimated = table.estimated_bytes(trials)
    return Result(case, measured.result, measured.memory_bytes, estimated)


def trials_of(table: Table, case: Case) -> list[TrainingSpec]:
    """Trials that differ in the learning rate."""
    return [
        table.resolve(
            architecture={"type": "mlp", "hidden_sizes": [64]},
            k_folds=case.folds,
            max_epochs=case.epochs,
            early_stopping=None,
            lr=float(rate),
        )
        for rate in np.geomspace(*LEARNING_RATES, case.trials)
    ]


def plot(results: dict[str, list[Result]]) -> None:
    figure, (times, memories) = plots.panels(2, len(results), width=10, height=4.4)
    for place, (axis, series) in enumerate(results.items()):
        x = [getattr(result.case, axis) for result in series]
        time, memory = times[place], memories[place]
        time.plot(x, [result.row_seconds * 1e6 for result in series], "o-", color=plots.BLUE)
        measured = [result.memory_bytes / 1e6 for result in series]
        estimated = [result.estimated_bytes / 1e6 for result in series]
        memory.plot(x, measured, "o-", color=plots.BLUE, label="measured")
        memory.plot(x, estimated, "--", color=plots.RED, label="estimated")
        memory.set_xlabel(axis)
        for panel in (time, memory):
            panel.set(xscale="log", yscale="log")
            panel.set_xticks(x, [f"{value:,}" for value in x])
            panel.yaxis.set_major_formatter("{x:,g}")
            panel.minorticks_off()
            panel.grid(visible=True)
    times[0].set_ylabel("µs per network\nand row of an epoch")
    memories[0].set_ylabel("peak memory, MB")
    memories[0].legend()
    plots.save(figure, "scaling")


if __name__ == "__main__":
    main(sys.argv[1:])
