"""The model files compute what was trained, run by onnxruntime alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from houses import Built, Case, build, house_frame, lay
from onnx import numpy_helper

from models.export.graph import ExportMismatch, verify
from models.tables.cells import epoch_seconds

TOLERANCE = 1e-4
ODD_NAMES = {
    "area": "value",
    "year": "numbers",
    "quarter": "members",
    "heating": "codes",
    "stars": "foldhouse:raw:numbers",
    "extra": "column value",  # what another column's input could be renamed to
    "flag": "N",
    "place": "straße 🏠/ a.b\"c'",
}


def odd_frame() -> pd.DataFrame:
    """Columns called like the graph's own inputs and outputs, and in any script."""
    frame = house_frame()
    frame["extra"] = np.arange(len(frame)) % 7 + 0.5
    frame["flag"] = np.arange(len(frame)) % 2
    frame["place"] = np.where(np.arange(len(frame)) % 3 == 0, "Zürich", "東京")
    return frame.rename(columns=ODD_NAMES)


SIZES: dict[str, dict[str, Any]] = {
    "linear": {},
    "mlp": {"hidden_sizes": [6, 3]},
    "resnet": {"blocks": 1, "width": 6, "block_width": 8},
    "realmlp": {"hidden_sizes": [6, 3]},
    "tabm": {
        "hidden_sizes": [6, 3],
        "ensemble_size": 3,
        "numeric_embedding": {"type": "piecewise_linear", "bins": 4},
    },
}


def variant(
    make: Callable[[], pd.DataFrame], architecture: str, scaling: str, transform: str, **spec: Any
) -> tuple[Callable[[], pd.DataFrame], dict[str, Any]]:
    preprocessing = {"numeric_scaling": scaling, "target_transform": transform}
    return make, {
        "architecture": {"type": architecture, **SIZES[architecture]},
        "preprocessing": preprocessing | spec.pop("preprocessing", {}),
        "max_epochs": 4,
        "batch_size": 32,
        "optimizer": {"learning_rate": 0.02},
        **spec,
    }


# Every scaling and architecture, both transforms, and the odder tables, in few exports.
VARIANTS = {
    "numbers as categories": variant(
        house_frame,
        "mlp",
        "standard",
        "log",
        features={"kinds": {"year": "categorical", "stars": "categorical"}},
    ),
    "dropped rows": variant(
        house_frame, "linear", "robust", "none", preprocessing={"numeric_missing": "drop_rows"}
    ),
    "time folds": variant(
        house_frame, "mlp", "quantile", "none", folds={"type": "time", "column": "sold"}
    ),
    "unscaled": variant(house_frame, "linear", "none", "log"),
    "numbers alone": variant(
        # One of the few pools is mistyped.
        lambda: house_frame()[["area", "year", "price"]].assign(pool=[*[0] * 90, *[25] * 12, 3e4]),
        "mlp",
        "robust",
        "log",
    ),
    "words alone": variant(
        lambda: house_frame()[["quarter", "heating", "price"]], "linear", "standard", "log"
    ),
    "odd names": variant(odd_frame, "mlp", "robust", "log"),
    "resnet": variant(house_frame, "resnet", "standard", "none"),
    "realmlp": variant(house_frame, "realmlp", "robust", "log"),
    "tabm, two members a fold": variant(house_frame, "tabm", "quantile", "log", members_per_fold=2),
}


