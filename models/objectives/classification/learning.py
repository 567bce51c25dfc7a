"""Trains and scores predictions of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import Tensor

from models.charts.chart import Chart
from models.objectives.base import MEASURED, Codes, Vector
from models.objectives.baselines import Baseline
from models.objectives.charted import Charted
from models.objectives.classification import sets
from models.objectives.classification.answers import Classes, SetBounds, SetCalibration
from models.objectives.classification.baselines import (
    BoostingBaseline,
    LogisticBaseline,
    MajorityBaseline,
)
from models.objectives.classification.calibration import (
    Fold,
    by_member,
    calibrate,
    other_folds,
)
from models.objectives.classification.cells import column_of
from models.objectives.classification.charts import charts
from models.objectives.classification.graph import add_labels
from models.objectives.classification.logistic import solve
from models.objectives.classification.metrics import (
    Judged,
    by_class,
    calibration_error,
    confusion,
    log_losses,
)
from models.objectives.classification.objective import TRUE_PROBABILITY
from models.objectives.classification.probabilities import ClassTarget
from models.objectives.classification.thresholds import best_threshold
from models.objectives.conformal import bound, upper_scores
from models.objectives.learning import (
    Assessment,
    Learning,
    LinearProblem,
    Scored,
    Target,
)
from models.objectives.losses import RowLoss, loss_of
from models.objectives.metrics import Metrics
from models.spec import TrainingSpec

# Probabilities of all classes are kept out of fold, unless there are very many.
MOST_KEPT = 100
# Classes in one drawing.
MOST_DRAWN = 3
# Rows of each class, at least, for sets that hold class by class.
FEWEST_CLASS_ROWS = 50


class ClassificationLearning(Learning):
    measured = "the uncertainty about the class"

    def target(
        self, training: Sequence[Vector], levels: tuple[str, ...], spec: TrainingSpec
    ) -> ClassTarget:
        return ClassTarget(training, levels, spec)

    def loss(self, spec: TrainingSpec) -> RowLoss:
        assert spec.loss is not None
        return loss_of(spec.loss, spec.label_smoothing)

    def watched_loss(self, spec: TrainingSpec) -> RowLoss:
        """Without smoothing: the log loss, or the margin loss itself."""
        assert spec.loss is not None
        return loss_of(spec.loss)

    def line(self, problem: LinearProblem) -> tuple[Vector, Vector]:
        return solve(problem)

    def baselines(self, spec: TrainingSpec, levels: tuple[str, ...]) -> Mapping[str, Baseline]:
        classes = len(levels)
        known: dict[str, tuple[str, Baseline]] = {
            "mean": ("majority", MajorityBaseline(classes)),
            "ridge": ("logistic_regression", LogisticBaseline(classes)),
            "boosting": ("boosting", BoostingBaseline(classes)),
        }
        return dict(known[name] for name in spec.baselines)

    def refine(
        self,
        target: Target,
        scored: Sequence[tuple[Vector, Tensor]],
        spec: TrainingSpec,
    ) -> None:
        assert isinstance(target, ClassTarget)
        in_time = spec.folds.type == "time"
        folds = [
            Fold(actual.astype(np.int64), outputs.double().numpy()) for actual, outputs in scored
        ]
        actual = np.concatenate([fold.actual for fold in folds])
        plain = np.concatenate([fold.probabilities(1.0).mean(0) for fold in folds])
        target.uncalibrated = _calibration(actual, plain)
        calibrate(target, folds, in_time=in_time)
        if target.positive is not None:
            self._choose_thresholds(target, target.positive, scored, spec)

    def _choose_thresholds(
        self,
        target: ClassTarget,
        positive: int,
        scored: Sequence[tuple[Vector, Tensor]],
        spec: TrainingSpec,
    ) -> None:
        """Each fold's from the rows of the others, and the served one from all."""
        given = spec.decision.threshold
        members = len(target.prior) // len(scored)
        found = []
        for fold, (actual, outputs) in enumerate(scored):
            own = slice(fold * members, (fold + 1) * members)
            probability = target.restore(outputs, own).mean(0).numpy()[:, positive]
            found.append(((actual == positive).astype(float), probability))

        def best(parts: Sequence[tuple[Vector, Vector]]) -> float:
            if not parts:
                return given if isinstance(given, float) else 0.5
            truths, probabilities = map(np.concatenate, zip(*parts, strict=True))
            return best_threshold(spec.decision, truths, probabilities)

        in_time = spec.folds.type == "time"
        chosen = [best(other_folds(found, fold, in_time=in_time)) for fold in range(len(found))]
        target.threshold = by_member(chosen, target, len(found))
        target.served_threshold = best(found)

    def decided(self, target: Target, predictions: Vector, fold: Codes) -> Codes:
        assert isinstance(target, ClassTarget)
        members = len(target.prior) // (int(fold.max()) + 1)
        thresholds = target.threshold[::members, 0].numpy()[fold]
        return sets.decided(predictions, target.positive, thresholds)

    def assess(self, scored: Scored) -> Assessment:
        target, outputs, levels = scored.target, scored.outputs, scored.levels
        assert isinstance(target, ClassTarget)
        actual = scored.actual.astype(np.int64)
        members = len(target.prior) // (int(scored.fold.max()) + 1)
        predicted = self.decided(target, outputs.values, scored.fold)
        judged = Judged(actual, outputs.values, predicted, target.positive)
        shares = sets.chance(outputs.numbers, outputs.codes)
        scores = sets.scores(outputs.values, shares)
        measured = _crossed_sets(scored, actual, scores)
        words = np.array(levels, object)
        calibration = {
            "outputs": "margins" if target.has_margins else "log_odds",
            "method": target.method,
            "temperatures": target.temperature[::members, 0].tolist(),
            "before": target.uncalibrated,
            "after": _calibration(actual, outputs.values),
        }
        kept = Classes(
            levels=list(levels),
            positive=target.positive,
            threshold=target.served_threshold,
            shares=(np.bincount(predicted, minlength=len(levels)) / len(predicted)).tolist(),
            calibration=_set_calibration(_of_truth(scores, actual), actual, levels),
        )
        columns = {
            "actual": words[actual],
            "prediction": words[predicted],
            "probability": _of_truth(outputs.values, predicted),
            TRUE_PROBABILITY: _of_truth(outputs.values, actual),
        }
        if len(levels) <= MOST_KEPT:
            names = map(column_of, levels)
            columns |= dict(zip(names, outputs.values.T, strict=True))
        positive = target.positive
        return Assessment(
            judged.metrics(),
            judged.errors(scored.units),
            result={
                "classes": by_class(actual, predicted, levels),
                "confusion": confusion(actual, predicted, levels),
                "decision": None
                if positive is None
                else {
                    "positive": levels[positive],
                    "threshold": target.served_threshold,
                    "by_fold": target.threshold[::members, 0].tolist(),
                },
                "calibration": calibration,
                "sets": measured,
            },
            kept={"classes": kept, "sets": measured},
            columns=columns,
        )

    def assess_holdout(self, assessment: Assessment, scored: Scored) -> dict[str, Any]:
        target, outputs = scored.target, scored.outputs
        assert isinstance(target, ClassTarget)
        actual = scored.actual.astype(np.int64)
        predicted = sets.decided(outputs.values, target.positive, target.served_threshold)
        judged = Judged(actual, outputs.values, predicted, target.positive)
        known = assessment.kept["classes"].calibration.model_dump()
        scores = sets.scores(outputs.values, sets.chance(outputs.numbers, outputs.codes))
        return {
            "metrics": judged.metrics(),
            "metrics_error": judged.errors(scored.units),
            "sets": [
                _measure(
                    actual,
                    scores <= sets.bounds(known, scored.levels, coverage, by_class=False),
                    coverage,
                    scored.levels,
                )
                for coverage in MEASURED
            ],
        }

    def charts(self, charted: Charted) -> list[Chart]:
        return charts(charted)

    def drawn(
        self, values: Vector, levels: tuple[str, ...], result: Mapping[str, Any]
    ) -> dict[str, Vector]:
        """Of the positive class, or of those with the most rows."""
        decision = result["decision"]
        if decision is not None:
            names = [decision["positive"]]
        else:
            ranked = sorted(result["classes"], key=lambda row: -row["rows"])
            names = [row["level"] for row in ranked[:MOST_DRAWN]]
        return {column_of(name): values[..., levels.index(name)] for name in names}

    def fold_metrics(
        self,
        target: Target,
        actual: Vector,
        predicted: Vector,
        truths: Vector,  # noqa: ARG002
    ) -> Metrics:
        assert isinstance(target, ClassTarget)
        codes = sets.decided(predicted, target.positive, target.threshold[0].item())
        return Judged(actual.astype(np.int64), predicted, codes, target.positive).metrics()

    def constant_error(self, target: Target, actual: Vector) -> float:
        """The entropy of the classes."""
        assert isinstance(target, ClassTarget)
        shares = np.bincount(actual.astype(np.int64), minlength=target.outputs) / len(actual)
        return float(log_losses(actual, np.tile(shares, (len(actual), 1))).mean())

    def typical_error(self, means: Vector) -> Vector:
        return means

    def kept(self, target: Target) -> dict[str, Any]:  # noqa: ARG002
        return {}

    def finish(self, graph: onnx.ModelProto, kept: dict[str, Any]) -> None:
        add_labels(graph, kept["classes"])

    def differ(
        self, predictions: Vector, added: Sequence[NDArray[Any]], kept: dict[str, Any]
    ) -> str | None:
        classes: Classes = kept["classes"]
        places = sets.decided(predictions, classes.positive, classes.threshold)
        [labels] = added
        wrong = np.flatnonzero(np.array(classes.levels, object)[places] != labels)
        return f"{len(wrong)} labels do not follow from the probabilities" if len(wrong) else None


