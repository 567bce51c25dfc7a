"""One member of a population trained by itself, from plain torch.nn parts and numpy."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from houses import Case
from torch import Tensor, nn
from torch.nn import functional

from models.members import Member
from models.randomness import stream_seed
from models.spec import Loss, TrainingSpec
from models.spec.architectures import (
    Architecture,
    LinearArchitecture,
    MlpArchitecture,
    Periodic,
    PiecewiseLinear,
    RealMlpArchitecture,
    ResNetArchitecture,
    TabmArchitecture,
)
from models.training.dropout import PopulationNoise
from models.training.engine import BLOCK_ROWS

ACTIVATIONS: dict[str, nn.Module] = {
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "selu": nn.SELU(),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "identity": nn.Identity(),
}
NUMBERS: dict[Loss, Callable[..., Tensor]] = {
    "squared_error": functional.mse_loss,
    "absolute_error": functional.l1_loss,
    "huber": functional.huber_loss,
}

State = dict[str, Tensor]  # one member's weights by name
Keep = Callable[[Tensor], Tensor]  # dropout of (…, rows, units)


@dataclass(frozen=True)
class Alone:
    """How a member fared by itself: its best network, and (train, validation) losses by epoch."""

    network: nn.Module
    history: list[tuple[float, float]]
    best_epoch: int


# What a network sees.


def inputs_of(case: Case, fold: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, width) and standardised targets (n,) of all rows, by one fold's training rows; the
    targets by those that early stopping watches too."""
    train = case.laid[fold].train
    columns = []
    for column in case.design.numbers.T:
        known = column[train][~np.isnan(column[train])]
        filled = np.where(np.isnan(column), known.mean(), column)
        columns.append((filled - known.mean()) / known.std())
    embedding = getattr(case.spec.architecture, "numeric_embedding", None)
    if isinstance(embedding, PiecewiseLinear):
        columns += piecewise_linear(case, fold, embedding.bins)
    for place, vocabulary in enumerate(case.design.categorical):
        codes = case.design.codes[:, place]
        for level in range(len(vocabulary.levels)):
            seen = level in codes[train]
            columns.append((codes == level).astype(float) * seen)
    target = case.design.target
    if case.design.levels:
        return np.column_stack(columns), target
    target, known = np.log(target), case.laid[fold].known
    return np.column_stack(columns), (target - target[known].mean()) / target[known].std()


def piecewise_linear(case: Case, fold: int, bins: int) -> list[np.ndarray]:
    """Gorishniy et al. 2022, section 3.1: a bin is 0 below, 1 above and linear inside.

    A fold with fewer different quantiles than another has empty columns in their place.
    """
    coded = []
    for column in case.design.numbers.T:
        edges = []
        for rows in case.laid:
            known = column[rows.train][~np.isnan(column[rows.train])]
            edges.append(sorted(set(np.quantile(known, np.linspace(0, 1, bins + 1)).tolist())))
        train = column[case.laid[fold].train]
        filled = np.where(np.isnan(column), np.nanmean(train), column)
        own = edges[fold]
        for place in range(max(map(len, edges)) - 1):
            if place + 1 < len(own):
                low, high = own[place], own[place + 1]
                coded.append(np.clip((filled - low) / (high - low), 0, 1))
            else:
                coded.append(np.zeros(len(filled)))
    return coded


# Networks.


