"""Adds the predicted classes to an exported graph."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from models.objectives.classification.answers import Classes
from models.objectives.classification.cells import LABEL, PROBABILITIES

PREFIX = "foldhouse:label:"


def add_labels(graph: onnx.ModelProto, classes: Classes) -> None:
    """Add the output `label` (N,), which follows from `probabilities` (N, C), in place."""
    place = f"{PREFIX}place"
    constants: dict[str, onnx.TensorProto] = {}

    def constant(name: str, element: int, value: float) -> str:
        constants[name] = helper.make_tensor(f"{PREFIX}{name}", element, [], [value])
        return f"{PREFIX}{name}"

    if classes.positive is None:
        nodes = [helper.make_node("ArgMax", [PROBABILITIES], [place], axis=1, keepdims=0)]
    else:
        own, reached = f"{PREFIX}own", f"{PREFIX}reached"
        positive = constant("positive", TensorProto.INT64, classes.positive)
        other = constant("other", TensorProto.INT64, 1 - classes.positive)
        threshold = constant("threshold", TensorProto.DOUBLE, classes.threshold)
        nodes = [
            helper.make_node("Gather", [PROBABILITIES, positive], [own], axis=1),
            helper.make_node("GreaterOrEqual", [own, threshold], [reached]),
            helper.make_node("Where", [reached, positive, other], [place]),
        ]
    nodes.append(
        helper.make_node(
            "LabelEncoder",
            [place],
            [LABEL],
            domain="ai.onnx.ml",
            keys_int64s=list(range(len(classes.levels))),
            values_strings=classes.levels,
        )
    )
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(constants.values())
    label = helper.make_tensor_value_info(LABEL, TensorProto.STRING, ["N"])
    graph.graph.output.append(label)
    onnx.checker.check_model(graph)
