"""What can be predicted, by the name of the task."""

from __future__ import annotations

from models.objectives.base import Objective
from models.objectives.classification.objective import Classification
from models.objectives.metrics import Metric
from models.objectives.regression.objective import Regression
from models.spec import Task, TrainingSpec
from models.tables.profile import ColumnProfile

REGRESSION, CLASSIFICATION = "regression", "classification"
OBJECTIVES: dict[str, Objective] = {
    REGRESSION: Regression(),
    CLASSIFICATION: Classification(),
}

METRICS: dict[str, Metric] = {
    name: metric for objective in OBJECTIVES.values() for name, metric in objective.metrics.items()
}
# Those that say most, the first that a result has.
HEADLINES = [name for objective in OBJECTIVES.values() for name in objective.headline]


def task_of(spec: TrainingSpec) -> str:
    """The name of a resolved spec's task; one of an earlier version has none."""
    return REGRESSION if spec.task == "auto" else spec.task


def task_for(target: ColumnProfile) -> Task:
    """The task that `auto` stands for: 0/1 and words are classes."""
    has_classes = target.storage == "text" or target.kind == "binary"
    return "classification" if has_classes else "regression"


def objective_of(spec: TrainingSpec) -> Objective:
    return OBJECTIVES[task_of(spec)]