def linear_of(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A layer with these weights (in, out) and biases (1, out)."""
    linear = nn.Linear(weight.shape[0], weight.shape[1], dtype=weight.dtype)
    linear.weight.data.copy_(weight.T)
    linear.bias.data.copy_(bias[0])
    return linear


def named(state: State, name: str) -> nn.Linear:
    return linear_of(state[f"{name}.weight"], state[f"{name}.bias"])


def several(state: State, name: str, count: int) -> nn.ModuleList:
    return nn.ModuleList(named(state, f"{name}.{place}") for place in range(count))


def norms_of(kind: str, count: int, units: Callable[[int], int], dtype: torch.dtype) -> Any:
    kinds: dict[str, type[nn.Module]] = {
        "batch": nn.BatchNorm1d,
        "layer": nn.LayerNorm,
        "none": nn.Identity,
    }
    return nn.ModuleList(kinds[kind](units(place)).to(dtype) for place in range(count))


class PlainInputs(nn.Module):
    """Numbers beside their waves, if there are any; column after column."""

    def __init__(self, architecture: Architecture, state: State) -> None:
        super().__init__()
        settings = getattr(architecture, "numeric_embedding", None)
        self.waves = isinstance(settings, Periodic)
        if self.waves:
            self.frequency, self.phase, self.mix_weight, self.mix_bias = (
                nn.Parameter(state[f"embedding.{name}"].clone())
                for name in ("frequency", "phase", "mix_weight", "mix_bias")
            )

    def forward(self, x: Tensor) -> Tensor:
        if not self.waves:
            return x
        parts = [x]
        for column in range(len(self.frequency)):
            wave = torch.cos(
                2 * math.pi * torch.outer(x[:, column], self.frequency[column]) + self.phase[column]
            )
            parts.append(wave @ self.mix_weight[column] + self.mix_bias[column])
        return torch.cat(parts, 1)


class PlainLinear(nn.Module):
    def __init__(self, architecture: LinearArchitecture, state: State) -> None:  # noqa: ARG002
        super().__init__()
        self.output = named(state, "output")

    def forward(self, x: Tensor, keep: Keep) -> Tensor:  # noqa: ARG002
        prediction: Tensor = self.output(x)
        return prediction


class PlainMlp(nn.Module):
    def __init__(self, architecture: MlpArchitecture, state: State) -> None:
        super().__init__()
        sizes = architecture.hidden_sizes
        self.embedding = PlainInputs(architecture, state)
        self.hidden = several(state, "hidden", len(sizes))
        self.output = named(state, "output")
        self.shortcut = named(state, "shortcut") if architecture.linear_path else None
        dtype = self.output.weight.dtype
        self.norms = norms_of(architecture.normalization, len(sizes), sizes.__getitem__, dtype)
        self.activation = ACTIVATIONS[architecture.activation]

    def forward(self, x: Tensor, keep: Keep) -> Tensor:
        inputs = hidden = self.embedding(x)
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            hidden = keep(self.activation(norm(layer(hidden))))
        prediction: Tensor = self.output(hidden)
        return prediction if self.shortcut is None else prediction + self.shortcut(inputs)


class PlainResNet(nn.Module):
    def __init__(self, architecture: ResNetArchitecture, state: State) -> None:
        super().__init__()
        blocks, width = architecture.blocks, architecture.width
        self.embedding = PlainInputs(architecture, state)
        self.first = named(state, "first")
        self.widen = several(state, "widen", blocks)
        self.narrow = several(state, "narrow", blocks)
        self.output = named(state, "output")
        dtype = self.output.weight.dtype
        self.norms = norms_of(architecture.normalization, blocks + 1, lambda _: width, dtype)
        self.activation = ACTIVATIONS[architecture.activation]

    def forward(self, x: Tensor, keep: Keep) -> Tensor:
        stream = self.first(self.embedding(x))
        for norm, widen, narrow in zip(self.norms, self.widen, self.narrow, strict=False):
            stream = stream + keep(narrow(keep(self.activation(widen(norm(stream))))))
        prediction: Tensor = self.output(self.activation(self.norms[-1](stream)))
        return prediction


class PlainRealMlp(nn.Module):
    def __init__(self, architecture: RealMlpArchitecture, state: State) -> None:
        super().__init__()
        layers = len(architecture.hidden_sizes)
        self.embedding = PlainInputs(architecture, state)
        self.input_scale = nn.Parameter(torch.ones_like(state["input_scale"][0]))
        self.hidden = several(state, "hidden", layers)
        self.slopes = nn.ParameterList(
            torch.ones_like(state[f"activations.{place}.slope"][0]) for place in range(layers)
        )
        self.output = named(state, "output")
        self.activation = ACTIVATIONS[architecture.activation]

    def forward(self, x: Tensor, keep: Keep) -> Tensor:
        hidden = self.embedding(x) * self.input_scale
        for layer, slope in zip(self.hidden, self.slopes, strict=True):
            sums = self._scaled(layer, hidden)
            hidden = keep((1 - slope) * sums + slope * self.activation(sums))
        return self._scaled(self.output, hidden)

    def _scaled(self, layer: nn.Module, x: Tensor) -> Tensor:
        assert isinstance(layer, nn.Linear)
        return functional.linear(x / math.sqrt(layer.in_features), layer.weight, layer.bias)


class PlainTabm(nn.Module):
    def __init__(self, architecture: TabmArchitecture, state: State) -> None:
        super().__init__()
        layers = range(len(architecture.hidden_sizes))
        self.ensemble = architecture.ensemble_size
        self.embedding = PlainInputs(architecture, state)
        self.shared = nn.ModuleList(named(state, f"hidden.{place}.shared") for place in layers)
        self.before, self.after, self.bias = (
            nn.ParameterList(state[f"hidden.{place}.{name}"].clone() for place in layers)
            for name in ("before", "after", "bias")
        )
        self.head_weight = nn.Parameter(state["heads.weight"].clone())
        self.head_bias = nn.Parameter(state["heads.bias"].clone())
        self.activation = ACTIVATIONS[architecture.activation]

    def forward(self, x: Tensor, keep: Keep) -> Tensor:
        """(B, E, outputs)"""
        hidden = [self.embedding(x)] * self.ensemble
        parts = zip(self.shared, self.before, self.after, self.bias, strict=True)
        for shared, before, after, bias in parts:
            hidden = [
                self.activation(shared(hidden[e] * before[e]) * after[e] + bias[e])
                for e in range(self.ensemble)
            ]
            hidden = list(keep(torch.stack(hidden)))
        predictions = [
            hidden[e] @ self.head_weight[e] + self.head_bias[e] for e in range(self.ensemble)
        ]
        return torch.stack(predictions, 1)


PLAIN: dict[str, Callable[..., nn.Module]] = {
    "linear": PlainLinear,
    "perceptron": PlainLinear,
    "mlp": PlainMlp,
    "resnet": PlainResNet,
    "realmlp": PlainRealMlp,
    "tabm": PlainTabm,
}


# Losses.


def losses_of(spec: TrainingSpec, outputs: Tensor, y: Tensor, smoothing: float) -> Tensor:
    """(B, E) of outputs (B, E, outputs): each of an ensemble's E predicts the row's target."""
    assert spec.loss is not None
    if spec.loss in NUMBERS:  # each output predicts the one target
        expanded = y[:, None, None].expand_as(outputs)
        return NUMBERS[spec.loss](outputs, expanded, reduction="none").sum(2)
    classes = y.long()[:, None].expand(outputs.shape[:2])
    if spec.loss == "cross_entropy":
        flat = functional.cross_entropy(
            outputs.flatten(0, 1), classes.flatten(), reduction="none", label_smoothing=smoothing
        )
        return flat.view(outputs.shape[:2])
    return margin_loss(outputs, classes, {"hinge": 1.0, "perceptron": 0.0}[spec.loss])


def margin_loss(outputs: Tensor, classes: Tensor, least: float) -> Tensor:
    """max(0, least − margin), which still falls where the margin is `least`. Of rivals that are
    equal the first one counts."""
    is_true = functional.one_hot(classes, outputs.shape[-1]).bool()
    others = outputs.detach().masked_fill(is_true, -math.inf)
    rival = torch.from_numpy(others.numpy().argmax(-1))
    is_rival = functional.one_hot(rival, outputs.shape[-1]).bool()
    margin = (outputs * is_true).sum(-1) - (outputs * is_rival).sum(-1)
    return torch.where(margin <= least, least - margin, torch.zeros_like(margin))


def weights_of(case: Case, fold: int, y: np.ndarray) -> np.ndarray:
    """(n,) weights of the rows in the loss, on average 1 over the fold's training rows."""
    weights, train = case.spec.class_weights, case.laid[fold].known
    if weights == "balanced":
        classes, counts = np.unique(y[train], return_counts=True)
        of_class = dict(zip(classes, len(train) / (len(classes) * counts), strict=True))
        return np.array([of_class.get(value, 0.0) for value in y])
    if weights is None:
        return np.ones(len(y))
    given = np.array([weights.get(case.design.levels[int(value)], 1.0) for value in y])
    return given / given[train].mean()


# Training.


def rate_share(schedule: str, done: float) -> float:
    """The learning rate after a share `done` of all steps."""
    match schedule:
        case "cosine":
            return math.cos(math.pi * done / 2) ** 2
        case "flat_cosine":
            return math.cos(math.pi * max(0.0, done - 0.5)) ** 2
        case "multi_cosine":
            return math.sin(math.pi * math.log2(1 + 15 * done)) ** 2
    return 1.0


def groups_of(spec: TrainingSpec, network: nn.Module) -> Iterator[dict[str, Any]]:
    """A parameter each: weights decay and nothing else does; RealMLP has rates of its own."""
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        decays = name.endswith("weight") and not name.startswith("norms")
        share = 1.0
        if spec.architecture.type == "realmlp":
            ending = name.rsplit(".", 1)[-1]
            share = {"input_scale": 6.0, "bias": 0.1}.get(ending, share)
            share = 0.1 if name.startswith("slopes") else share
        decay = spec.weight_decay if decays else 0.0
        yield {"params": [parameter], "share": share, "weight_decay": decay, "lr": 0.0}


def train_alone(case: Case, member: Member, state: State) -> Alone:
    """The textbook loop from a member's first weights, in their precision."""
    spec, fold = member.spec, case.laid[member.fold]
    dtype = next(iter(state.values())).dtype
    inputs, targets = inputs_of(case, member.fold)
    x_all, y_all, weight_all = (
        torch.tensor(array, dtype=dtype)
        for array in (inputs, targets, weights_of(case, member.fold, targets))
    )
    network = PLAIN[spec.architecture.type](spec.architecture, state)
    for layer in spec.freeze:
        network.get_submodule(layer).requires_grad_(False)
    groups = list(groups_of(spec, network))
    if spec.optimizer.name == "sgd":
        decays = [group.pop("weight_decay") for group in groups]
        optimizer: Any = torch.optim.SGD(groups, momentum=spec.optimizer.momentum)
    else:
        optimizer = torch.optim.AdamW(groups)
    noise = PopulationNoise([member], dtype, torch.device("cpu"))
    size = spec.batch_size

    def keep(hidden: Tensor) -> Tensor:
        """The noise has rows for a whole batch, of which the last one uses the first."""
        *ensemble, rows, units = hidden.shape
        mask = noise.keep(math.prod(ensemble) * size, units) if network.training else None
        return hidden if mask is None else hidden * mask.view(*ensemble, size, units)[..., :rows, :]

    def predicted(rows: np.ndarray | Tensor) -> Tensor:
        """(B, E, outputs)"""
        outputs: Tensor = network(x_all[rows], keep)
        return outputs if outputs.ndim == 3 else outputs.unsqueeze(1)

    @torch.no_grad()
    def loss_of(rows: np.ndarray) -> float:
        """Of an ensemble's mean, with no smoothing and no weights."""
        network.eval()
        predictions = predicted(rows).mean(1, keepdim=True)
        network.train()
        return float(losses_of(spec, predictions, y_all[rows], 0.0).mean())

    best = Alone(network, [], 0)
    best_loss = math.inf
    history = []
    batches = -(-len(fold.train) // size)
    per_block = max(1, BLOCK_ROWS // size)
    for epoch in range(1, spec.max_epochs + 1):
        seed = stream_seed(spec.seed, "order", member.fold, epoch)
        order = torch.randperm(len(fold.train), generator=torch.Generator().manual_seed(seed))
        total, mistakes = 0.0, 0
        for step, batch in enumerate(torch.tensor(fold.train)[order].split(size)):
            if step % per_block == 0:
                noise.begin(epoch, step // per_block)
            done = ((epoch - 1) * batches + step) / (batches * spec.max_epochs)
            rate = spec.optimizer.learning_rate * rate_share(spec.optimizer.schedule, done)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["share"]
            optimizer.zero_grad()
            losses = losses_of(spec, predicted(batch), y_all[batch], spec.label_smoothing)
            loss = (losses.mean(1) * weight_all[batch]).mean()
            loss.backward()
            moving = [parameter.grad for parameter in network.parameters()]
            mistakes += any(bool(grad.any()) for grad in moving if grad is not None)
            if spec.optimizer.gradient_clip is not None:
                nn.utils.clip_grad_norm_(network.parameters(), spec.optimizer.gradient_clip)
            if spec.optimizer.name == "sgd":
                for group, decay in zip(optimizer.param_groups, decays, strict=True):
                    group["params"][0].data.mul_(1 - group["lr"] * decay)
            optimizer.step()
            total += float(loss.detach()) * len(batch)
        history.append((total / len(fold.train), loss_of(fold.validation)))
        watched = loss_of(fold.watched) if spec.early_stopping else -math.inf
        if spec.early_stopping is None or watched < best_loss:
            best, best_loss = Alone(copy.deepcopy(network).eval(), history, epoch), watched
        elif epoch - best.best_epoch >= spec.early_stopping.patience:
            break
        if spec.architecture.type == "perceptron" and mistakes == 0:
            break
    return best
