"""Twenty rows cannot say what two hundred weights are: decay removes what the rows leave open."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from lessons.lab import Lab, Run, Vector
from lessons.outcome import Check, Figures, Outcome, Plot
from models.data.design import Design
from models.export.served import predict

ROWS = 40  # two folds: each trains on 20
NEW_ROWS = 400
COLUMNS = 200
FACTORS = 5  # that the columns measure, with noise
BATCH = 5
EPOCHS = 125
STEPS = EPOCHS * ROWS // 2 // BATCH
RATE = 0.01
DECAYS = (0.0, 1e-4, 0.1, 1.0, 30.0)
ENOUGH = 1.0  # rate · decay · steps is 5
ADAM_RATE = 0.004


def factors(rows: int, seed: int = 0) -> pd.DataFrame:
    """Columns that are noisy mixtures of a few factors, and a target that depends on these."""
    mixing = np.random.default_rng([seed, 0]).normal(size=(FACTORS, COLUMNS))
    rng = np.random.default_rng([seed, rows])
    hidden = rng.normal(size=(rows, FACTORS))
    columns = hidden @ mixing + 2 * rng.normal(size=(rows, COLUMNS))
    frame = pd.DataFrame(columns, columns=[f"x{place}" for place in range(COLUMNS)])
    return frame.assign(y=hidden.sum(1) + 0.5 * rng.normal(size=rows))


def run(lab: Lab) -> Outcome:
    frame, new = factors(ROWS), factors(NEW_ROWS)
    spec = {
        "target": "y",
        "k_folds": 2,
        "dropout": 0,
        "batch_size": BATCH,
        "max_epochs": EPOCHS,
        "early_stopping": None,
        "preprocessing": {"numeric_scaling": "standard", "target_transform": "none"},
    }
    line = {"type": "linear", "initialization": {"type": "normal", "std": 0.1}}
    plain = {"name": "sgd", "learning_rate": RATE, "momentum": 0, "schedule": "constant"}
    adam = {"name": "adam", "learning_rate": ADAM_RATE, "schedule": "constant"}
    network = {"type": "mlp", "hidden_sizes": [16], "initialization": "default"}
    runs = lab.train_together(
        frame,
        [
            {**spec, "architecture": line, "optimizer": optimizer, "weight_decay": decay}
            for optimizer in (plain, adam)
            for decay in DECAYS
        ],
    )
    biased = lab.train_together(
        frame,
        [
            {**spec, "architecture": network, "optimizer": plain, "weight_decay": decay}
            for decay in (0.0, DECAYS[-1])
        ],
    )
    sgd, adams = runs[: len(DECAYS)], runs[len(DECAYS) :]
    seen = [_error(own) for own in sgd]
    rows, actual = sgd[0].encode(new), new["y"].to_numpy()
    unseen = [_error_of_new(own, rows, actual) for own in sgd]
    norms = [_norm(own) for own in sgd]
    enough = DECAYS.index(ENOUGH)

    # What no row of the fold can move: only decay changes it, by (1 - rate · decay) a step.
    free = [_free_norm(own) for own in sgd]
    kept = [norm / free[0] for norm in free]
    forecast = [(1 - RATE * decay) ** STEPS for decay in DECAYS]
    apart = max(abs(a - b) for a, b in zip(kept, forecast, strict=True))
    adam_norms = [_norm(own) for own in adams]
    weights, biases = ([_hidden_norm(own, name) for own in biased] for name in ("weight", "bias"))

    return Outcome(
        figures=[
            Figures(
                title=f"a line of {COLUMNS} weights on 20 rows, SGD, {STEPS} steps of {RATE:g}",
                columns=[
                    "weight decay",
                    "error on the rows",
                    "error on new rows",
                    "norm of the weights",
                    "kept where no row reaches",
                    "(1 - rate · decay)^steps",
                ],
                rows=[
                    list(row)
                    for row in zip(DECAYS, seen, unseen, norms, kept, forecast, strict=True)
                ],
            ),
            Figures(
                title=f"the same with Adam, {STEPS} steps of {ADAM_RATE:g}",
                columns=["weight decay", "rate · decay · steps", "norm", "error on new rows"],
                rows=[
                    [decay, ADAM_RATE * decay * STEPS, norm, _error_of_new(own, rows, actual)]
                    for decay, norm, own in zip(DECAYS, adam_norms, adams, strict=True)
                ],
            ),
            Figures(
                title="a hidden layer under decay",
                columns=["weight decay", "norm of its weights", "norm of its biases"],
                rows=[
                    [0.0, weights[0], biases[0]],
                    [DECAYS[-1], weights[1], biases[1]],
                ],
            ),
        ],
        plots=[
            Plot.lines(
                "error by weight decay (SGD)",
                "weight decay",
                "mean squared error, in variances of the target",
                {
                    "the rows": (DECAYS[1:], seen[1:]),
                    "new rows": (DECAYS[1:], unseen[1:]),
                },
                logarithmic="x",
            ),
        ],
        checks=[
            Check.at_least(
                "gap between new and seen rows, without decay over with",
                (unseen[0] - seen[0]) / (unseen[enough] - seen[enough]),
                2.0,
            ),
            Check.at_most(
                "error on new rows with decay, of that without", unseen[enough] / unseen[0], 0.6
            ),
            Check.at_most(
                "norm of the weights with decay, of that without", norms[enough] / norms[0], 0.5
            ),
            Check.at_least(
                "error on new rows with far too much decay, of that with enough",
                unseen[-1] / unseen[enough],
                1.3,
            ),
            Check.at_most("distance of what is kept from (1 - rate · decay)^steps", apart, 0.001),
            Check.at_least(
                "Adam with a decay of 1e-4: norm, of that without",
                adam_norms[1] / adam_norms[0],
                0.99,
            ),
            Check.at_most(
                "Adam with a decay of 1: norm, of that without",
                adam_norms[DECAYS.index(1.0)] / adam_norms[0],
                0.5,
            ),
            Check.at_most(
                "strong decay: norm of hidden weights, of that without",
                weights[1] / weights[0],
                0.01,
            ),
            Check.at_least(
                "strong decay: norm of hidden biases, of that without", biases[1] / biases[0], 0.5
            ),
        ],
    )


def _error(own: Run) -> float:
    """Mean squared error on the rows that a fold trains on, in variances of the target."""
    design, errors = own.design, []
    for place, fold in enumerate(own.folds):
        served = own.served.fold(place)
        found = predict(served, design.numbers[fold.train], design.codes[fold.train]).values
        errors.append(np.mean((found - own.actual[fold.train]) ** 2))
    return float(np.mean(errors) / np.var(own.actual))


def _error_of_new(own: Run, rows: Design, actual: Vector) -> float:
    errors = [
        np.mean((predict(own.served.fold(place), rows.numbers, rows.codes).values - actual) ** 2)
        for place in range(len(own.folds))
    ]
    return float(np.mean(errors) / np.var(actual))


def _weights(own: Run) -> Vector:
    """(folds, columns)"""
    found: Vector = own.trained[0].network.output_layers()[0].weight.detach().numpy()[:, :, 0]
    return found.astype(np.float64)


def _norm(own: Run) -> float:
    return float(np.mean(np.linalg.norm(_weights(own), axis=1)))


def _free_norm(own: Run) -> float:
    """Of the part of the weights that is at right angles to every row of their fold."""
    numbers, codes = torch.from_numpy(own.design.numbers), torch.from_numpy(own.design.codes)
    inputs = own.trained[0].encoder(numbers[None], codes[None]).double().numpy()  # (F, n, columns)
    norms = []
    for fold, rows, weights in zip(own.folds, inputs, _weights(own), strict=True):
        directions = np.linalg.svd(rows[fold.train], full_matrices=False)[2]  # (20, columns)
        norms.append(np.linalg.norm(weights - directions.T @ (directions @ weights)))
    return float(np.mean(norms))


def _hidden_norm(own: Run, name: str) -> float:
    layer = own.trained[0].network.linear_layers()[0]
    return float(getattr(layer, name).detach().flatten(1).norm(dim=1).mean())
