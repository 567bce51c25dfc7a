"""Gradients written by hand equal those of autograd."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.members import Member, members_of
from models.networks import build_network
from models.networks.population import Network, Shape
from models.objectives.classification.objective import Classification
from models.objectives.losses import RowLoss, SquaredError, loss_of
from models.objectives.regression.objective import Regression
from models.spec import TrainingSpec
from models.spec.architectures import Activation
from models.spec.training import Precision
from models.training.dropout import PopulationNoise
from models.training.gradients import (
    AutogradGradients,
    DenseGradients,
    Gradients,
    gradients_of,
)

INPUTS, ROWS = 5, 7
SQUARED = loss_of("squared_error")
FOLDS = 3
MLP: dict[str, Any] = {"type": "mlp", "hidden_sizes": [4, 3]}


@dataclass
class Batch:
    """One batch of F folds and K members; `share` as the engine gives it."""

    x: Tensor
    y: Tensor
    share: Tensor


def spec_of(**spec: Any) -> TrainingSpec:
    resolved = {"loss": "squared_error", "k_folds": FOLDS, "architecture": MLP, "dropout": 0.0}
    return TrainingSpec.model_validate({"target": "price"} | resolved | spec)


def of_classes(spec: TrainingSpec) -> bool:
    return spec.loss in Classification.losses


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


def batch_of(
    fold_of: Tensor, present: Sequence[int], rows: int = ROWS, seed: int = 0, classes: int = 0
) -> Batch:
    """`present`: rows of each fold, the rest of `rows` is padding. Targets are numbers, or indices
    of so many classes."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.tensor(present).unsqueeze(1)
    share = (torch.arange(rows) < counts) / counts.clamp(min=1)
    x = torch.randn(len(present), rows, INPUTS, generator=generator, dtype=torch.float64)
    # Far enough from the predictions for both branches of the Huber loss.
    y = 3 * torch.randn(len(present), rows, generator=generator, dtype=torch.float64)
    if classes:
        y = torch.randint(classes, y.shape, generator=generator).double()
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
    fold_of, loss = places_of(members), loss_of(trials[0].loss, trials[0].label_smoothing)
    classes = outputs if of_classes(trials[0]) else 0
    batches = [batch_of(fold_of, present, count, seed, classes) for seed, count in enumerate(rows)]
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
@pytest.mark.parametrize(
    ("outputs", "spec"),
    [
        *product((1, 3), [{"loss": name} for name in Regression.losses]),
        *product((2, 4), [{"loss": name} for name in Classification.losses]),
        *product((2, 4), [{"loss": "cross_entropy", "label_smoothing": 0.3}]),
    ],
    ids=str,
)
def test_every_loss(spec: dict[str, Any], dropout: float, outputs: int) -> None:
    compare([spec_of(dropout=dropout, **spec)], outputs=outputs)


MARGINS = (loss_of("hinge"), 1.0), (loss_of("perceptron"), 0.0)


def slopes_of(loss: RowLoss, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """By hand and by autograd."""
    followed = outputs.clone().requires_grad_()
    loss.rows(followed, targets).sum().backward()
    assert followed.grad is not None
    return loss.slopes(outputs, targets), followed.grad


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.45])
@pytest.mark.parametrize("classes", [2, 5])
def test_cross_entropy_is_torch_s(classes: int, smoothing: float) -> None:
    generator = torch.Generator().manual_seed(classes)
    outputs = 4 * torch.randn(2, 50, classes, generator=generator, dtype=torch.float64)
    targets = torch.randint(classes, (2, 50), generator=generator)
    loss = loss_of("cross_entropy", smoothing)
    expected = functional.cross_entropy(
        outputs.flatten(0, 1), targets.flatten(), reduction="none", label_smoothing=smoothing
    )
    torch.testing.assert_close(loss.rows(outputs, targets.double()).flatten(), expected)
    by_hand, by_graph = slopes_of(loss, outputs, targets.double())
    torch.testing.assert_close(by_hand, by_graph)


def test_cross_entropy_of_large_outputs_is_finite() -> None:
    outputs = torch.tensor([[1e30, -1e30], [-1e30, 1e30]])
    loss, targets = loss_of("cross_entropy", 0.0), torch.zeros(2)
    assert loss.rows(outputs, targets).tolist() == pytest.approx([0, 2e30])
    assert loss.slopes(outputs, targets).tolist() == [[0, 0], [-1, 1]]


