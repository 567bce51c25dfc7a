"""The members of a population: folds × trials × seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.randomness import stream_seed
from models.spec import TrainingSpec


@dataclass(frozen=True)
class Member:
    """One network: a trial's spec, a fold, and its index among the trial's members of the fold."""

    trial: int
    spec: TrainingSpec
    fold: int
    replica: int

    @property
    def place(self) -> tuple[int, int, int]:
        """Its name in a run: (trial, fold, replica)."""
        return (self.trial, self.fold, self.replica)

    @property
    def stream(self) -> tuple[int, int]:
        """What its random numbers depend on besides the seed. The trial is not part of it."""
        return (self.fold, self.replica)

    @property
    def initial_seed(self) -> int:
        """The stream of its first weights: trials with one initialisation start from the same."""
        return stream_seed(self.spec.seed, "weights", *self.stream)


def members_of(trials: Sequence[TrainingSpec]) -> list[Member]:
    """Members by fold, and within a fold by trial.

    With one trial, fold f owns members f·m … f·m + m − 1, m = members_per_fold.
    """
    return [
        Member(trial, spec, fold, replica)
        for fold in range(trials[0].k_folds)
        for trial, spec in enumerate(trials)
        for replica in range(spec.members_per_fold)
    ]


def population_key(spec: TrainingSpec) -> str:
    """Equal for specs whose members can train as one population. The other settings are numbers
    that may differ between members."""
    own = {
        "dropout": 0.0,
        "weight_decay": 0.0,
        "optimizer": spec.optimizer.model_copy(
            update={"learning_rate": 1.0, "gradient_clip": None}
        ),
        "architecture": spec.architecture.model_copy(update={"initialization": "default"}),
    }
    return spec.model_copy(update=own).model_dump_json()
