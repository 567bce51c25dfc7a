"""What a run is said to take: against recorded runs, and the parts that it is made of."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from houses import Case, house_frame, lay, score, train, trainer_of

from models.planning.estimate import (
    PROCESS_BYTES,
    REFERENCE_RATE,
    Machine,
    estimate,
    importance_rows,
    layer_widths,
    member_bytes,
    parameters,
)
from models.planning.resolve import resolve
from models.spec import TrainingSpec
from models.tables.profile import Profile, profile
from models.tables.table import TypedTable
from models.training.progress import Monitor

REFERENCE = Machine(1, REFERENCE_RATE)


def seconds(case: Case, **described: int) -> float:
    """Of a case, were its table described so."""
    profile: Profile = case.profile.model_copy(update=described)
    return estimate(case.spec, profile, REFERENCE).seconds


@dataclass(frozen=True)
class Run:
    """A run of `python -m benchmarks estimates --lanes 1` on one core of an AMD EPYC (Zen 5) that
    had other work, hence seconds of the processor, and memory above that of the process.

    The table has so many columns, each with as many levels or, without, every fifth with five and
    the others with numbers (`benchmarks.houses.made_up`).
    """

    rows: int
    columns: int
    seconds: float
    megabytes: float
    spec: dict[str, Any] = field(default_factory=dict)
    levels: int = 0

    def profile(self) -> Profile:
        """As the profile of the table was: that of few rows with as many kinds of cells."""
        rows = max(60, 4 * self.levels)
        cells: dict[str, Any] = {"price": np.geomspace(1, 1_000, rows)}
        for place in range(self.columns):
            levels = self.levels or (5 if place % 5 == 4 else 0)
            ranks = np.arange(rows)
            cells[f"column {place}"] = [f"level {r % levels}" for r in ranks] if levels else ranks
        described = profile(TypedTable(pa.table(cells), warnings=[]))
        return described.model_copy(update={"rows": self.rows})


CORE_RATE = 6.9e9  # of the recorded runs
LARGE = {"type": "mlp", "hidden_sizes": [1024, 512]}
RUNS = [
    Run(2_000, 20, 31.8, 316, {"architecture": LARGE, "batch_size": 512, "max_epochs": 60}),
    Run(1_000, 1_999, 10.8, 432, {"architecture": {"type": "linear"}, "max_epochs": 5}),
    Run(1_000, 1_999, 97.3, 4_724, {"max_epochs": 1}),
    Run(2_000, 500, 33.3, 1_613, {"max_epochs": 2}),
    Run(20_000, 20, 13.8, 316, {"max_epochs": 2}),
    Run(5_000, 10, 11.7, 651, {"max_epochs": 2}, levels=300),
]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.rows} x {run.columns} {run.spec}")
def test_recorded_runs_are_estimated_within_a_factor_of_two(run: Run) -> None:
    described = run.profile()
    common = {
        "effort": "quick",
        "preprocessing": {"target_transform": "log"},
        "early_stopping": None,
    }
    spec = resolve(
        TrainingSpec.model_validate({"target": "price", **common, **run.spec}), described
    )
    found = estimate(spec, described, Machine(1, CORE_RATE))
    assert 0.5 < found.seconds / run.seconds < 2
    assert 0.5 < (found.memory_bytes - PROCESS_BYTES) / 1e6 / run.megabytes < 2


@pytest.mark.parametrize("hidden", [[512, 256], [64, 64]])
def test_a_member_is_estimated_within_a_factor_of_two_of_what_it_holds(
    tmp_path: Path, hidden: list[int]
) -> None:
    case = lay(
        tmp_path,
        house_frame(),
        architecture={"type": "mlp", "hidden_sizes": hidden},
        max_epochs=2,
        batch_size=16,
    )
    others = storages()

    class Scales(Monitor):
        def epoch_ended(self, *_: object) -> None:
            self.held = sum(size for at, size in storages().items() if at not in others)

    scales = Scales()
    trainer = trainer_of(case)
    trainer.train(scales)
    inputs = trainer.inputs.shape.inputs
    widths = layer_widths(case.spec.architecture, inputs, trainer.inputs.target.outputs)
    expected = case.spec.k_folds * member_bytes(case.spec, widths)
    assert 0.5 < expected / scales.held < 2


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_parameters_are_those_of_the_network(tmp_path: Path, kind: str) -> None:
    case = lay(tmp_path, house_frame(), architecture={"type": kind})
    network = trainer_of(case).network
    assert parameters(case.spec, case.profile) == sum(p[0].numel() for p in network.parameters())


def storages() -> dict[int, int]:
    """Bytes of the tensors that are alive, by their address. An exporter leaves some of kinds of
    its own, which have none."""
    kinds = (torch.Tensor, torch.nn.Parameter)
    tensors = [thing for thing in gc.get_objects() if type(thing) in kinds]
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}


@pytest.mark.parametrize(
    ("rows", "columns", "shuffled"),
    [(300, 8, 300), (20_000, 20, 1_000), (2_000, 500, 200), (1_000, 1_999, 50), (9, 200_000, 1)],
)
def test_importance_is_bounded(rows: int, columns: int, shuffled: int) -> None:
    assert importance_rows(rows, columns) == shuffled


def test_importance_prices_as_many_rows_as_are_counted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = lay(tmp_path, house_frame(), architecture={"type": "linear"}, max_epochs=2)
    trained = train(case)
    priced = 0

    def counted(served: object, numbers: np.ndarray, codes: np.ndarray) -> object:
        nonlocal priced
        priced += len(numbers)
        return predict(served, numbers, codes)

    from models.evaluation import importance

    predict = importance.predict
    monkeypatch.setattr(importance, "predict", counted)
    score(case, trained)
    columns = len(case.spec.features.kinds)
    assert priced == importance_rows(len(case.design), columns) * (columns + 1)


def test_a_wide_table_takes_long_to_explain(tmp_path: Path) -> None:
    """Whatever it trains: 100,000 rows of 2,000 inputs and more go through a network."""
    rng = np.random.default_rng(0)
    wide = pd.DataFrame(rng.normal(size=(60, 400))).add_prefix("x")
    case = lay(tmp_path, wide.assign(price=rng.normal(size=60)), max_epochs=1, seed=1)
    narrow = lay(tmp_path, wide.iloc[:, :4].assign(price=rng.normal(size=60)), max_epochs=1)
    # 400 columns of 17 inputs, two members a fold, 60 rows shuffled for each column.
    products = 2 * 2 * (400 * 17 * 256) * 60 * 400
    assert seconds(case) - seconds(narrow) > products / 66e9


@pytest.mark.parametrize("spec", [{}, {"effort": "standard"}], ids=["network", "blend"])
def test_a_learning_curve_costs_less_than_the_run_again(
    tmp_path: Path, spec: dict[str, Any]
) -> None:
    """Half, a quarter and an eighth of the rows train, and nothing is explained again."""
    case = lay(tmp_path, house_frame(), **spec)
    described = case.profile.model_copy(update={"rows": 4_000})
    curved = case.spec.model_copy(update={"learning_curve": True})
    plain, found = (estimate(own, described, REFERENCE) for own in (case.spec, curved))
    assert 1.2 < found.seconds / plain.seconds < 2
    assert 1 <= found.memory_bytes / plain.memory_bytes < 1.5


def test_only_rows_that_folds_see_are_trained_on(tmp_path: Path) -> None:
    frame = house_frame()
    whole = lay(tmp_path, frame)
    held_out = lay(tmp_path, frame, holdout={"fraction": 0.4})
    frame.loc[::2, "price"] = np.nan
    gappy = lay(tmp_path, frame)
    assert seconds(held_out, rows=10_000) < seconds(whole, rows=10_000)
    assert seconds(gappy) < seconds(whole)
