"""The half of each objective that trains, by the name of the task."""

from __future__ import annotations

from models.objectives import CLASSIFICATION, REGRESSION, task_of
from models.objectives.classification.learning import ClassificationLearning
from models.objectives.learning import Learning
from models.objectives.regression.learning import RegressionLearning
from models.spec import TrainingSpec

LEARNING: dict[str, Learning] = {
    REGRESSION: RegressionLearning(),
    CLASSIFICATION: ClassificationLearning(),
}


def learning_of(spec: TrainingSpec) -> Learning:
    return LEARNING[task_of(spec)]