def _of_truth(by_class: Vector, codes: Codes) -> Vector:
    """(n,) of (n, C), those of the classes (n,)."""
    found: Vector = np.take_along_axis(by_class, codes[:, None], 1)[:, 0]
    return found


def _calibration(actual: Codes, probabilities: Vector) -> Metrics:
    return {
        "log_loss": float(log_losses(actual, probabilities).mean()),
        "ece": calibration_error(actual, probabilities),
    }


def _set_calibration(true: Vector, actual: Codes, levels: tuple[str, ...]) -> SetCalibration:
    """From the scores (n,) of the true classes."""
    own = [true[actual == place] for place in range(len(levels))]
    enough = min(map(len, own)) >= FEWEST_CLASS_ROWS
    return SetCalibration(
        **upper_scores(true),
        by_class={
            level: SetBounds(**upper_scores(part)) for level, part in zip(levels, own, strict=True)
        }
        if enough
        else {},
    )


def _crossed_sets(scored: Scored, actual: Codes, scores: Vector) -> list[dict[str, Any]]:
    """For each coverage, the sets of each fold's rows with the bounds of the others; in time, of
    earlier ones."""
    in_time = scored.spec.folds.type == "time"
    true = _of_truth(scores, actual)
    found = []
    for coverage in MEASURED:
        inside = np.ones_like(scores, bool)
        known = np.zeros(len(scores), bool)
        for fold in np.unique(scored.fold):
            own = scored.fold == fold
            others = scored.fold < fold if in_time else ~own
            if not others.any():
                continue
            largest = bound(upper_scores(true[others]), coverage)
            inside[own] = scores[own] <= largest
            known |= own & np.isfinite(largest)
        found.append(_measure(actual[known], inside[known], coverage, scored.levels))
    return found


def _measure(
    actual: Codes, inside: np.ndarray, coverage: float, levels: tuple[str, ...]
) -> dict[str, Any]:
    """How many truths lie in their sets (n, C), overall and by class, and the sets' mean size."""
    hit = np.take_along_axis(inside, actual[:, None], 1)[:, 0]
    rows = np.bincount(actual, minlength=len(levels))
    hits = np.bincount(actual, hit, minlength=len(levels))
    return {
        "coverage": coverage,
        "rows": len(actual),
        "measured": float(hit.mean()) if len(actual) else None,
        "mean_size": float(inside.sum(1).mean()) if len(actual) else None,
        "empty": float((~inside.any(1)).mean()) if len(actual) else None,
        "by_class": {
            level: float(hits[place] / rows[place]) if rows[place] else None
            for place, level in enumerate(levels)
        },
    }
