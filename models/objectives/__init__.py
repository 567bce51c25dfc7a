"""What can be predicted, by the name of the task."""

from __future__ import annotations

from models.objectives.base import Objective
from models.objectives.metrics import Metric
from models.objectives.regression.objective import Regression
from models.spec import TrainingSpec

REGRESSION = "regression"
OBJECTIVES: dict[str, Objective] = {REGRESSION: Regression()}

METRICS: dict[str, Metric] = {
    name: metric for objective in OBJECTIVES.values() for name, metric in objective.metrics.items()
}


def task_of(spec: TrainingSpec) -> str:  # noqa: ARG001
    """The name of a spec's task."""
    return REGRESSION


def objective_of(spec: TrainingSpec) -> Objective:
    return OBJECTIVES[task_of(spec)]
