"""A model of many classes that is known by heart: of the classes 0, 1, 2 … the one nearest to the
number `x` is the most probable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper

from models.objectives.classification.answers import Classes, SetCalibration
from models.serving.manifest import Manifest, NumericFeature
from models.serving.predictor import Predictor

MEMBERS = 2
# A set has the classes whose score is at most this: about 90 % of the probability.
SCORE = 0.9


def predictor(count: int) -> Predictor:
    return Predictor(core(count), manifest(count))


def names(count: int) -> list[str]:
    return [f"class {place}" for place in range(count)]


def probabilities(x: float, count: int) -> np.ndarray:
    """(count,) exp(−(x − c)² / 2), normalised."""
    weights = np.exp(-((x - np.arange(count)) ** 2) / 2)
    found: np.ndarray = weights / weights.sum()
    return found


def files(folder: Path, count: int, column: str = "x") -> list[Path]:
    """All files of such a model, written into a new folder."""
    folder.mkdir()
    graph = core(count)
    contents = {
        "core.onnx": graph,
        "model.onnx": graph,
        "manifest.json": manifest(count, column).model_dump_json().encode(),
        "weights.safetensors": b"weights",
        "report.html": b"<!doctype html><title>Report</title>",
        "charts.json": b"[]",
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    words = names(count)
    table = {
        "row": range(count),
        "fold": [0] * count,
        "unit": range(count),
        "actual": words,
        "prediction": words,
        "probability": [0.5] * count,
        "probability_of_actual": [0.5] * count,
    }
    pq.write_table(pa.table(table), folder / "oof.parquet")
    return [folder / name for name in (*contents, "oof.parquet")]


def manifest(count: int, column: str = "x") -> Manifest:
    return Manifest(
        task="classification",
        target="kind",
        numeric=[NumericFeature(kind="numeric", name=column, low=0, high=count)],
        categorical=[],
        inputs={column: column},
        members=MEMBERS,
        metrics={"accuracy": 0.5},
        spec={"members_per_fold": 1, "folds": {"type": "stratified", "column": None}},
        receipt={},
        classes=Classes(
            levels=names(count),
            positive=None,
            threshold=0.5,
            shares=[1 / count] * count,
            calibration=SetCalibration(rows=1, ranks=[1, 2], scores=[SCORE, SCORE]),
        ),
        sets=[],
    )


def core(count: int) -> bytes:
    """numbers (N, 1), codes (N, 0) to probabilities (N, C) and members (2, N, C)."""
    double, integer = TensorProto.DOUBLE, TensorProto.INT64
    places = np.arange(count, dtype=np.float64)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["numbers", "weights"], ["sums"]),
            helper.make_node("Sub", ["sums", "halves"], ["odds"]),
            helper.make_node("Softmax", ["odds"], ["probabilities"], axis=1),
            helper.make_node("Unsqueeze", ["probabilities", "axis"], ["member"]),
            helper.make_node("Concat", ["member"] * MEMBERS, ["members"], axis=0),
        ],
        "classes",
        [
            helper.make_tensor_value_info("numbers", double, ["N", 1]),
            helper.make_tensor_value_info("codes", integer, ["N", 0]),
        ],
        [
            helper.make_tensor_value_info("probabilities", double, ["N", count]),
            helper.make_tensor_value_info("members", double, [MEMBERS, "N", count]),
        ],
        [
            helper.make_tensor("weights", double, [1, count], places),
            helper.make_tensor("halves", double, [count], places**2 / 2),
            helper.make_tensor("axis", integer, [1], [0]),
        ],
    )
    opsets = [helper.make_opsetid("", 18)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    serialized: bytes = model.SerializeToString()
    return serialized
