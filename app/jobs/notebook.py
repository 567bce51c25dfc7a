"""A job's training as a Jupyter notebook: a plain PyTorch loop to learn from.

The cells are the files of `notebook_cells`, chosen by the spec and unchanged. What differs between
jobs is in the cells written here: the settings that the chosen cells use, and a few functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pprint import pformat
from typing import Any

from app.jobs.notebook_choice import CELLS, Shown
from app.jobs.notebook_settings import Explained, settings_of
from models.objectives import task_of
from models.spec import TrainingSpec
from models.spec.architectures import (
    Activation,
    ConstantWeights,
    LinearArchitecture,
    LinearInitialization,
    MlpArchitecture,
    NormalWeights,
    UniformWeights,
    bins_of,
)

WIDTH = 96  # characters of a settings line
NBFORMAT, NBFORMAT_MINOR = 4, 5
_CELL = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)

ACTIVATIONS: dict[Activation, str] = {
    "relu": "functional.relu(x)",
    "leaky_relu": "functional.leaky_relu(x)",
    "gelu": "functional.gelu(x)",
    "silu": "functional.silu(x)",
    "mish": "functional.mish(x)",
    "selu": "functional.selu(x)",
    "tanh": "torch.tanh(x)",
    "sigmoid": "torch.sigmoid(x)",
    "scaled_sigmoid": "4 * torch.sigmoid(x) - 2",
    "identity": "x",
}
# Those with a gain of their own; the others are taken for ReLU, as `models.networks` does.
GAINS = {
    "selu": "selu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "scaled_sigmoid": "linear",
    "identity": "linear",
    "leaky_relu": "leaky_relu",
}
NORMALIZATIONS = {"none": "nn.Identity", "layer": "nn.LayerNorm", "batch": "nn.BatchNorm1d"}
RATE_FACTORS = {
    "constant": "1.0",
    "cosine": "0.5 * (1 + math.cos(math.pi * progress))",
    "flat_cosine": "0.5 * (1 + math.cos(math.pi * max(0.0, 2 * progress - 1)))",
    "multi_cosine": "0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * progress)))",
}


def notebook(of: Explained) -> dict[str, Any]:
    """A document of nbformat 4.5."""
    settings = settings_of(of)
    parts = [*_parts(of.shown, settings)]
    code = "\n".join(source for kind, source in parts if kind == "code")
    lines = [
        f"{name} = {pformat(value, width=WIDTH)}"
        for name, value in settings.items()
        if _mentions(code, name)
    ]
    parts = [("markdown", _introduction(of)), ("code", "\n".join(lines)), *parts]
    return {
        "nbformat": NBFORMAT,
        "nbformat_minor": NBFORMAT_MINOR,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "cells": [_cell(number, kind, source) for number, (kind, source) in enumerate(parts)],
    }


def _cell(number: int, kind: str, source: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"id": f"cell-{number}", "cell_type": kind, "metadata": {}}
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return cell | {"source": source.splitlines(keepends=True)}


def _mentions(code: str, name: str) -> bool:
    return re.search(rf"\b{name}\b", code) is not None


def _parts(shown: Shown, settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Kinds and sources of the cells below the settings."""
    spec, own, task = shown.spec, shown.architecture, task_of(shown.spec)
    yield from _read("imports", "table")
    if settings["spelled_numbers"] or settings["spelled_dates"]:
        yield from _read("spelled")
    yield from _read("features", f"target_{task}", "folds")
    split = {"group": "split_groups", "time": "split_times"}
    yield from _read(split.get(spec.folds.type, "split_rows"))
    yield from _read("scaling", f"scaling_{spec.preprocessing.numeric_scaling}")
    if bins_of(own):
        yield from _read("bins")
    if settings["coordinates"]:
        yield from _read("coordinates")
    yield from _read("preprocessing", "dataset", "initialization")
    yield "code", _functions(spec, own)
    yield from _read(f"network_{own.type}")
    if settings["starts_at_the_line"]:
        yield from _read("line_start", f"line_{task}")
    yield from _read("training", "run", "same", f"score_{task}", "compare")


