"""Batch normalisation of what an epoch leaves for its last batch."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from models.networks.normalization import BatchNorm


def test_a_batch_of_one_row_moves_no_statistics_and_is_normalised_as_in_prediction() -> None:
    """It has no variance: the second member's has one row, the first one's two."""
    x = torch.tensor([[[1.0], [3.0]], [[5.0], [7.0]]])
    present = torch.tensor([[[True], [True]], [[True], [False]]])
    norm = BatchNorm(members=2, units=1)
    norm.running_mean[:] = 4.0
    norm.running_variance[:] = 0.25
    predicted = norm(x, None).detach()

    trained = norm(x, SimpleNamespace(present=present)).detach()

    assert torch.allclose(trained[0], torch.tensor([[-1.0], [1.0]]), atol=1e-4)
    assert torch.equal(trained[1], predicted[1])
    assert torch.allclose(norm.running_mean.flatten(), torch.tensor([3.8, 4.0]))
    assert torch.allclose(norm.running_variance.flatten(), torch.tensor([0.425, 0.25]))
