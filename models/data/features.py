"""The columns that the networks see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.spec import TrainingSpec
from models.tables.profile import Profile
from models.tables.readings import Reading


@dataclass(frozen=True)
class Feature:
    """A column that the network sees."""

    name: str
    kind: Literal["numeric", "categorical", "datetime"]
    reading: Reading | None = None


def select(spec: TrainingSpec, profile: Profile) -> list[Feature]:
    """The features of a resolved spec, in the table's order."""
    features = []
    for column in profile.columns:
        kind = spec.features.kinds.get(column.name)
        if kind == "numeric" and column.storage == "datetime":
            features.append(Feature(column.name, "datetime", column.reading))
        elif kind is not None:
            features.append(Feature(column.name, kind, column.reading))
    return features
