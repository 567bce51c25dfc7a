"""The file that a trial leaves: its networks, and what they predict out of fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor

from models.data.design import Design
from models.data.folds import FoldRows
from models.epochs import FoldEpoch
from models.members import members_of
from models.networks import build_network
from models.networks.extras import Extras
from models.spec import TrainingSpec
from models.training.checkpoint import pack, unpack
from models.training.engine import TrainedPopulation
from models.training.inputs import Inputs
from models.training.progress import Course

EPOCHS: TypeAdapter[list[FoldEpoch]] = TypeAdapter(list[FoldEpoch])

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Saved:
    """What a trial left.

    raw : (n, outputs) of the design's rows before the target's transform is undone, NaN where no
        fold scored the row
    prediction : (n, …) the same on the target's own scale
    epochs : those that a report draws
    """

    weights: dict[str, Tensor]
    courses: list[Course]
    raw: Rows
    prediction: Rows
    epochs: list[FoldEpoch]

    @classmethod
    def read(cls, path: Path) -> Saved:
        """Raises ValueError for a file of another version."""
        unpacked = unpack(path.read_bytes())
        if unpacked is None:
            raise ValueError("the trials were trained by another version: run the sweep again")
        tensors, state = unpacked
        return cls(
            {
                name.removeprefix("best/"): value
                for name, value in tensors.items()
                if name.startswith("best/")
            },
            [Course.from_dict(course) for course in state["courses"]],
            tensors["raw"].numpy(),
            tensors["prediction"].numpy(),
            EPOCHS.validate_python(state["epochs"]),
        )

    def population(
        self,
        spec: TrainingSpec,
        design: Design,
        folds: Sequence[FoldRows],
        extras: Extras | None,
    ) -> TrainedPopulation:
        """The networks, with what the folds learn of the table beside them."""
        inputs = Inputs(spec, design, folds, torch.device("cpu"), extras=extras)
        network = build_network(members_of([spec]), inputs.shape)
        network.load_state_dict(self.weights)
        return TrainedPopulation(
            network,
            inputs.encoder,
            inputs.target,
            inputs.statistics,
            self.courses,
            inputs.extras,
        )


def packed(
    population: TrainedPopulation, raw: Rows, prediction: Rows, epochs: Sequence[FoldEpoch]
) -> bytes:
    """The bytes of the file, see `Saved`."""
    weights = population.network.state_dict()
    return pack(
        {f"best/{name}": value for name, value in weights.items()}
        | {"raw": torch.from_numpy(raw), "prediction": torch.from_numpy(prediction)},
        {
            "courses": [asdict(course) for course in population.courses],
            "epochs": EPOCHS.dump_python(list(epochs), mode="json"),
        },
    )
