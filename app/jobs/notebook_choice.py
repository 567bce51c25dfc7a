"""Which of a job's models its notebook shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import Conflict
from models.objectives import task_of
from models.spec import TrainingSpec
from models.spec.architectures import LinearArchitecture, MlpArchitecture, Periodic

CELLS = Path(__file__).parent / "notebook_cells"


@dataclass(frozen=True)
class Shown:
    """One model of a job.

    members : of the job's blend; 0 if the job has a single model
    place : of the model among them
    error : of a blend's member, as its job reports it
    """

    spec: TrainingSpec
    architecture: LinearArchitecture | MlpArchitecture
    members: int = 0
    place: int = 0
    error: float | None = None


def choose(job_id: str, spec: TrainingSpec, result: Mapping[str, Any]) -> Shown:
    """The job's model, or the first of its blend that a notebook can show.

    Raises
    ------
    Conflict: there is none.
    """
    reasons: dict[str, None] = {}
    members = result["blend"]["members"] if "blend" in result else [None]
    for place, (trial, member) in enumerate(zip(spec.trials(), members, strict=False)):
        own, reason = trial.architecture, _why_not(trial)
        if member is not None and member["error"] is None:
            reason = reason or "it could not be trained in all folds"
        if reason is None and isinstance(own, LinearArchitecture | MlpArchitecture):
            if member is None:
                return Shown(trial, own)
            return Shown(trial, own, len(members), place, member["error"])
        reasons[f"{own.type}: {reason}"] = None
    raise Conflict(
        "A notebook shows linear models and multilayer perceptrons that start anew. "
        f"{job_id} has none ({'; '.join(reasons)})."
    )


def _why_not(spec: TrainingSpec) -> str | None:
    own = spec.architecture
    if not isinstance(own, LinearArchitecture | MlpArchitecture):
        return "it is another architecture"
    if isinstance(own, MlpArchitecture) and isinstance(own.numeric_embedding, Periodic):
        return "its numeric_embedding is 'periodic'"
    if spec.initialize_from is not None:
        return "it starts from an earlier model"
    if spec.freeze:
        return "it freezes layers"
    if not (CELLS / f"target_{task_of(spec)}.py").exists():
        return f"its task is '{task_of(spec)}'"
    if spec.loss in ("hinge", "perceptron"):
        return f"its loss is '{spec.loss}'"
    return None
