"""Dropout multiplies a hidden unit by 0 or 1 / (1 - p): the mean stays, the noise grows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from pydantic import ValidationError
from torch import Tensor

from lessons.lab import Lab, Run
from lessons.outcome import Check, Figures, Outcome, Plot
from models.export.served import predict
from models.members import Member
from models.training.dropout import PopulationNoise

ROWS = 200
COLUMNS = 16
UNITS = 256
EPOCHS = 200
RATES = (0.0, 0.5, 0.9, 0.99)
DRAWS = 1_000_000  # masks of one unit
PASSES = 4_000  # of one row through a network with dropout


def crowded(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """Many columns, a weak effect of each, and much noise: easy to learn by heart."""
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(rows, COLUMNS))
    signal = columns @ rng.normal(size=COLUMNS) / np.sqrt(COLUMNS)
    frame = pd.DataFrame(columns, columns=[f"x{place}" for place in range(COLUMNS)])
    return frame.assign(y=signal + rng.normal(size=rows))


def run(lab: Lab) -> Outcome:
    frame = crowded()
    spec = {
        "target": "y",
        "architecture": {"type": "mlp", "hidden_sizes": [UNITS], "activation": "relu"},
        "optimizer": {"learning_rate": 0.002},
        "max_epochs": EPOCHS,
        "early_stopping": None,
    }
    runs = lab.train_together(frame, [{**spec, "dropout": rate} for rate in RATES])
    variance = float(np.var(runs[0].actual))
    seen = [_training_error(own) for own in runs]
    unseen = [float(own.metrics["rmse"] or 0) ** 2 / variance for own in runs]

    # One unit whose activation is normal with mean 1 and deviation 1.
    members = [Member(place, own.spec, 0, 0) for place, own in enumerate(runs)]
    unit = 1 + torch.randn(DRAWS, generator=torch.Generator().manual_seed(0))
    dropped = unit * _masks(members, DRAWS, 1)[:, :, 0]  # (rates, draws)
    means = dropped.mean(1).tolist()
    variances = dropped.var(1).tolist()
    # E(m²h²) − E(mh)², and E(m²) = 1 / (1 − p); here E(h²) = 2.
    expected = [2 / (1 - rate) - 1 for rate in RATES]
    errors = [float(np.sqrt(value / DRAWS)) for value in expected]
    off = max(abs(mean - 1) / error for mean, error in zip(means, errors, strict=True))
    wrong = max(abs(found / known - 1) for found, known in zip(variances, expected, strict=True))

    noisy, quiet = _passes(runs[1], members[1])
    repeated = np.abs(runs[1].predict(frame) - runs[1].predict(frame)).max()
    return Outcome(
        figures=[
            Figures(
                title=f"{UNITS} hidden units on {ROWS} rows, errors in variances of the target",
                columns=["dropout", "1 / (1 - p)", "error on the rows", "error out of fold"],
                rows=[
                    [rate, 1 / (1 - rate), a, b]
                    for rate, a, b in zip(RATES, seen, unseen, strict=True)
                ]
                + [[1.0, "infinite", "refused", "refused"]],
            ),
            Figures(
                title="a unit of mean 1 and variance 1 after dropout",
                columns=["dropout", "mean", "variance", "variance in theory"],
                rows=[list(row) for row in zip(RATES, means, variances, expected, strict=True)],
            ),
            Figures(
                title="one row through one network, dropout 0.5",
                columns=["", "output"],
                rows=[
                    ["predicted", quiet],
                    [f"mean of {PASSES:,} passes with dropout", float(noisy.mean())],
                    ["their deviation", float(noisy.std())],
                ],
            ),
        ],
        plots=[
            Plot.lines(
                "loss out of fold while training",
                "epoch",
                "loss",
                {
                    f"dropout {rate:g}": own.curve("validation_loss")
                    for rate, own in zip(RATES, runs, strict=True)
                },
            )
        ],
        checks=[
            Check.at_most("error out of fold, dropout 0.5 over none", unseen[1] / unseen[0], 0.95),
            Check.at_most("error out of fold, dropout 0.9 over none", unseen[2] / unseen[0], 0.8),
            Check.at_least("error out of fold, dropout 0.99 over 0.9", unseen[3] / unseen[2], 1.1),
            Check.at_least("error on the rows, dropout 0.5 over none", seen[1] / seen[0], 10),
            Check.at_least("error on the rows with dropout 0.99", seen[3], 0.5),
            Check.at_most("distance of the mean after dropout, in standard errors", off, 4),
            Check.at_most("distance of the variance from its theory, relative", wrong, 0.15),
            Check.at_most("difference between two predictions of the same rows", repeated, 0),
            Check.at_most(
                "prediction against the mean of passes with dropout, in standard errors",
                abs(quiet - float(noisy.mean())) / (float(noisy.std()) / np.sqrt(PASSES)),
                4,
            ),
            Check.at_least("dropout 1 is refused", float(_is_refused(lab, frame)), 1),
        ],
    )


def _masks(members: list[Member], rows: int, units: int) -> Tensor:
    """(K, rows, units) as training draws them."""
    noise = PopulationNoise(members, torch.float32, torch.device("cpu"))
    noise.begin(epoch=1, block=0)
    masks = noise.keep(rows, units)
    assert masks is not None
    return masks


@torch.no_grad()
def _passes(own: Run, member: Member) -> tuple[Tensor, float]:
    """Outputs of the first fold's network for the first row, with dropout, and without."""
    served = own.served.fold(0)
    (part,) = served.parts
    numbers, codes = (
        torch.from_numpy(own.design.numbers[:1]),
        torch.from_numpy(own.design.codes[:1]),
    )
    inputs = part.encoder(numbers[None], codes[None])  # (1, 1, inputs)
    noise = PopulationNoise([member], inputs.dtype, inputs.device)
    noise.begin(epoch=1, block=0)
    noisy = part.network(inputs.expand(-1, PASSES, -1), noise).flatten()
    return noisy, float(part.network.predict(inputs))


def _training_error(own: Run) -> float:
    """Mean squared error of each fold on the rows it trained on, in variances of the target."""
    design = own.design
    errors = []
    for place, fold in enumerate(own.folds):
        rows = design.numbers[fold.train], design.codes[fold.train]
        found = predict(own.served.fold(place), *rows).values
        errors.append(np.mean((found - own.actual[fold.train]) ** 2))
    return float(np.mean(errors) / np.var(own.actual))


def _is_refused(lab: Lab, frame: pd.DataFrame) -> bool:
    try:
        lab.resolve(frame, target="y", dropout=1)
    except ValidationError:
        return True
    return False
