"""The training spec: the vocabulary that the HTTP service, the workers and the numeric code share.

A spec as submitted leaves most things out; `models.planning.resolve.resolve` fills every default in
against the table's profile, and the resolved spec is what is stored, hashed and trained.
"""

from __future__ import annotations

from models.spec.training import (
    SHORT_NAMES,
    ColumnKind,
    EarlyStopping,
    Features,
    Loss,
    Preprocessing,
    Schedule,
    TargetTransform,
    TrainingSpec,
)

__all__ = [
    "SHORT_NAMES",
    "ColumnKind",
    "EarlyStopping",
    "Features",
    "Loss",
    "Preprocessing",
    "Schedule",
    "TargetTransform",
    "TrainingSpec",
]
