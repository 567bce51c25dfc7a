"""The file that a trial leaves: its networks, and what they predict out of fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from safetensors import safe_open
from torch import Tensor

from models.data.design import Design
from models.data.folds import FoldRows
from models.epochs import FoldEpoch
from models.members import members_of
from models.networks import build_network
from models.networks.extras import Extras
from models.objectives.base import Codes
from models.spec import TrainingSpec
from models.training.checkpoint import pack, unpack_state
from models.training.engine import TrainedPopulation
from models.training.inputs import Inputs
from models.training.progress import Course

EPOCHS: TypeAdapter[list[FoldEpoch]] = TypeAdapter(list[FoldEpoch])

WEIGHTS = "best/"  # before their names


@dataclass(frozen=True)
class OutOfFoldRows:
    """What a trial predicts of the design's rows, NaN where no fold scored the row.

    raw : (n, outputs) float32, before the target's transform is undone
    prediction : (n, …) on the target's own scale; float64 if it is a number, which may be large
        and vary little
    predicted : (n,) indices of the predicted classes; None if a number is predicted
    """

    raw: NDArray[np.float32]
    prediction: NDArray[np.floating]
    predicted: Codes | None


@dataclass(frozen=True)
class Saved:
    """What a trial left. Its arrays are parts of the file, which the system reads when they are
    used: those of a thousand trials need not fit in memory.

    epochs : those that a report draws
    """

    weights: dict[str, Tensor]
    courses: list[Course]
    rows: OutOfFoldRows
    epochs: list[FoldEpoch]

    @classmethod
    def read(cls, path: Path) -> Saved:
        """Raises ValueError for a file of another version."""
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        state = unpack_state(tensors)
        if state is None:
            raise ValueError("the trials were trained by another version: run the sweep again")
        predicted = tensors.get("predicted")
        return cls(
            {
                name.removeprefix(WEIGHTS): value
                for name, value in tensors.items()
                if name.startswith(WEIGHTS)
            },
            [Course.from_dict(course) for course in state["courses"]],
            OutOfFoldRows(
                tensors["raw"].numpy(),
                tensors["prediction"].numpy(),
                None if predicted is None else predicted.numpy(),
            ),
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
    population: TrainedPopulation, rows: OutOfFoldRows, epochs: Sequence[FoldEpoch]
) -> bytes:
    """The bytes of the file, see `Saved`."""
    weights = population.network.state_dict()
    arrays = {name: own for name, own in vars(rows).items() if own is not None}
    return pack(
        {f"{WEIGHTS}{name}": value for name, value in weights.items()}
        | {name: torch.from_numpy(own) for name, own in arrays.items()},
        {
            "courses": [asdict(course) for course in population.courses],
            "epochs": EPOCHS.dump_python(list(epochs), mode="json"),
        },
    )
