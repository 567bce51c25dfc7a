"""Initial weights of a line, alone or beside a network: the best one for the fold's training rows.

Adam moves a weight by about its rate per step, and a small table has too few steps to get far from
random weights. From the best line, it only has to move on to the spec's own loss.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from models.members import Member
from models.networks.population import Network
from models.objectives.base import Vector
from models.objectives.learning import LinearProblem
from models.training.inputs import Inputs
from models.training.ragged import RaggedRows

CHUNK_ROWS = 256


def start_at_the_line(network: Network, members: Sequence[Member], inputs: Inputs) -> None:
    """Fill the weights of members whose spec starts from least squares, in place. Other layers add
    nothing to the line before they have learned."""
    solved: dict[int, tuple[Vector, Vector]] = {}
    for place, member in enumerate(members):
        line = network.line(member)
        if line is None or member.trial in inputs.earlier:
            continue
        if member.fold not in solved:
            own = inputs.of([member.fold])
            solved[member.fold] = inputs.learning.line(
                _problem(own, inputs.train_rows[member.fold])
            )
        weights, biases = solved[member.fold]
        with torch.no_grad():
            for layer in network.output_layers():
                layer.weight[place] = 0.0
            line.weight[place] = torch.from_numpy(weights)
            line.bias[place] = torch.from_numpy(biases)


def _problem(inputs: Inputs, rows: torch.Tensor) -> LinearProblem:
    chosen = RaggedRows.pad([rows], inputs.dtype, inputs.device)
    chunks = [chosen.span(start, start + CHUNK_ROWS) for start in range(0, len(rows), CHUNK_ROWS)]

    def x(place: int) -> Vector:
        found: Vector = inputs.rows(chunks[place])[0].double().cpu().numpy()
        return found

    return LinearProblem(
        y=np.concatenate([inputs.targets(chunk)[0].double().cpu().numpy() for chunk in chunks]),
        inputs=inputs.shape.inputs,
        outputs=inputs.shape.outputs,
        chunks=len(chunks),
        x=x,
    )
