"""Decision trees as TreeEnsembleRegressor nodes of ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

ML_DOMAIN = "ai.onnx.ml"
ML_OPSET = 3
LEAF = -1  # the feature of a leaf


@dataclass(frozen=True)
class Trees:
    """T trees of up to M nodes. A tree has its n splits first, the root before all, then its n + 1
    leaves, then padding.

    feature : (T, M) the input that a split compares; LEAF in a leaf
    threshold : (T, M) a row with an input of at most so much goes left
    left, right : (T, M) the nodes to go to
    value : (T, M) of a leaf
    outputs : (T,) the output that a tree adds to
    """

    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    left: NDArray[np.int16]
    right: NDArray[np.int16]
    value: NDArray[np.float32]
    outputs: NDArray[np.int64]


def tree_node(trees: Trees, width: int, given: str, result: str) -> onnx.NodeProto:
    """The node that adds up the trees' leaves: `given` (N, inputs) to `result` (N, width)."""
    is_split = trees.feature != LEAF
    splits = is_split.sum(1, keepdims=True)
    tree, node = np.nonzero(np.arange(trees.feature.shape[1]) < 2 * splits + 1)
    split = is_split[tree, node]
    leaf_tree, leaf = tree[~split], node[~split]

    def of_splits(values: NDArray[Any]) -> NDArray[Any]:
        return np.where(split, values[tree, node], 0)

    ensemble = helper.make_node(
        "TreeEnsembleRegressor", [given], [result], domain=ML_DOMAIN, n_targets=width
    )
    ensemble.attribute.extend(
        [
            _attribute("nodes_treeids", tree),
            _attribute("nodes_nodeids", node),
            _attribute("nodes_modes", np.where(split, b"BRANCH_LEQ", b"LEAF")),
            _attribute("nodes_featureids", of_splits(trees.feature)),
            _attribute("nodes_values", of_splits(trees.threshold)),
            _attribute("nodes_truenodeids", of_splits(trees.left)),
            _attribute("nodes_falsenodeids", of_splits(trees.right)),
            _attribute("target_treeids", leaf_tree),
            _attribute("target_nodeids", leaf),
            _attribute("target_ids", trees.outputs[leaf_tree]),
            _attribute("target_weights", trees.value[leaf_tree, leaf]),
        ]
    )
    return ensemble


def _attribute(name: str, values: NDArray[Any]) -> onnx.AttributeProto:
    """`helper.make_attribute` would look at the type of each of a million numbers."""
    match values.dtype.kind:
        case "i":
            kind = onnx.AttributeProto.INTS
            return onnx.AttributeProto(name=name, type=kind, ints=values.tolist())
        case "f":
            kind = onnx.AttributeProto.FLOATS
            return onnx.AttributeProto(name=name, type=kind, floats=values.tolist())
        case _:
            kind = onnx.AttributeProto.STRINGS
            return onnx.AttributeProto(name=name, type=kind, strings=values.tolist())
