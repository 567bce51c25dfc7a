"""Sixteen bits: float16 ends at 65,504 and loses small gradients, bfloat16 has fewer digits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lessons.lab import Lab
from lessons.outcome import Check, Figures, Outcome, Plot

ROWS = 256
COLUMNS = 6
WIDTH = 32
STEPS = 300
RATE = 0.005
UNIT = 1e-3  # of the target: so its gradients are small
FIRST_SCALE = 2.0**32  # too large, and halved until it fits
GROWS_AFTER = 50  # steps without an overflow
TYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class Training:
    """losses : mean squared errors by step, in variances of the target
    lost : share of the gradient's numbers that float32 has and this type rounds to zero, at first
    skipped : steps whose gradients overflowed
    """

    losses: list[float]
    lost: float
    skipped: int


def run(lab: Lab) -> Outcome:  # noqa: ARG001
    x, y = table()
    trained = {
        **{name: train(x, y, kind) for name, kind in TYPES.items()},
        "float16, loss scaled": train(x, y, torch.float16, scaled=True),
        "bfloat16, weights too": train(x, y, torch.bfloat16, keeps_float32=False),
    }
    final = {name: own.losses[-1] for name, own in trained.items()}
    rescued = trained["float16, loss scaled"]
    largest = {name: torch.finfo(kind).max for name, kind in TYPES.items()}
    smallest = {name: torch.finfo(kind).smallest_normal for name, kind in TYPES.items()}
    after_one = {name: 1 + torch.finfo(kind).eps for name, kind in TYPES.items()}
    # The error of a price in thousands, squared.
    squares = {name: float(torch.tensor(300.0, dtype=kind) ** 2) for name, kind in TYPES.items()}
    return Outcome(
        figures=[
            Figures(
                title="what a number can be",
                columns=["type", "largest", "smallest at full precision", "next after 1", "300²"],
                rows=[
                    [
                        name,
                        largest[name],
                        smallest[name],
                        after_one[name],
                        squares[name] if np.isfinite(squares[name]) else "infinite",
                    ]
                    for name in TYPES
                ],
            ),
            Figures(
                title=f"a network after {STEPS} steps",
                columns=["type", "error, in variances", "gradients lost", "steps skipped"],
                rows=[
                    [name, own.losses[-1], own.lost, own.skipped] for name, own in trained.items()
                ],
            ),
        ],
        plots=[
            Plot.lines(
                "error while training",
                "step",
                "mean squared error, in variances",
                {name: (range(0, STEPS, 10), own.losses[::10]) for name, own in trained.items()},
                logarithmic="y",
            )
        ],
        checks=[
            Check.at_most("largest float16, off 65,504", abs(largest["float16"] - 65_504), 0),
            Check.at_least("300² is infinite in float16", squares["float16"], float("inf")),
            Check.at_most(
                "300² in bfloat16, relative error", abs(squares["bfloat16"] / 9e4 - 1), 0.004
            ),
            Check.at_least("float16: share of the gradients lost", trained["float16"].lost, 0.5),
            Check.at_most("float16, loss scaled: share lost", rescued.lost, 0.05),
            Check.at_most("float32: error", final["float32"], 0.1),
            Check.at_least("float16: error over float32", final["float16"] / final["float32"], 3),
            Check.at_most(
                "float16, loss scaled: error over float32",
                final["float16, loss scaled"] / final["float32"],
                1.5,
            ),
            Check.at_most("bfloat16: error", final["bfloat16"], 0.2),
            Check.at_least(
                "bfloat16 weights: error over float32 ones",
                final["bfloat16, weights too"] / final["bfloat16"],
                1.2,
            ),
            Check.at_least("loss scaled: steps skipped until the scale fits", rescued.skipped, 1),
        ],
        note=(
            "Emulated on a CPU: results are rounded to the type and kept in float32. The speed of "
            "such types on a GPU is not shown. A spec's `precision` trains with them, float16 with "
            "its loss scaled."
        ),
    )


def table(seed: int = 0) -> tuple[Tensor, Tensor]:
    """(rows, columns) and a target in small units, (rows,)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, COLUMNS))
    y = UNIT * (np.sin(x[:, 0]) + 0.5 * x[:, 1] * x[:, 2])
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


def train(
    x: Tensor,
    y: Tensor,
    kind: torch.dtype,
    *,
    scaled: bool = False,
    keeps_float32: bool = True,
    seed: int = 0,
) -> Training:
    """All rows in each step of Adam. Weights are kept in float32 and rounded to `kind` for the
    products, or kept in `kind` too."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [COLUMNS, WIDTH, WIDTH, 1]
    stored = kind if not keeps_float32 else torch.float32
    weights = [
        (torch.randn(a, b, generator=generator) * (2 / a) ** 0.5).to(stored).requires_grad_()
        for a, b in pairwise(sizes)
    ]
    with torch.no_grad():
        weights[-1] *= UNIT
    # In units of the weights that it moves, so that the last layer moves by small steps.
    optimizer = torch.optim.Adam(
        [{"params": weights[:-1], "lr": RATE}, {"params": weights[-1:], "lr": RATE * UNIT}],
        eps=1e-16,
    )
    variance = float(y.var(correction=0))
    _, exact = gradients(weights, x, y, torch.float32)
    scale, fine, skipped, lost, losses = FIRST_SCALE if scaled else 1.0, 0, 0, None, []
    for _ in range(STEPS):
        loss, found = gradients(weights, x, y, kind, scale)
        losses.append(loss / variance)
        if not all(bool(torch.isfinite(own).all()) for own in found):
            scale, fine, skipped = scale / 2, 0, skipped + 1
            continue
        if lost is None:
            lost = _share_lost(found, exact)
        for weight, own in zip(weights, found, strict=True):
            weight.grad = (own.float() / scale).to(stored)
        optimizer.step()
        fine += 1
        if scaled and fine == GROWS_AFTER:
            scale, fine = scale * 2, 0
    return Training(losses, lost or 0.0, skipped)


def gradients(
    weights: list[Tensor], x: Tensor, y: Tensor, kind: torch.dtype, scale: float = 1.0
) -> tuple[float, list[Tensor]]:
    """The loss, and the gradients of `scale` times it, both ways in `kind`. The loss itself is
    taken in float32, as is usual."""
    leaves = [weight.detach().float().requires_grad_() for weight in weights]
    rounded = [_rounded(leaf, kind) for leaf in leaves]
    hidden = _rounded(x, kind)
    for weight in rounded[:-1]:
        hidden = torch.relu(_rounded(hidden @ weight, kind))
    output = _rounded(hidden @ rounded[-1], kind)
    loss = (output[:, 0] - y).square().mean()
    return float(loss.detach()), list(torch.autograd.grad(loss * scale, leaves))


def _rounded(x: Tensor, kind: torch.dtype) -> Tensor:
    found: Tensor = _Round.apply(x, kind)  # type: ignore[no-untyped-call]
    return found


class _Round(torch.autograd.Function):
    """Rounds numbers, and the gradients that come back, to a type; they stay float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kind: torch.dtype) -> Tensor:
        ctx.kind = kind
        return x.to(kind).float()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0].to(ctx.kind).float(), None


def _share_lost(found: list[Tensor], exact: list[Tensor]) -> float:
    lost = sum(int(((a == 0) & (b != 0)).sum()) for a, b in zip(found, exact, strict=True))
    return lost / sum(int((b != 0).sum()) for b in exact)
