"""Networks as ONNX graphs, without the rest of a served model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from models.export import exporter
from models.networks.boosted_trees import fill_placeholders
from models.networks.population import Network


class Stacked(nn.Module):
    """Several populations that predict the same rows, (N, inputs) float64."""

    def __init__(self, parts: list[Network], members: list[int]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.members = members

    def forward(self, rows: Tensor) -> Tensor:
        x = rows.float()
        return torch.cat(
            [
                part.predict(x.expand(members, -1, -1))
                for part, members in zip(self.parts, self.members, strict=True)
            ]
        )


def graph_of(model: Stacked, inputs: int) -> onnx.ModelProto:
    """Exported for any number of rows."""
    example = torch.zeros(2, inputs, dtype=torch.float64)
    rows = torch.export.Dim("N")
    graph = exporter.exported(model, (example,), inputs=["rows"], dynamic={"rows": {0: rows}})
    fill_placeholders(graph, model)
    return graph


def exported(network: Network, inputs: int) -> Callable[[np.ndarray], np.ndarray]:
    """From rows (N, inputs) float64 to predictions (K, N, outputs) of the graph."""
    members = len(next(network.buffers()))
    graph = graph_of(Stacked([network], [members]), inputs)
    session = onnxruntime.InferenceSession(graph.SerializeToString())

    def run(rows: np.ndarray) -> np.ndarray:
        (found,) = session.run(None, {"rows": rows})
        return np.asarray(found)

    return run
