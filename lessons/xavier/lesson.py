"""Xavier's rule keeps the variance through the layers both ways; equal weights stay equal."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lessons.lab import Lab, Run
from lessons.outcome import Check, Figures, Outcome, Plot

LAYERS = 20
WIDTH = 256
BATCH = 1_000
ROWS = 300
FACTORS = (0.5, 1.0, 2.0)  # of Xavier's variance
UNITS = 8


def rings(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """A target that bends: no single unit can follow it."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-1, 1, (2, rows))
    target = np.sin(3 * x) * np.cos(3 * y) + 0.05 * rng.normal(size=rows)
    return pd.DataFrame({"x": x, "y": y, "target": target})


def run(lab: Lab) -> Outcome:
    flows = {factor: flow(factor) for factor in FACTORS}
    forward = {factor: ahead[-1] / ahead[0] for factor, (ahead, _) in flows.items()}
    backward = {factor: back[0] / back[-1] for factor, (_, back) in flows.items()}
    # Layers of unlike widths: one variance cannot keep both directions.
    ahead_only, back_only = (narrowing(rule) for rule in ("inputs", "outputs"))
    both = narrowing("both")

    frame = rings()
    spec = {
        "target": "target",
        "dropout": 0,
        "early_stopping": None,
        "max_epochs": 150,
        "batch_size": 32,
        "optimizer": {"learning_rate": 0.01},
    }
    rules: dict[str, object] = {
        "Xavier": "xavier_uniform",
        "all 0.1": {"type": "constant", "value": 0.1},
        "all 0": "constant",
    }
    runs = dict(
        zip(
            rules,
            lab.train_together(
                frame, [{**spec, "architecture": _network(rule)} for rule in rules.values()]
            ),
            strict=True,
        )
    )
    variance = float(np.var(frame["target"]))
    errors = {name: float(own.metrics["rmse"] or 0) ** 2 / variance for name, own in runs.items()}
    spreads = {name: _spread(own) for name, own in runs.items()}
    return Outcome(
        figures=[
            Figures(
                title=f"share of the variance that {LAYERS} layers of {WIDTH} units keep",
                columns=["variance of a weight × width", "activations", "gradients"],
                rows=[[factor, forward[factor], backward[factor]] for factor in FACTORS],
            ),
            Figures(
                title="one layer from 512 to 128 units",
                columns=["variance of a weight", "activations kept", "gradients kept"],
                rows=[
                    ["1 / inputs", *ahead_only],
                    ["1 / outputs", *back_only],
                    ["2 / (inputs + outputs)", *both],
                ],
            ),
            Figures(
                title=f"{UNITS} hidden units after training",
                columns=["initial weights", "largest difference of two units", "error out of fold"],
                rows=[[name, spreads[name], errors[name]] for name in rules],
            ),
        ],
        plots=[
            Plot.lines(
                "variance of the activations",
                "layer",
                "variance",
                {
                    f"variance {factor:g} / width": (range(LAYERS + 1), ahead)
                    for factor, (ahead, _) in flows.items()
                },
                logarithmic="y",
            ),
            Plot.lines(
                "variance of the gradients",
                "layer",
                "variance",
                {
                    f"variance {factor:g} / width": (range(LAYERS + 1), back)
                    for factor, (_, back) in flows.items()
                },
                logarithmic="y",
            ),
        ],
        checks=[
            Check.at_most("Xavier, activations: factor off 1", _off(forward[1.0]), 2),
            Check.at_most("Xavier, gradients: factor off 1", _off(backward[1.0]), 2),
            Check.at_most(
                "half the variance: activations, factor off 2^-20",
                _off(forward[0.5] * 2**LAYERS),
                2,
            ),
            Check.at_most(
                "twice the variance: gradients, factor off 2^20",
                _off(backward[2.0] / 2**LAYERS),
                2,
            ),
            Check.at_most(
                "512 to 128 units, 1 / inputs: gradients kept, off a quarter",
                abs(ahead_only[1] - 0.25),
                0.03,
            ),
            Check.at_most("all 0.1: largest difference of two units", spreads["all 0.1"], 1e-4),
            Check.at_least("Xavier: largest difference of two units", spreads["Xavier"], 0.5),
            Check.at_most("Xavier: error out of fold", errors["Xavier"], 0.3),
            Check.at_least("all 0.1: error out of fold", errors["all 0.1"], 0.6),
            Check.at_least("all 0: error out of fold", errors["all 0"], 0.9),
        ],
    )


def flow(factor: float, seed: int = 0) -> tuple[list[float], list[float]]:
    """Variances of the activations and of the gradients before each layer and after the last.

    Identity layers, whose weights have the variance factor / width; the last layer's gradient is
    random.
    """
    generator = torch.Generator().manual_seed(seed)
    std = math.sqrt(factor / WIDTH)
    hidden = [torch.randn(BATCH, WIDTH, generator=generator)]
    weights = [torch.randn(WIDTH, WIDTH, generator=generator) * std for _ in range(LAYERS)]
    for weight in weights:
        hidden.append(hidden[-1] @ weight)
    slopes = [torch.randn(BATCH, WIDTH, generator=generator)]
    for weight in reversed(weights):
        slopes.append(slopes[-1] @ weight.T)
    return [_variance(own) for own in hidden], [_variance(own) for own in reversed(slopes)]


def narrowing(keeps: str, inputs: int = 512, outputs: int = 128) -> tuple[float, float]:
    """What a layer of unlike ends keeps of the variance of activations, and of gradients."""
    generator = torch.Generator().manual_seed(0)
    variances = {"inputs": 1 / inputs, "outputs": 1 / outputs, "both": 2 / (inputs + outputs)}
    weight = torch.randn(inputs, outputs, generator=generator) * math.sqrt(variances[keeps])
    hidden = torch.randn(BATCH, inputs, generator=generator)
    slopes = torch.randn(BATCH, outputs, generator=generator)
    return _variance(hidden @ weight), _variance(slopes @ weight.T)


def _network(rule: object) -> dict[str, object]:
    return {
        "type": "mlp",
        "hidden_sizes": [UNITS],
        "activation": "tanh",
        "initialization": rule,
    }


def _variance(values: Tensor) -> float:
    return float(values.var())


def _off(factor: float) -> float:
    """How many times too large or too small; 1 is right."""
    return max(factor, 1 / factor)


def _spread(own: Run) -> float:
    """Largest difference between two hidden units' weights from the same input, in any fold."""
    (first, *_) = own.trained[0].network.linear_layers()
    weight = first.weight.detach()  # (F, inputs, units)
    return float((weight.amax(2) - weight.amin(2)).max())
