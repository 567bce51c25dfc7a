"""Models that many tests look at, trained once."""

from __future__ import annotations

import pytest
import torch
from houses import Built, build, house_frame, lay

# The tests run in as many processes as there are cores, and `experiment.run` in one.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def houses_model(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A small model of the made-up houses, with a holdout, dates and a number as a category."""
    case = lay(
        tmp_path_factory.mktemp("houses"),
        house_frame(),
        architecture={"type": "mlp", "hidden_sizes": [8]},
        features={"kinds": {"stars": "categorical"}},
        holdout={"fraction": 0.1},
        max_epochs=30,
        batch_size=16,
        dropout=0.0,
        optimizer={"learning_rate": 0.02},
    )
    return build(case)
