"""Gradients written by hand equal those of autograd."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from models.members import Member, members_of
from models.networks import build_network
from models.networks.population import Network, Shape
from models.objectives.losses import LOSSES
from models.spec import Loss, TrainingSpec
from models.spec.architectures import Activation
from models.training.dropout import PopulationNoise
from models.training.gradients import (
    AutogradGradients,
    DenseGradients,
    Gradients,
    gradients_of,
)

INPUTS, ROWS = 5, 7
SQUARED = LOSSES["squared_error"]
FOLDS = 3
MLP: dict[str, Any] = {"type": "mlp", "hidden_sizes": [4, 3]}


@dataclass
class Batch:
    """One batch of F folds and K members; `share` as the engine gives it."""

    x: Tensor
    y: Tensor
    share: Tensor


def spec_of(**spec: Any) -> TrainingSpec:
    return TrainingSpec.model_validate(
        {"target": "price", "k_folds": FOLDS, "architecture": MLP, "dropout": 0.0} | spec
    )


def places_of(members: Sequence[Member]) -> Tensor:
    folds = sorted({member.fold for member in members})
    return torch.tensor([folds.index(member.fold) for member in members])


def network_of(members: Sequence[Member], outputs: int = 1) -> Network:
    """Every weight and bias is drawn, so that no product is with zero."""
    network = build_network(members, Shape(INPUTS, INPUTS, outputs)).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=generator)
    return network


def batch_of(fold_of: Tensor, present: Sequence[int], rows: int = ROWS, seed: int = 0) -> Batch:
    """`present`: rows of each fold, the rest of `rows` is padding."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.tensor(present).unsqueeze(1)
    share = (torch.arange(rows) < counts) / counts.clamp(min=1)
    x = torch.randn(len(present), rows, INPUTS, generator=generator, dtype=torch.float64)
    # Far enough from the predictions for both branches of the Huber loss.
    y = 3 * torch.randn(len(present), rows, generator=generator, dtype=torch.float64)
    return Batch(x, y[fold_of], share.double()[fold_of])


def filled(
    network: Network,
    gradients: Gradients,
    members: Sequence[Member],
    batches: Sequence[Batch],
) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """Losses and gradients of one batch after the other, into tensors that hold NaN at first."""
    noise = PopulationNoise(members, torch.float64, torch.device("cpu"))
    noise.begin(1, 0)
    found = []
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)
    for batch in batches:
        losses = gradients.fill(batch.x, batch.y, batch.share, noise)
        named = {
            name: parameter.grad.clone()
            for name, parameter in network.named_parameters()
            if parameter.grad is not None
        }
        found.append((losses.clone(), named))
    return found


def compare(
    trials: Sequence[TrainingSpec],
    present: Sequence[int] = (ROWS, ROWS - 2, 1),
    rows: Sequence[int] = (ROWS,),
    members: Sequence[Member] | None = None,
    outputs: int = 1,
) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """Both ways over batches of these sizes, to rounding; gives what was found by hand."""
    members = members_of(trials) if members is None else members
    fold_of, loss = places_of(members), LOSSES[trials[0].loss]
    batches = [batch_of(fold_of, present, count, seed) for seed, count in enumerate(rows)]
    by_hand, by_graph = network_of(members, outputs), network_of(members, outputs)
    stack = by_hand.dense_stack()
    assert stack is not None
    dense = filled(by_hand, DenseGradients(stack, loss, fold_of), members, batches)
    graph = filled(by_graph, AutogradGradients(by_graph, loss, fold_of), members, batches)
    for (losses, named), (expected_losses, expected) in zip(dense, graph, strict=True):
        torch.testing.assert_close(losses, expected_losses, rtol=1e-12, atol=1e-12)
        assert named.keys() == expected.keys()
        for name, gradient in named.items():
            torch.testing.assert_close(
                gradient,
                expected[name],
                rtol=1e-12,
                atol=1e-12,
                msg=lambda text, name=name: f"{name}: {text}",
            )
            assert gradient.any(), name
    return dense


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("activation", get_args(Activation))
def test_every_activation(activation: Activation, dropout: float) -> None:
    compare([spec_of(architecture=MLP | {"activation": activation}, dropout=dropout)])


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("loss", get_args(Loss))
@pytest.mark.parametrize("outputs", [1, 3])
def test_every_loss(loss: Loss, dropout: float, outputs: int) -> None:
    compare([spec_of(loss=loss, dropout=dropout)], outputs=outputs)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_linear_path(dropout: float, outputs: int) -> None:
    described = MLP | {"linear_path": True}
    compare([spec_of(architecture=described, dropout=dropout)], outputs=outputs)