@pytest.fixture(scope="module", params=VARIANTS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    make, spec = VARIANTS[request.param]
    return build(lay(tmp_path_factory.mktemp("export"), make(), **spec))


def run(graph: bytes, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(value, members) from a session that knows nothing but the file."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    value, members = session.run(["value", "members"], inputs)
    return value, members


def raw_inputs(model: Built, rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The columns of the CSV as the file's users give them: doubles and texts, (N, 1) each."""
    case = model.case
    inputs = {}
    for name, input_name in model.manifest.inputs.items():
        cells = pd.Series(case.cells[name].to_pylist())
        kind = next(
            (f.kind for f in model.manifest.numeric if f.name == name),
            "categorical",
        )
        if kind == "datetime":
            column = epoch_seconds(pd.to_datetime(cells).to_numpy())
        elif kind == "numeric":
            column = pd.to_numeric(cells).to_numpy(float)
        else:
            numbers = next(f.numbers for f in model.manifest.categorical if f.name == name)
            texts = [cell.removesuffix(".0") if numbers else cell for cell in cells]
            column = np.array(texts, object)
        inputs[input_name] = column[case.design.rows if rows is None else rows][:, None]
    return inputs


def design_inputs(case: Case) -> dict[str, np.ndarray]:
    return {"numbers": case.design.numbers, "codes": case.design.codes}


def close(found: np.ndarray, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=0)


def test_both_files_compute_what_torch_computes(model: Built) -> None:
    design = model.case.design
    with torch.no_grad():
        value, members = model.served(
            torch.from_numpy(design.numbers), torch.from_numpy(design.codes)
        )
    for found_value, found_members in (
        run(model.core, design_inputs(model.case)),
        run(model.full, raw_inputs(model)),
    ):
        assert found_value.shape == (len(design),)
        assert found_members.shape == (model.manifest.members, len(design))
        assert found_value.dtype == found_members.dtype == np.float64
        close(found_members, members.numpy())
        close(found_value, value.numpy())


def test_members_are_the_folds_and_give_their_out_of_fold_predictions(model: Built) -> None:
    """Fold f owns members f·m … f·m + m − 1."""
    _, members = run(model.full, raw_inputs(model))
    by_fold = members.reshape(len(model.case.folds), -1, members.shape[1]).mean(axis=1)
    for fold, rows in enumerate(model.case.folds):
        close(by_fold[fold, rows.validation], model.scores.out_of_fold[rows.validation])


def test_the_value_is_the_mean_of_the_served_members(model: Built) -> None:
    """With folds in time, those of the last fold."""
    value, members = run(model.full, raw_inputs(model))
    close(value, members[model.manifest.first_served :].mean(axis=0), 1e-12)


def test_a_row_does_not_depend_on_its_batch(model: Built) -> None:
    whole, _ = run(model.full, raw_inputs(model))
    for row in (0, 5, 102):
        alone, _ = run(model.full, raw_inputs(model, np.array([row])))
        close(alone, whole[[row]], 1e-6)
    for rows in (0, 1):
        part = {name: column[:rows] for name, column in raw_inputs(model).items()}
        value, members = run(model.full, part)
        assert value.shape == (rows,)
        assert members.shape == (model.manifest.members, rows)


def test_a_row_of_nothing_has_a_finite_price(model: Built) -> None:
    """Every cell missing, unknown, or as far out as a number goes."""
    lowest = model.case.design.target.min()
    for number in (np.nan, 1e300, -1e300):
        for text in ("", "never heard of"):
            inputs = {
                name: np.full((1, 1), number if column.dtype == float else text, column.dtype)
                for name, column in raw_inputs(model, np.array([0])).items()
            }
            value, members = run(model.full, inputs)
            assert np.isfinite([*value, *members[:, 0]]).all()
            assert np.abs(value[0]) < 1e3 * abs(lowest)


def test_the_verification_accepts_it(model: Built) -> None:
    case = model.case
    validation = [rows.validation for rows in case.folds]
    verify(model.core, model.full, case.design, model.served, validation, model.scores.out_of_fold)


def test_the_files_are_onnx_that_any_runtime_reads(model: Built) -> None:
    for graph in (model.core, model.full):
        onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    inputs = onnx.load_from_string(model.full).graph.input
    assert sorted(i.name for i in inputs) == sorted(model.manifest.inputs.values())
    outputs = onnx.load_from_string(model.full).graph.output
    assert [o.name for o in outputs] == ["value", "members"]


# A file that was tampered with.


def tampered(graph: bytes, change: Callable[[onnx.GraphProto], None]) -> bytes:
    proto = onnx.load_from_string(graph)
    change(proto.graph)
    return proto.SerializeToString()


def nudge_a_weight(graph: onnx.GraphProto) -> None:
    """One weight of one member, by 1."""
    tensor = next(t for t in graph.initializer if t.name.endswith("network.output.weight"))
    weights = numpy_helper.to_array(tensor).copy()
    weights[1, 0, 0] += 1
    tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))


def swap_the_folds(graph: onnx.GraphProto) -> None:
    tensor = next(t for t in graph.initializer if t.name.endswith("network.output.weight"))
    weights = numpy_helper.to_array(tensor)[[1, 0, 2, 3, 4]]
    tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))