@pytest.mark.parametrize(("loss", "least"), MARGINS)
def test_margins_are_those_to_the_nearest_rival(loss: RowLoss, least: float) -> None:
    outputs = torch.tensor([[0.5, 2.0, 1.7], [0.5, 2.0, 1.7], [5.0, 2.0, -1.0]])
    targets = torch.tensor([1.0, 2.0, 0.0])  # margins of 0.3, −0.3 and 3
    found = loss.rows(outputs, targets).tolist()
    assert found == pytest.approx([max(0, least - margin) for margin in (0.3, -0.3, 3)])
    by_hand, by_graph = slopes_of(loss, outputs, targets)
    assert torch.equal(by_hand, by_graph)
    pulled = [0, -1, 1] if least > 0.3 else [0, 0, 0]
    assert by_hand.tolist() == [pulled, [0, 1, -1], [0, 0, 0]]


@pytest.mark.parametrize(("loss", "least"), MARGINS)
def test_two_classes_are_the_binary_losses(loss: RowLoss, least: float) -> None:
    """max(0, least − y·f), with y = ±1 and f the difference of the outputs."""
    generator = torch.Generator().manual_seed(0)
    outputs = 2 * torch.randn(200, 2, generator=generator, dtype=torch.float64)
    targets = torch.randint(2, (200,), generator=generator).double()
    signed = (2 * targets - 1) * (outputs[:, 1] - outputs[:, 0])
    torch.testing.assert_close(loss.rows(outputs, targets), (least - signed).clamp(min=0))


@pytest.mark.parametrize(("loss", "least"), MARGINS)
def test_a_margin_at_the_bend_still_moves(loss: RowLoss, least: float) -> None:
    """A perceptron starts from zero, where every margin is 0."""
    outputs = torch.tensor([[1.0, 1.0 - least, -3.0]])
    targets = torch.zeros(1)
    assert loss.rows(outputs, targets).tolist() == [0]
    for slopes in slopes_of(loss, outputs, targets):
        assert slopes.tolist() == [[-1, 1, 0]]
    assert loss.slopes(torch.zeros(1, 3), targets).tolist() == [[-1, 1, 0]]


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


@pytest.mark.parametrize(
    ("precision", "digits"), [("float32", 0.0), ("bfloat16", 2e-2), ("float16", 3e-3)]
)
@pytest.mark.parametrize("normalization", ["none", "layer"])
def test_sixteen_bits_round_the_products_alone(
    precision: Precision, digits: float, normalization: str
) -> None:
    """Gradients stay float32, close to those of float32, and small ones are not lost."""
    mlp = {"type": "mlp", "hidden_sizes": [16, 16], "normalization": normalization}
    members = members_of([spec_of(architecture=mlp)])
    network = network_of(members).float()
    fold_of = places_of(members)
    batch = batch_of(fold_of, (ROWS, ROWS, ROWS))
    small = Batch(batch.x.float(), batch.y.float(), 1e-4 * batch.share.float())
    found = []
    for kind in ("float32", precision):
        gradients = gradients_of(network, SQUARED, fold_of, kind)
        ((_, named),) = filled(network, gradients, members, [small])
        found.append({name: gradient.clone() for name, gradient in named.items()})
    for name, exact in found[0].items():
        rounded = found[1][name]
        assert rounded.dtype is torch.float32
        apart = (exact - rounded).norm() / exact.norm()
        assert apart <= digits, name
        assert precision == "float32" or apart > 0


def test_tf32_is_asked_for_during_a_step_alone() -> None:
    """Only a GPU has it: on a CPU the numbers are those of float32, bit for bit."""
    products = torch.backends.cuda.matmul
    members = members_of([spec_of()])
    network, fold_of = network_of(members).float(), places_of(members)
    of_float64 = batch_of(fold_of, (ROWS, ROWS, ROWS))
    batch = Batch(of_float64.x.float(), of_float64.y.float(), of_float64.share.float())
    asked: list[str] = []

    class Seen(SquaredError):
        def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
            asked.append(products.fp32_precision)
            return super().rows(outputs, targets)

    found = [
        filled(network, gradients_of(network, Seen(), fold_of, precision), members, [batch])
        for precision in ("float32", "tf32")
    ]
    assert asked == ["none", "tf32"]
    assert products.fp32_precision == "none"
    (((losses, named),), ((losses_tf32, named_tf32),)) = found
    assert torch.equal(losses, losses_tf32)
    for name, gradient in named.items():
        assert torch.equal(gradient, named_tf32[name]), name