def _read(*names: str) -> Iterator[tuple[str, str]]:
    """The cells of some files, which are in the percent format of Jupytext."""
    for name in names:
        _, *pieces = _CELL.split((CELLS / f"{name}.py").read_text())
        for markdown, body in zip(pieces[::2], pieces[1::2], strict=True):
            if markdown:
                yield "markdown", re.sub(r"^# ?", "", body.strip(), flags=re.MULTILINE)
            else:
                yield "code", body.strip()


def _functions(spec: TrainingSpec, own: LinearArchitecture | MlpArchitecture) -> str:
    """What the spec chooses by name, as code."""
    activation = own.activation if isinstance(own, MlpArchitecture) else "identity"
    optimizer = "torch.optim.Adam(parameters, lr=learning_rate)"
    if spec.optimizer.name == "sgd":
        optimizer = "torch.optim.SGD(parameters, lr=learning_rate, momentum=momentum)"
    functions = [
        f"def initialize(weight):\n    {code_of(own.initialization, activation)}",
        f"def rate_factor(progress):\n    return {RATE_FACTORS[spec.optimizer.schedule]}",
        f"def optimizer_of(parameters):\n    return {optimizer}",
    ]
    if isinstance(own, MlpArchitecture):
        functions.insert(0, f"def activate(x):\n    return {ACTIVATIONS[activation]}")
        functions.insert(0, f"normalization = {NORMALIZATIONS[own.normalization]}")
    return "\n\n\n".join(functions)


def code_of(rule: LinearInitialization, activation: Activation) -> str:
    """A rule as a statement that fills `weight`; unnamed numbers are those of `models.networks`."""
    gain = GAINS.get(activation, "relu")
    match rule:
        case NormalWeights(std=std):
            return f"nn.init.normal_(weight, std={std!r})"
        case UniformWeights(bound=bound):
            return f"nn.init.uniform_(weight, -{bound!r}, {bound!r})"
        case ConstantWeights(value=value):
            return f"nn.init.constant_(weight, {value!r})"
        case "normal":
            return "nn.init.normal_(weight, std=0.01)"
        case "uniform":
            return "nn.init.uniform_(weight, -0.1, 0.1)"
        case "constant" | "least_squares":
            return "nn.init.zeros_(weight)"
        case "kaiming_uniform" | "kaiming_normal":
            return f'nn.init.{rule}_(weight, nonlinearity="{gain}")'
        case "lecun_normal":
            return 'nn.init.kaiming_normal_(weight, nonlinearity="linear")'
        case "default":
            return "nn.init.kaiming_uniform_(weight, a=math.sqrt(5))"
        case "xavier_uniform" | "xavier_normal":
            return f"nn.init.{rule}_(weight)"


def _introduction(of: Explained) -> str:
    shown, spec = of.shown, of.shown.spec
    lines = [
        f"# {of.job_id} as a plain PyTorch loop",
        "This notebook trains the job's model again, on the same table and the same folds, with "
        "nothing but numpy, pandas and PyTorch. Read it from top to bottom, then change a setting "
        "and run it again. The service must be running. The cell below has the job's settings.",
    ]
    if shown.members:
        lines.append(
            f"**The job's model is a blend of {shown.members} members, and this notebook shows one "
            f"of them**: number {shown.place + 1}, of type `{shown.architecture.type}`. Its last "
            "cell compares with that member's own error, not with the error of the blend."
        )
    left_out = []
    used = (of.result.get("comparables") or {}).get("used")
    if used:
        left_out.append("what the targets of other rows say (comparables and group means)")
    if spec.preprocessing.retransform == "mean" and spec.preprocessing.target_transform == "log":
        left_out.append("the factor that makes totals come out right (`retransform`)")
    if spec.precision != "float32":
        left_out.append(f"the `{spec.precision}` of the products in a training step")
    if of.result.get("calibration"):
        left_out.append("the calibration of probabilities, so log losses are compared without it")
    if left_out:
        lines.append(f"Left out here: {'; '.join(left_out)}.")
    return "\n\n".join(lines)
