"""Gradient boosted regression trees."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from models.networks.fitted import FittedNetwork, Problem
from models.networks.population import Noise, Shape
from models.networks.tree_nodes import LEAF, ML_DOMAIN, ML_OPSET, Trees, tree_node
from models.planning.fitting import leaves_of
from models.spec import TrainingSpec
from models.spec.architectures import BoostedTreesArchitecture

# What torch's exporter writes for a member; `fill_placeholders` replaces it.
PLACEHOLDER_DOMAIN, PLACEHOLDER = "foldhouse", "Trees"
# LightGBM's objectives; `huber` leaves the square at one standard deviation, like the loss.
OBJECTIVES = {"absolute_error": "regression_l1", "huber": "huber"}
SEEDS = 2**31  # LightGBM takes an int


class BoostedTrees(FittedNetwork):
    """The sum of T trees of up to M nodes per member, as in `tree_nodes.Trees`.

    With three or more classes each iteration grows a tree for each; with two a tree for the second,
    whose probability is then the sigmoid of its sum.

    Input: (K, B, inputs). Output: (K, B, 1, outputs).
    """

    feature: Tensor  # (K, T, M) int32
    threshold: Tensor  # (K, T, M) float32
    left: Tensor  # (K, T, M) int16
    right: Tensor  # (K, T, M) int16
    value: Tensor  # (K, T, M) float32

    def __init__(self, members: int, shape: Shape, spec: TrainingSpec) -> None:
        super().__init__()
        architecture = spec.architecture
        assert isinstance(architecture, BoostedTreesArchitecture)
        self.settings = architecture
        self.outputs = shape.outputs
        self.leaves = leaves_of(architecture, shape.rows)
        self.per_iteration = shape.outputs if shape.outputs > 2 else 1
        self.objective = OBJECTIVES.get(spec.loss or "", "regression")
        size = (
            members,
            architecture.iterations * self.per_iteration,
            2 * self.leaves - 1,
        )
        self.register_buffer("feature", torch.full(size, LEAF, dtype=torch.int32))
        for name, kind in (
            ("threshold", torch.float32),
            ("left", torch.int16),
            ("right", torch.int16),
            ("value", torch.float32),
        ):
            self.register_buffer(name, torch.zeros(size, dtype=kind))
        self._session: _Session | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_session": None}  # a session can't be copied

    def fit(self, place: int, problem: Problem) -> None:
        try:
            import lightgbm  # takes long to import, and only training needs it
        except OSError as error:
            raise ValueError(
                f"boosted trees need a system library ({error}): install libgomp1"
            ) from error
        data = lightgbm.Dataset(problem.x, problem.y, weight=problem.weights)
        try:
            booster = lightgbm.train(self._settings(problem), data, self.settings.iterations)
        except lightgbm.basic.LightGBMError as error:
            raise ValueError(f"LightGBM refuses: {error}") from error
        parts = booster.model_to_string(num_iteration=-1).split("\nTree=")[1:]
        for buffer in self.buffers():
            buffer[place] = LEAF if buffer is self.feature else 0
        for tree, part in enumerate(parts):
            self._write(
                place, tree, dict(line.split("=") for line in part.split("\n") if "=" in line)
            )
        self._limit_unseen(place, problem)
        if not torch.isfinite(self.value[place]).all():
            raise ValueError("the trees have leaves without a finite value: scale the inputs")

    def _limit_unseen(self, place: int, problem: Problem) -> None:
        """A class without rows gets the score of half a row, not LightGBM's of next to nothing: one
        row of it to predict would outweigh all others."""
        if problem.outputs <= 2:
            return
        for unseen in set(range(problem.outputs)) - {*problem.y.astype(int).tolist()}:
            self.feature[place, unseen :: problem.outputs] = LEAF
            self.value[place, unseen :: problem.outputs] = 0.0
            self.value[place, unseen, 0] = -math.log(2 * len(problem.y))

    def _settings(self, problem: Problem) -> dict[str, Any]:
        """LightGBM's parameters."""
        settings = self.settings
        objective: dict[str, Any] = {"objective": self.objective}
        if problem.outputs == 2:
            objective = {"objective": "binary"}
        elif problem.outputs > 2:
            objective = {"objective": "multiclass", "num_class": problem.outputs}
        return objective | {
            "learning_rate": settings.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": settings.leaf_rows,
            "feature_fraction_bynode": settings.column_share,
            "bagging_fraction": max(settings.row_share, 1 / len(problem.y)),  # a row at least
            "bagging_freq": 1,
            "seed": problem.seed % SEEDS,
            "deterministic": True,
            "force_row_wise": True,  # chosen by a timing otherwise, and sums depend on it
            "num_threads": 1,  # as do they on the number of threads
            "use_missing": False,
            "verbose": -1,
        }

    def _write(self, place: int, tree: int, text: dict[str, str]) -> None:
        """One tree as LightGBM writes it; a child below 0 is −1 − its leaf."""

        def numbers(name: str, kind: type) -> Tensor:
            return torch.from_numpy(np.array(text[name].split(), kind))

        value = numbers("leaf_value", np.float64)
        splits = len(value) - 1
        self.value[place, tree, splits : 2 * splits + 1] = value.float()
        if splits == 0:
            return
        self.feature[place, tree, :splits] = numbers("split_feature", np.int32)
        thresholds = rounded_down(numbers("threshold", np.float64).numpy())
        self.threshold[place, tree, :splits] = torch.from_numpy(thresholds)
        for side, name in ((self.left, "left_child"), (self.right, "right_child")):
            child = numbers(name, np.int16)
            side[place, tree, :splits] = torch.where(child < 0, splits - 1 - child, child)

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:  # noqa: ARG002
        members = range(len(self.feature))
        if torch.onnx.is_in_onnx_export():
            parts = [
                torch.onnx.ops.symbolic(
                    f"{PLACEHOLDER_DOMAIN}::{PLACEHOLDER}",
                    (x[member].float(),),
                    {"owner": id(self), "member": member},
                    dtype=torch.float32,
                    shape=(x.shape[1], self.outputs),
                    version=1,
                )
                for member in members
            ]
            return torch.stack(parts).to(x.dtype).unsqueeze(2)
        if self._session is None or not self._session.is_of(self):
            self._session = _Session(self)
        rows = x.detach().to("cpu", torch.float32).numpy()
        return torch.from_numpy(self._session.run(rows)).to(x).unsqueeze(2)

    def trees(self, member: int) -> Trees:
        """The trees of one member."""
        place = torch.arange(self.feature.shape[1]) % self.per_iteration
        outputs = place + (self.outputs == 2)
        parts = (self.feature, self.threshold, self.left, self.right, self.value)
        feature, threshold, left, right, value = (part[member].cpu().numpy() for part in parts)
        return Trees(feature, threshold, left, right, value, outputs.numpy())