def break_the_average(graph: onnx.GraphProto) -> None:
    """The last mean is that over the members."""
    *_, mean = (node for node in graph.node if node.op_type == "ReduceMean")
    mean.op_type = "ReduceMax"


def mix_up_the_levels(graph: onnx.GraphProto) -> None:
    node = next(node for node in graph.node if node.op_type == "LabelEncoder")
    keys = next(a for a in node.attribute if a.name == "keys_strings")
    keys.strings[0], keys.strings[1] = keys.strings[1], keys.strings[0]


def assert_refused(model: Built, core: bytes, full: bytes) -> None:
    validation = [rows.validation for rows in model.case.folds]
    with pytest.raises(ExportMismatch):
        verify(core, full, model.case.design, model.served, validation, model.scores.out_of_fold)


@pytest.mark.parametrize("change", [nudge_a_weight, swap_the_folds, break_the_average])
def test_a_tampered_core_is_refused(
    houses_model: Built, change: Callable[[onnx.GraphProto], None]
) -> None:
    """Also where both files agree, because one was made from the other."""
    core = tampered(houses_model.core, change)
    assert_refused(houses_model, core, houses_model.full)
    assert_refused(houses_model, core, tampered(houses_model.full, change))


@pytest.mark.parametrize("change", [nudge_a_weight, break_the_average, mix_up_the_levels])
def test_a_tampered_full_graph_is_refused(
    houses_model: Built, change: Callable[[onnx.GraphProto], None]
) -> None:
    assert_refused(houses_model, houses_model.core, tampered(houses_model.full, change))


@pytest.mark.parametrize("chunk", [4, 4_096])
def test_other_predictions_than_the_scored_ones_are_refused(
    houses_model: Built, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("models.export.graph.CHECK_ROWS", chunk)
    case = houses_model.case
    validation = [rows.validation for rows in case.folds]
    for change in (1.01, np.nan):
        predictions = houses_model.scores.out_of_fold.copy()
        predictions[validation[3][-1]] *= change
        with pytest.raises(ExportMismatch, match="fold 3"):
            verify(
                houses_model.core,
                houses_model.full,
                case.design,
                houses_model.served,
                validation,
                predictions,
            )


# Targets on whose own scale a comparison says nothing, or refuses what is right.


def far_from_zero(chance: np.random.Generator, rows: int) -> np.ndarray:
    """Seconds of one week: any two predictions agree to six digits."""
    return 1.7e9 + chance.uniform(0, 600_000, rows)


def mostly_zero(chance: np.random.Generator, rows: int) -> np.ndarray:
    """Claims: a prediction near zero may differ by a large share of itself."""
    return np.where(chance.random(rows) < 0.85, 0.0, chance.lognormal(8, 2, rows))


@pytest.mark.parametrize("target", [far_from_zero, mostly_zero])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_verification_uses_the_scale_that_is_learnt(
    tmp_path: Path, target: Callable[[np.random.Generator, int], np.ndarray], seed: int
) -> None:
    chance = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": chance.normal(size=80), "b": chance.normal(size=80)})
    frame["price"] = target(chance, 80) * (1 + 1e-6 * frame["a"])
    spec = {"max_epochs": 5, "k_folds": 3, "architecture": {"type": "mlp", "hidden_sizes": [6]}}
    sound, other = (build(lay(tmp_path, frame, **spec, seed=one)) for one in (seed, seed + 10))
    validation = [rows.validation for rows in sound.case.folds]
    verify(
        sound.core,
        sound.full,
        sound.case.design,
        sound.served,
        validation,
        sound.scores.out_of_fold,
    )
    assert_refused(sound, other.core, other.full)
