"""What a backward pass keeps: every layer's activations, for every row of the batch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lessons.lab import Lab
from lessons.outcome import Check, Figures, Outcome, Plot
from models.members import Member
from models.networks import build_network
from models.networks.population import Shape
from models.planning.estimate import FLOAT_BYTES, layer_widths, member_bytes
from models.spec import TrainingSpec

COLUMNS = 20
WIDTH = 128
DEPTHS = (1, 2, 4, 8, 16)
BATCHES = (16, 64, 256, 1_024)
DEPTH, BATCH = 4, 256  # while the other changes
KILOBYTE = 1_024


def table(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    """Only its shape matters."""
    rng = np.random.default_rng(seed)
    columns = [f"x{place}" for place in range(COLUMNS)]
    frame = pd.DataFrame(rng.normal(size=(rows, COLUMNS)), columns=columns)
    return frame.assign(y=rng.normal(size=rows))


def run(lab: Lab) -> Outcome:
    frame = table()

    def spec(depth: int, batch: int) -> TrainingSpec:
        architecture = {"type": "mlp", "hidden_sizes": [WIDTH] * depth, "activation": "relu"}
        return lab.resolve(
            frame, target="y", dropout=0, batch_size=batch, architecture=architecture
        )

    by_depth = {depth: spec(depth, BATCH) for depth in DEPTHS}
    by_batch = {batch: spec(DEPTH, batch) for batch in BATCHES}
    depths = {depth: kept_bytes(own) for depth, own in by_depth.items()}
    batches = {batch: kept_bytes(own) for batch, own in by_batch.items()}
    wrong = max(
        abs(kept / formula_bytes(own) - 1)
        for measured, specs in ((depths, by_depth), (batches, by_batch))
        for kept, own in zip(measured.values(), specs.values(), strict=True)
    )
    estimates = {depth: planned_bytes(own) for depth, own in by_depth.items()}
    without = kept_bytes(by_depth[DEPTH], learns=False)
    layer = (depths[16] - depths[8]) / 8
    row = (batches[1_024] - batches[256]) / 768
    return Outcome(
        figures=[
            Figures(
                title=f"kilobytes that a graph keeps, batches of {BATCH} rows",
                columns=["hidden layers", "measured", "formula", "planned for a job"],
                rows=[
                    [
                        depth,
                        depths[depth] / KILOBYTE,
                        formula_bytes(own) / KILOBYTE,
                        estimates[depth] / KILOBYTE,
                    ]
                    for depth, own in by_depth.items()
                ],
            ),
            Figures(
                title=f"kilobytes that a graph keeps, {DEPTH} hidden layers",
                columns=["rows of a batch", "measured", "formula"],
                rows=[
                    [batch, batches[batch] / KILOBYTE, formula_bytes(own) / KILOBYTE]
                    for batch, own in by_batch.items()
                ]
                + [[f"{BATCH}, predicting", without / KILOBYTE, 0.0]],
            ),
        ],
        plots=[
            Plot.lines(
                "what a graph keeps",
                "hidden layers",
                "kilobytes",
                {
                    "measured": (DEPTHS, [kept / KILOBYTE for kept in depths.values()]),
                    "planned": (DEPTHS, [kept / KILOBYTE for kept in estimates.values()]),
                },
            )
        ],
        checks=[
            Check.at_most("formula against measurement, relative", wrong, 0.01),
            Check.at_most(
                "a layer's bytes, of 4 · rows · units, off 1",
                abs(layer / (FLOAT_BYTES * BATCH * WIDTH) - 1),
                0.01,
            ),
            Check.at_most(
                "a row's bytes, of 4 · (inputs + hidden units + output), off 1",
                abs(row / (FLOAT_BYTES * (COLUMNS + DEPTH * WIDTH + 1)) - 1),
                0.01,
            ),
            Check.at_least(
                "planned bytes over measured ones, least",
                min(estimates[depth] / depths[depth] for depth in DEPTHS),
                1,
            ),
            Check.at_most(
                "planned bytes over measured ones, most",
                max(estimates[depth] / depths[depth] for depth in DEPTHS),
                4,
            ),
            Check.at_most("bytes that predicting keeps", without, 0),
        ],
    )


def kept_bytes(spec: TrainingSpec, *, learns: bool = True) -> int:
    """Of the tensors that autograd saves in a forward pass of one batch, each counted once, without
    the weights, which are there anyway."""
    network = build_network([Member(0, spec, 0, 0)], Shape(COLUMNS, COLUMNS, 1))
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, spec.batch_size, COLUMNS, generator=generator)
    y = torch.randn(1, spec.batch_size, 1, 1, generator=generator)
    storages: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with (
        torch.set_grad_enabled(learns),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        loss = (network(x) - y).square().mean()
    del loss
    return sum(
        tensor.untyped_storage().nbytes()
        for place, tensor in storages.items()
        if place not in weights
    )


def formula_bytes(spec: TrainingSpec) -> int:
    """A batch's inputs, the outputs of its hidden layers, and its errors. ReLU's own output is the
    next layer's input, so it is kept once."""
    return FLOAT_BYTES * spec.batch_size * sum(_widths(spec))


def planned_bytes(spec: TrainingSpec) -> int:
    """What the plan of a job allows for a batch's activations."""
    widths = _widths(spec)
    return member_bytes(spec, widths) - member_bytes(
        spec.model_copy(update={"batch_size": 0}), widths
    )


def _widths(spec: TrainingSpec) -> list[int]:
    return layer_widths(spec.architecture, COLUMNS, 1)
