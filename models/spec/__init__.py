"""The training spec, shared by the HTTP service, the workers and the numeric code.

A submitted spec leaves most settings out. `models.planning.resolve.resolve` fills in every default
for the table's profile. The resolved spec is stored, hashed and trained.
"""

from __future__ import annotations

from models.spec.training import (
    SHORT_NAMES,
    ColumnKind,
    Comparables,
    Costs,
    Decision,
    EarlyStopping,
    Features,
    Loss,
    MemberSettings,
    Preprocessing,
    Schedule,
    TargetTransform,
    Task,
    TrainingSpec,
)

__all__ = [
    "SHORT_NAMES",
    "ColumnKind",
    "Comparables",
    "Costs",
    "Decision",
    "EarlyStopping",
    "Features",
    "Loss",
    "MemberSettings",
    "Preprocessing",
    "Schedule",
    "TargetTransform",
    "Task",
    "TrainingSpec",
]
