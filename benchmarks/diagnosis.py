"""How often the diagnosis asks for a change where nothing is wrong, and whether it knows noise.

Healthy tables have 60 to 20,000 rows, targets from straight to jagged and from easy to noisy, and
are trained with the recipe: the blend up to 2,000 rows, one network above, or one for all with
`--effort quick`. Tables of noise have a target that no column knows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.houses import LIMITS, Task, stored
from models.data.preprocessing import trainable_rows
from models.evaluation.blend import blend
from models.evaluation.scores import Scores, evaluate
from models.tables.table import read_table

HEALTHY_ROWS = (
    *(60, 80, 100, 150, 250, 400, 800) * 4,
    *(1_500, 2_000) * 3,
    *(5_000, 10_000, 20_000) * 2,
)
NOISE_ROWS = (60, 80, 100, 150, 250, 400, 800, 1_500) * 2 + (2_000, 2_000, 5_000, 10_000)
MOST_BLENDED = 2_000
FORMS = ("straight", "bent", "jagged", "crossed")
FOLDS = (3, 5, 10, 20)
# Larger tables have at most 10 folds, and the largest at most 5, to bound the time.
ROWS_OF_20_FOLDS, ROWS_OF_10_FOLDS = 250, 1_000
EXPLAINED = (0.98, 0.9, 0.7, 0.4)  # of the target's variance, by the truth
GROUPS = 20

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Made:
    """A table, and what to ask for."""

    name: str
    rows: pd.DataFrame
    spec: dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--effort", choices=("quick", "standard"), help="of all tables")
    parser.add_argument("--most-rows", type=int, default=20_000, help="leave larger tables out")
    parser.add_argument("--kind", choices=("healthy", "noise"), action="append")
    parser.add_argument("--part", default="0/1", help="i/n: every n-th table, from the i-th on")
    parser.add_argument("--cores", type=int, default=1)
    given = parser.parse_args(arguments)
    part, parts = map(int, given.part.split("/"))
    for kind, tables in (("healthy", healthy()), ("noise", noise())):
        if given.kind and kind not in given.kind:
            continue
        counts: Counter[str] = Counter()
        print(
            "| table | model's R² | best baseline | seconds | findings |\n|---|---:|---:|---:|---|"
        )
        for place, made in enumerate(tables):
            if place % parts != part or len(made.rows) > given.most_rows:
                continue
            effort = given.effort or ("standard" if len(made.rows) <= MOST_BLENDED else "quick")
            began = time.perf_counter()
            scores = score(made, effort, given.cores)
            counts["tables"] += 1
            findings = {finding["code"]: finding["asks"] for finding in scores.diagnosis}
            counts.update({*findings.values(), *findings})
            print(_line(made, scores, time.perf_counter() - began), flush=True)
        print(f"\n{kind}: {', '.join(f'{count} {name}' for name, count in counts.items())}\n")


def healthy() -> Iterator[Made]:
    """Tables that a recipe can learn, as far as their noise lets it."""
    for seed, rows in enumerate(HEALTHY_ROWS):
        rng = np.random.default_rng(seed)
        form = FORMS[seed % len(FORMS)]
        explained, k = rng.choice(EXPLAINED), _folds(rows, rng)
        folds = rng.choice(["shuffled", "shuffled", "group", "time"])
        numbers = rng.normal(size=(rows, int(rng.integers(3, 13))))
        levels = rng.integers(0, int(rng.integers(2, 9)), rows)
        signal = _scaled(_signal(form, numbers, rng) + 0.5 * rng.normal(size=9)[levels])
        noise = rng.normal(size=rows) * np.sqrt(1 / explained - 1)
        frame = pd.DataFrame(numbers, columns=[f"x{place}" for place in range(numbers.shape[1])])
        frame["part"] = [f"part {level}" for level in levels]
        groups = np.argsort(rng.integers(0, GROUPS, rows)) % GROUPS  # none is empty
        frame["group"] = [f"g{group}" for group in groups]
        frame["day"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.permutation(rows), "h")
        target = signal + noise
        frame["y"] = np.exp(0.5 * target) if rng.random() < 0.3 else target
        spec: dict[str, Any] = {"k_folds": k, "folds": {"type": "shuffled"}}
        if folds != "shuffled":
            column = "group" if folds == "group" else "day"
            spec["folds"] = {"type": folds, "column": column}
        name = f"{rows:,} × {frame.shape[1] - 1}, {form}, {explained:.0%}, {k} folds, {folds}"
        yield Made(name, frame, spec)


def noise() -> Iterator[Made]:
    """Tables with a target that has nothing to do with them."""
    for seed, rows in enumerate(NOISE_ROWS):
        rng = np.random.default_rng(1_000 + seed)
        numbers = rng.normal(size=(rows, int(rng.integers(3, 13))))
        frame = pd.DataFrame(numbers, columns=[f"x{place}" for place in range(numbers.shape[1])])
        frame["part"] = [f"part {level}" for level in rng.integers(0, 8, rows)]
        frame["y"] = rng.normal(size=rows)
        k = _folds(rows, rng)
        yield Made(f"{rows:,} × {frame.shape[1] - 1}, {k} folds", frame, {"k_folds": k})


def score(made: Made, effort: str, cores: int) -> Scores:
    """What a job would find."""
    with stored(_read(made.rows), "y") as table:
        spec = table.resolve(**{**made.spec, "effort": effort})
        task: Task = table.load(spec)
        folds = [trainable_rows(spec.preprocessing, task.design, fold) for fold in task.folds]
        trained = task.train_trials(spec.trials(), cores)
        served, _ = blend(spec, trained, task.design, folds)
        return evaluate(served, spec, task.design, folds, task.holdout, trained)


def _signal(form: str, x: Vector, rng: np.random.Generator) -> Vector:
    """(n,) of rows x (n, D)."""
    weights = rng.normal(size=x.shape[1])
    straight = x @ weights / np.sqrt(np.square(weights).sum())
    if form == "straight":
        return straight
    if form == "bent":
        return straight + np.sin(1.5 * x[:, 0]) + 0.5 * np.square(x[:, 1])
    if form == "jagged":
        return straight + (x[:, 0] > 0.3) + np.where(x[:, 1] > 0, 1.0, -0.5) * (x[:, 2] < 0.5)
    return straight + x[:, 0] * x[:, 1] + 0.5 * x[:, 1] * x[:, 2]


def _folds(rows: int, rng: np.random.Generator) -> int:
    most = 1 + (rows <= ROWS_OF_10_FOLDS) + (rows <= ROWS_OF_20_FOLDS)
    return int(rng.choice(FOLDS[: most + 1]))


def _read(frame: pd.DataFrame) -> pa.Table:
    """As an upload would be."""
    with tempfile.TemporaryDirectory() as folder:
        csv = Path(folder) / "table.csv"
        frame.to_csv(csv, index=False)
        return read_table(csv, LIMITS).table


def _scaled(signal: Vector) -> Vector:
    scaled: Vector = (signal - signal.mean()) / signal.std()
    return scaled


def _line(made: Made, scores: Scores, seconds: float) -> str:
    r2 = scores.assessment.metrics["r2"] or float("nan")
    rivals = [m["r2"] or -np.inf for m in scores.comparison.metrics.values()]
    findings = "; ".join(f"{own['code']} ({own['asks']})" for own in scores.diagnosis)
    return f"| {made.name} | {r2:.3f} | {max(rivals):.3f} | {seconds:.0f} | {findings} |"
