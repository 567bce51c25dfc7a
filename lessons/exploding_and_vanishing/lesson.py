"""What is multiplied a hundred times explodes or vanishes, unless its size is kept near one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from lessons.lab import Lab, Run
from lessons.outcome import Check, Figures, Outcome, Plot
from models.members import Member
from models.training.engine import Trainer
from models.training.inputs import Inputs
from models.training.progress import Monitor

MATRICES = 100
SIDE = 4
SCALES = (0.5, 1.0, 2.0)
ROWS = 400
LAYERS = 20
DEPTH = 16  # hidden layers of a network that is trained
WIDTH = 32
EPOCHS = 25
CLIP = 0.01
RULES: dict[str, object] = {
    "deviation 0.05": {"type": "normal", "std": 0.05},
    "Kaiming": "kaiming_normal",
    "deviation 1": {"type": "normal", "std": 1.0},
}


def waves(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """A smooth target of four columns."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4))
    y = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.5 * x[:, 3]
    return pd.DataFrame(x, columns=list("abcd")).assign(y=y + 0.1 * rng.normal(size=rows))


def run(lab: Lab) -> Outcome:
    products = {scale: product_norms(scale) for scale in SCALES}
    halved, _, doubled = (math.log10(products[scale][-1]) for scale in SCALES)

    gradients = {name: layer_gradients(rule) for name, rule in RULES.items()}
    sizes = {name: float(np.median(norms)) for name, norms in gradients.items()}

    frame = waves()
    steep = {"name": "sgd", "learning_rate": 1.0}
    adam: dict[str, object] = {"learning_rate": 0.003}
    settings: list[tuple[object, dict[str, object]]] = [
        *((rule, adam) for rule in RULES.values()),
        ("kaiming_normal", {**steep, "gradient_clip": CLIP}),
    ]
    runs = lab.train_together(
        frame,
        [_spec(rule, optimizer) for rule, optimizer in settings],
    )
    variance = float(np.var(runs[0].actual))
    errors = [float(own.metrics["rmse"] or math.inf) ** 2 / variance for own in runs]
    small, kaiming, large, clipped = errors
    broken = _broken(lab, frame, runs[0], steep)
    return Outcome(
        figures=[
            Figures(
                title=f"a product of {MATRICES} random {SIDE} × {SIDE} matrices",
                columns=["deviation × √side", "norm of the product"],
                rows=[[scale, norms[-1]] for scale, norms in products.items()],
            ),
            Figures(
                title=f"gradients of {LAYERS} layers before the first step",
                columns=["initial weights", "first layer", "median layer", "last layer"],
                rows=[
                    [name, norms[0], sizes[name], norms[-1]] for name, norms in gradients.items()
                ],
            ),
            Figures(
                title=f"{DEPTH} hidden layers after {EPOCHS} epochs, out of fold",
                columns=["initial weights", "optimiser", "error, in variances of the target"],
                rows=[
                    ["deviation 0.05", "Adam", small],
                    ["Kaiming", "Adam", kaiming],
                    ["deviation 1", "Adam", large],
                    ["Kaiming", "SGD, rate 1", f"NaN: {broken}"],
                    ["Kaiming", f"SGD, rate 1, clipped to {CLIP:g}", clipped],
                ],
            ),
        ],
        plots=[
            Plot.lines(
                "norm of a product of random matrices",
                "matrices",
                "norm",
                {
                    f"deviation {scale:g} / √{SIDE}": (range(1, MATRICES + 1), norms)
                    for scale, norms in products.items()
                },
                logarithmic="y",
            ),
            Plot.lines(
                f"gradient by layer, {LAYERS} layers",
                "layer",
                "norm of the gradient",
                {name: (range(1, LAYERS + 1), norms) for name, norms in gradients.items()},
                logarithmic="y",
            ),
        ],
        checks=[
            Check.at_most("deviation 0.5 / √4: log10 of the product's norm", halved, -28),
            Check.at_least("deviation 2 / √4: log10 of the product's norm", doubled, 16),
            Check.at_most("median gradient, deviation 0.05", sizes["deviation 0.05"], 1e-6),
            Check.at_least("median gradient, deviation 1", sizes["deviation 1"], 1e6),
            Check.at_most(
                "Kaiming: largest over smallest gradient of a layer",
                max(gradients["Kaiming"]) / min(gradients["Kaiming"]),
                100,
            ),
            Check.at_least("error after training, deviation 0.05", small, 0.9),
            Check.at_least("error after training, deviation 1", large, 2),
            Check.at_most("error after training, Kaiming", kaiming, 0.7),
            Check.at_least(
                "a rate of 1 ends in NaN at a layer with a name", float("hidden" in broken), 1
            ),
            Check.at_most("error with the same rate, clipped", clipped, 0.8),
        ],
        note=(
            f"The gradients by layer are those of {LAYERS} layers in torch; a spec takes up to "
            f"{DEPTH} hidden layers."
        ),
    )


def _spec(rule: object, optimizer: dict[str, object]) -> dict[str, Any]:
    return {
        "target": "y",
        "k_folds": 2,
        "dropout": 0,
        "early_stopping": None,
        "max_epochs": EPOCHS,
        "architecture": {
            "type": "mlp",
            "hidden_sizes": [WIDTH] * DEPTH,
            "activation": "relu",
            "initialization": rule,
        },
        "optimizer": optimizer,
    }


def product_norms(scale: float, seed: int = 0) -> list[float]:
    """Frobenius norms of the products of 1 … 100 random matrices whose entries have the deviation
    scale / √side."""
    rng = np.random.default_rng(seed)
    product, norms = np.eye(SIDE), []
    for _ in range(MATRICES):
        product = rng.normal(0, scale / math.sqrt(SIDE), (SIDE, SIDE)) @ product
        norms.append(float(np.linalg.norm(product)))
    return norms


def layer_gradients(rule: object, seed: int = 0) -> list[float]:
    """Norms of the gradients of each layer's weights on normal rows and targets."""
    generator = torch.Generator().manual_seed(seed)
    # float64, because float32 ends at 3e38.
    hidden = torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64)
    target = torch.randn(ROWS, 1, generator=generator, dtype=torch.float64)
    weights = []
    for outputs in [*[WIDTH] * (LAYERS - 1), 1]:
        weight = torch.empty(outputs, WIDTH, dtype=torch.float64)
        if isinstance(rule, dict):
            nn.init.normal_(weight, std=rule["std"], generator=generator)
        else:
            nn.init.kaiming_normal_(weight, generator=generator)
        weights.append(weight.requires_grad_())
    for weight in weights[:-1]:
        hidden = torch.relu(hidden @ weight.T)
    ((hidden @ weights[-1].T - target) ** 2).mean().backward()
    return [float(weight.grad.norm()) for weight in weights if weight.grad is not None]


def _broken(lab: Lab, frame: pd.DataFrame, known: Run, optimizer: dict[str, object]) -> str:
    """Where a fold's numbers stop being finite; nothing of it can be served."""
    spec = lab.resolve(frame, **_spec("kaiming_normal", optimizer))
    inputs = Inputs(spec, known.design, known.folds, torch.device("cpu"))
    (course,) = Trainer([Member(0, spec, 0, 0)], inputs).train(Monitor()).courses
    return str(course.trouble or "")