@pytest.mark.parametrize("hidden_sizes", [[1], [1, 1], [4, 1, 3], [6]])
def test_layers_of_any_width(hidden_sizes: list[int]) -> None:
    """Columns of one take another way through the products."""
    compare([spec_of(architecture=MLP | {"hidden_sizes": hidden_sizes}, dropout=0.2)])


@pytest.mark.parametrize("outputs", [1, 3])
def test_linear_regression(outputs: int) -> None:
    compare([spec_of(architecture={"type": "linear"})], outputs=outputs)


@pytest.mark.parametrize("linear_path", [False, True])
@pytest.mark.parametrize("architecture", [MLP, MLP | {"hidden_sizes": [1]}])
def test_trials_that_share_their_fold_s_batches(
    architecture: dict[str, Any], linear_path: bool
) -> None:
    described = architecture | {"linear_path": linear_path}
    compare([spec_of(architecture=described, dropout=p) for p in (0.3, 0.0, 0.6)])


def test_linear_regressions_that_share_their_fold_s_batches() -> None:
    compare([spec_of(architecture={"type": "linear"})] * 2)


def test_folds_with_different_numbers_of_members() -> None:
    """As it is once some have stopped: fold 0 has gone altogether."""
    trials = [spec_of(dropout=p) for p in (0.3, 0.1, 0.0)]
    everyone = members_of(trials)
    left = [m for m in everyone if (m.fold, m.trial) in {(1, 0), (1, 2), (2, 1)}]
    compare(trials, present=(ROWS, 3), members=left)


def test_members_of_one_fold() -> None:
    compare([spec_of(members_per_fold=2, dropout=0.3)])


def test_batches_of_other_sizes_in_turn() -> None:
    compare([spec_of(dropout=0.3)] * 2, rows=(ROWS, 1, ROWS + 2), present=(1, 1, 1))


def test_a_member_without_rows_has_no_gradient() -> None:
    """All of its batch is padding."""
    members = members_of([spec_of(dropout=0.3)])
    network = network_of(members)
    fold_of = places_of(members)
    batch = batch_of(fold_of, (ROWS, 0, 3))
    for gradients in (
        gradients_of(network, SQUARED, fold_of),
        AutogradGradients(network, SQUARED, fold_of),
    ):
        ((losses, named),) = filled(network, gradients, members, [batch])
        assert losses[1] == 0
        for name, gradient in named.items():
            assert not gradient[1].any(), name
            assert gradient[0].any(), name
            assert gradient[2].any(), name


def test_what_stands_in_the_padding_does_not_matter() -> None:
    members = members_of([spec_of(dropout=0.3)])
    network = network_of(members)
    fold_of = places_of(members)
    batch = batch_of(fold_of, (3, 3, 3))
    other = copy.deepcopy(batch)
    other.x[:, 3:] += 5
    other.y[:, 3:] -= 7
    gradients = gradients_of(network, SQUARED, fold_of)
    ((losses, named),) = filled(network, gradients, members, [batch])
    ((other_losses, other_named),) = filled(network, gradients, members, [other])
    assert torch.equal(losses, other_losses)
    for name, gradient in named.items():
        torch.testing.assert_close(gradient, other_named[name], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("architecture", "way"),
    [
        ({"type": "linear"}, DenseGradients),
        (MLP, DenseGradients),
        (MLP | {"linear_path": True}, DenseGradients),
        (MLP | {"numeric_embedding": {"type": "piecewise_linear"}}, DenseGradients),
        (MLP | {"numeric_embedding": {"type": "periodic"}}, AutogradGradients),
        (MLP | {"normalization": "batch"}, AutogradGradients),
        (MLP | {"normalization": "layer"}, AutogradGradients),
        ({"type": "resnet", "width": 4, "block_width": 4}, AutogradGradients),
        ({"type": "realmlp", "hidden_sizes": [4]}, AutogradGradients),
        ({"type": "tabm", "hidden_sizes": [4], "ensemble_size": 2}, AutogradGradients),
    ],
)
def test_the_fastest_way_is_taken(architecture: dict[str, Any], way: type) -> None:
    members = members_of([spec_of(architecture=architecture)])
    network = build_network(members, Shape(INPUTS, INPUTS, 1))
    assert type(gradients_of(network, SQUARED, places_of(members))) is way
