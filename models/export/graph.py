"""Exports a trained model as ONNX graphs and checks that they compute what was trained.

`core.onnx` takes numbers and level codes. `model.onnx` takes raw columns: the same graph after one
node per column. ScatterElements writes the one-hot codes, see `models.networks.encoder`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, compose, helper

from models.data.design import Design
from models.export.exporter import OPSET, exported
from models.export.served import ServedModel
from models.networks.boosted_trees import fill_placeholders
from models.networks.population import take
from models.objectives.learning import TOLERANCE, Target
from models.serving.manifest import MEMBERS, PREFIX, SPREAD, input_names

ML_OPSET = 3
RAW_NUMBERS = f"{PREFIX}raw:numbers"
RAW_CODES = f"{PREFIX}raw:codes"
UNKNOWN_TEXT = f"{PREFIX}unknown"
# Rows per call in a check.
CHECK_ROWS = 256


class ExportMismatch(Exception):
    """A graph does not reproduce the predictions that the metrics were computed from."""


def core_graph(served: ServedModel, design: Design, output: str) -> onnx.ModelProto:
    """The graph with the inputs `numbers` (N, D) and `codes` (N, C), and the outputs `output`, the
    predictions, `members`, and `spread` if the model has one."""
    names = [output, MEMBERS, *([SPREAD] if served.has_spread else [])]
    example = (
        torch.zeros(2, len(design.numeric), dtype=torch.float64),
        torch.zeros(2, len(design.categorical), dtype=torch.int64),
    )
    rows = torch.export.Dim("N")
    graph = exported(
        served,
        example,
        inputs=["numbers", "codes"],
        outputs=names,
        dynamic={"numbers": {0: rows}, "codes": {0: rows}},
    )
    fill_placeholders(graph, served)
    return graph


def full_graph(core: onnx.ModelProto, design: Design) -> onnx.ModelProto:
    """The graph with raw columns as inputs: double (N, 1) or string (N, 1) each."""
    names = input_names(design)
    inputs, nodes, codes = [], [], []
    for name in design.numeric:
        inputs.append(helper.make_tensor_value_info(names[name], TensorProto.DOUBLE, ["N", 1]))
    for place, vocabulary in enumerate(design.categorical):
        column = names[vocabulary.name]
        inputs.append(helper.make_tensor_value_info(column, TensorProto.STRING, ["N", 1]))
        codes.append(f"{PREFIX}code:{place}")
        nodes.append(
            helper.make_node(
                "LabelEncoder",
                [column],
                [codes[-1]],
                domain="ai.onnx.ml",
                keys_strings=[level or "" for level in vocabulary.levels],
                values_int64s=list(range(vocabulary.unknown)),
                default_int64=vocabulary.unknown,
            )
        )
    numbers = [names[name] for name in design.numeric]
    nodes += _joined(RAW_NUMBERS, numbers, TensorProto.DOUBLE, codes)
    nodes += _joined(RAW_CODES, codes, TensorProto.INT64, numbers)
    outputs = [
        helper.make_tensor_value_info(RAW_NUMBERS, TensorProto.DOUBLE, ["N", len(numbers)]),
        helper.make_tensor_value_info(RAW_CODES, TensorProto.INT64, ["N", len(codes)]),
    ]
    raw = helper.make_model(
        helper.make_graph(nodes, "raw", inputs, outputs),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        ir_version=core.ir_version,
    )
    merged = compose.merge_models(
        raw,
        compose.add_prefix(core, PREFIX),
        io_map=[(RAW_NUMBERS, f"{PREFIX}numbers"), (RAW_CODES, f"{PREFIX}codes")],
    )
    for output in merged.graph.output:
        name = output.name.removeprefix(PREFIX)
        merged.graph.node.append(helper.make_node("Identity", [output.name], [name]))
        output.name = name
    onnx.checker.check_model(merged)
    return merged


def _joined(name: str, parts: list[str], element: int, others: list[str]) -> list[onnx.NodeProto]:
    """Nodes that join columns into (N, len(parts)); without parts, N comes from other inputs."""
    if parts:
        return [helper.make_node("Concat", parts, [name], axis=1)]
    bounds = [f"{name}:from", f"{name}:to", f"{name}:axis"]
    constants = [
        helper.make_node("Constant", [], [bound], value_ints=[value])
        for bound, value in zip(bounds, (0, 0, 1), strict=True)
    ]
    cut = helper.make_node("Slice", [others[0], *bounds], [f"{name}:empty"])
    return [*constants, cut, helper.make_node("Cast", [f"{name}:empty"], [name], to=element)]


# Put in every numeric cell of a row, which must still get a finite prediction.
ODD_NUMBERS = np.array([np.nan, 1e308, -1e308, 1e13])


def verify(
    core: bytes,
    full: bytes,
    design: Design,
    served: ServedModel,
    folds: list[np.ndarray],
    out_of_fold: np.ndarray,
    added: Callable[[np.ndarray, list[np.ndarray]], str | None] = lambda *_: None,
) -> None:
    """Run both graphs and compare them with the scored predictions, on the learnt scale.

    Parameters
    ----------
    served : the function that the graphs were exported from
    folds : the validation rows of each of its folds, indices in the design
    out_of_fold : (n, …) the predictions that the metrics were computed from
    added : what is wrong with the further outputs of model.onnx, given the predictions

    Raises
    ------
    ExportMismatch: member f of a graph differs from fold f's out-of-fold predictions, a value is
        not the members' mean, the two graphs differ, or a row whose cells are all missing, unknown
        or extreme has no finite prediction.
    """
    core_session, full_session = session(core), session(full)
    replicas = served.members_per_fold
    for fold, rows in enumerate(folds):
        compare = partial(_compare, take(served.target, torch.tensor([fold * replicas])))
        own = slice(fold * replicas, (fold + 1) * replicas)
        for start in range(0, len(rows), CHECK_ROWS):
            part = rows[start : start + CHECK_ROWS]
            numbers, codes = design.numbers[part], design.codes[part]
            value, members, *spread = core_session.run(None, {"numbers": numbers, "codes": codes})
            raw_value, raw_members, *more = full_session.run(
                None, _raw_inputs(design, numbers, codes)
            )
            compare(members[own].mean(0), out_of_fold[part], f"core.onnx, fold {fold}")
            mean = members[served.first_served :].mean(0)
            compare(value, mean, f"core.onnx, mean of rows of fold {fold}")
            compare(raw_members, members, f"model.onnx, fold {fold}")
            compare(raw_value, value, f"model.onnx, mean of rows of fold {fold}")
            if spread and not np.allclose(more[0], spread[0], atol=TOLERANCE):
                raise ExportMismatch(f"model.onnx, fold {fold}: the members' spread differs")
            if fault := added(raw_value, more):
                raise ExportMismatch(f"model.onnx, fold {fold}: {fault}")
    numbers = np.repeat(ODD_NUMBERS[:, None], len(design.numeric), axis=1)
    unknown = [vocabulary.unknown for vocabulary in design.categorical]
    codes = np.tile(np.array(unknown, np.int64), (len(numbers), 1))
    value, *_ = core_session.run(None, {"numbers": numbers, "codes": codes})
    raw_value, *_ = full_session.run(None, _raw_inputs(design, numbers, codes))
    compare(raw_value, value, "model.onnx, a row with every cell missing or odd")


def session(graph: bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """An onnxruntime session on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _compare(target: Target, found: np.ndarray, expected: np.ndarray, what: str) -> None:
    """Compare predictions (N, …) or (K, N, …) on the scale of one fold."""
    apart = target.apart(found, expected)
    if not np.all(apart <= TOLERANCE):  # NaN counts as a difference
        raise ExportMismatch(
            f"{what}: predictions differ by {np.max(apart):.2g}, more than {TOLERANCE:g}"
        )


def _raw_inputs(design: Design, numbers: np.ndarray, codes: np.ndarray) -> dict[str, np.ndarray]:
    """The same rows as raw columns; an unknown level is a text that is in no vocabulary."""
    names = input_names(design)
    columns: dict[str, np.ndarray] = {}
    for place, name in enumerate(design.numeric):
        columns[names[name]] = numbers[:, [place]]
    for place, vocabulary in enumerate(design.categorical):
        texts = [level or "" for level in vocabulary.levels] + [UNKNOWN_TEXT]
        columns[names[vocabulary.name]] = np.array(texts, object)[codes[:, [place]]]
    return columns