class _Session:
    """Trees in onnxruntime, which takes a hundredth of the time of torch's own operations."""

    def __init__(self, network: BoostedTrees) -> None:
        self._buffers = list(network.buffers())
        self._versions = [buffer._version for buffer in self._buffers]
        members = range(len(network.feature))
        nodes = [
            tree_node(network.trees(member), network.outputs, f"x{member}", f"y{member}")
            for member in members
        ]
        graph = helper.make_graph(
            nodes,
            "trees",
            [
                helper.make_tensor_value_info(f"x{k}", TensorProto.FLOAT, [None, None])
                for k in members
            ],
            [
                helper.make_tensor_value_info(f"y{k}", TensorProto.FLOAT, [None, None])
                for k in members
            ],
        )
        imports = [helper.make_opsetid("", 18), helper.make_opsetid(ML_DOMAIN, ML_OPSET)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=10)
        options = onnxruntime.SessionOptions()
        # Without threads of its own it also works in a forked process.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def is_of(self, network: BoostedTrees) -> bool:
        """Whether the network's trees are still those of this session."""
        buffers = list(network.buffers())
        return all(a is b for a, b in zip(buffers, self._buffers, strict=True)) and (
            [buffer._version for buffer in buffers] == self._versions
        )

    def run(self, x: np.ndarray) -> np.ndarray:
        """(K, B, inputs) to (K, B, outputs)."""
        given = {f"x{member}": rows for member, rows in enumerate(x)}
        return np.stack(self._session.run(None, given))


def rounded_down(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 numbers that are not above: a float32 x is at most t exactly if it is at
    most this."""
    nearest = thresholds.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest > thresholds, below, nearest)


def fill_placeholders(graph: onnx.ModelProto, model: nn.Module) -> None:
    """Replace the placeholders of an exported model's boosted trees by their trees."""
    owners = {id(part): part for part in model.modules() if isinstance(part, BoostedTrees)}
    nodes = []
    for node in graph.graph.node:
        if node.domain == PLACEHOLDER_DOMAIN and node.op_type == PLACEHOLDER:
            given = {attribute.name: attribute.i for attribute in node.attribute}
            owner = owners[given["owner"]]
            trees = owner.trees(given["member"])
            nodes.append(tree_node(trees, owner.outputs, node.input[0], node.output[0]))
        else:
            nodes.append(node)
    if not owners:
        return
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    kept = [
        known for known in graph.opset_import if known.domain not in (PLACEHOLDER_DOMAIN, ML_DOMAIN)
    ]
    del graph.opset_import[:]
    graph.opset_import.extend([*kept, helper.make_opsetid(ML_DOMAIN, ML_OPSET)])
