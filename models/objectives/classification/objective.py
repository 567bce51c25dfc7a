"""The objective of predicting one of several classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from models.objectives.base import Codes, Guide, Objective, TargetColumn, Vector, Yardstick
from models.objectives.classification import levels
from models.objectives.classification.answers import ClassAnswers, Classes
from models.objectives.classification.cells import PROBABILITIES
from models.objectives.classification.levels import MOST_CLASSES
from models.objectives.classification.metrics import METRICS, Judged, negative_logs, row_terms
from models.objectives.classification.words import told
from models.objectives.metrics import OfMeans, OfRows
from models.spec import Decision, TrainingSpec
from models.tables.arrays import level_of
from models.tables.faults import quoted
from models.tables.profile import SHOWN_CHARACTERS, ColumnProfile
from models.tables.wording import pointer_part

# The probability that a model gave to the true class, in a table of out-of-fold predictions.
TRUE_PROBABILITY = "probability_of_actual"
# Classes whose rows a review looks at one by one.
MOST_FACETS = 20
# A larger share of one class makes accuracy say little.
UNEQUAL = 0.95
NAMED = 5  # classes in one message


class Classification(Objective):
    """An output for each of 2 to 1,000 classes; softmax makes them probabilities."""

    metrics = METRICS
    headline = ("log_loss",)
    losses = ("cross_entropy", "hinge", "perceptron")
    checks_cells = True
    output = PROBABILITIES
    standalone = (
        "models.objectives.classification.standalone",
        "models.objectives.classification.sets",
        "models.objectives.conformal",
    )
    guide = Guide(
        example="rows.csv > predictions.csv",
        each="the class's probability, and a set of classes that contains 90 % of the true ones",
        answers="predictions, probabilities and sets",
        outputs="label [N] (string), probabilities [N, C] and members [K, N, C], the probabilities "
        "of each fold model; the C classes are in the order of the manifest's classes.levels.",
        kept="the scores from which sets are computed",
        modules={
            "sets.py": "Computes sets of classes.",
            "conformal.py": "Finds the scores that bound them.",
        },
    )
    compared = (TRUE_PROBABILITY,)

    def faults(self, spec: TrainingSpec, target: ColumnProfile) -> list[tuple[str, str]]:
        found = []
        if target.storage == "datetime":
            found.append(("/target", f"'{target.name}' holds dates, which are not classes"))
        elif target.distinct < 2:
            found.append(
                (
                    "/target",
                    f"'{target.name}' has {target.distinct} value, so there is nothing to learn: "
                    + (
                        "write a word in its missing cells"
                        if target.missing
                        else "choose a target that varies"
                    ),
                )
            )
        elif target.distinct > MOST_CLASSES:
            found.append(
                (
                    "/target",
                    f"'{target.name}' has {target.distinct:,} distinct values, above "
                    f"{MOST_CLASSES:,} classes: group its values"
                    + (", or set task to 'regression'" if target.storage == "number" else ""),
                )
            )
        preprocessing = spec.preprocessing
        if preprocessing.target_transform == "log":
            found.append(("/preprocessing/target_transform", "'log' applies to numbers"))
        if preprocessing.retransform == "mean":
            found.append(("/preprocessing/retransform", "'mean' applies to numbers"))
        if spec.architecture.type == "perceptron" and spec.loss not in (None, "perceptron"):
            found.append(
                ("/loss", f"'{spec.loss}' is for other architectures: use 'linear' or 'perceptron'")
            )
        if spec.architecture.type in ("kernel", "ridge"):
            detail = "kernel and ridge predict numbers; use linear, mlp or boosted_trees"
            found.append(("/architecture/type", detail))
        if spec.architecture.type == "boosted_trees" and spec.loss not in (None, "cross_entropy"):
            detail = f"'{spec.loss}' is for networks: 'boosted_trees' has 'cross_entropy'"
            found.append(("/loss", detail))
        if spec.label_smoothing > 0 and spec.loss not in (None, "cross_entropy"):
            found.append(("/label_smoothing", f"applies to 'cross_entropy', not to '{spec.loss}'"))
        if spec.decision != Decision() and target.distinct > 2 and spec.rare_classes == "refuse":
            found.append(
                ("/decision", f"applies to two classes, and '{target.name}' has {target.distinct}")
            )
        return found

    def faults_of_cells(self, spec: TrainingSpec, column: pa.ChunkedArray) -> list[tuple[str, str]]:
        counts = levels.counted(column)
        needed = levels.least_rows(spec)
        known = set(levels.read(column, spec).levels)
        found = []
        if len(known) < 2:
            return [("/rare_classes", "'merge' leaves a single class: use fewer folds")]
        if rare := levels.rare(counts, spec):
            if spec.rare_classes == "refuse":
                found.append(
                    (
                        "/target",
                        f"{_listed(counts, rare)} of '{spec.target}', and {needed} are needed for "
                        f"{_folds(spec)}: use fewer folds, set rare_classes to 'merge', or leave "
                        "these rows out",
                    )
                )
            elif (rows := sum(counts[level] for level in rare)) < needed:
                found.append(
                    (
                        "/rare_classes",
                        f"'merge' gives '{levels.OTHER}' only {rows} rows, and {needed} are needed "
                        f"for {_folds(spec)}: use fewer folds, or leave these rows out",
                    )
                )
        weights = spec.class_weights if isinstance(spec.class_weights, dict) else {}
        for level in weights:
            if level not in known:
                pointer = f"/class_weights/{pointer_part(level)}"
                found.append((pointer, _not_a_class(level, known)))
        positive = spec.decision.positive
        if positive is not None and positive not in known:
            found.append(("/decision/positive", _not_a_class(positive, known)))
        return found

    def with_defaults(self, spec: TrainingSpec, target: ColumnProfile) -> TrainingSpec:
        loss = "perceptron" if spec.architecture.type == "perceptron" else self.losses[0]
        updates: dict[str, Any] = {"loss": spec.loss or loss}
        if "type" not in spec.folds.model_fields_set:
            updates["folds"] = spec.folds.model_copy(update={"type": "stratified"})
        known, rows = _two(target) if target.distinct == 2 else ([], [])
        is_whole = all(len(level) < SHOWN_CHARACTERS for level in known)
        if known and is_whole and spec.decision.positive is None:
            place = levels.positive_of(known, rows, None)
            assert place is not None
            updates["decision"] = spec.decision.model_copy(update={"positive": known[place]})
        return spec.model_copy(update=updates)

    def is_complete(self, spec: TrainingSpec) -> bool:  # noqa: ARG002
        return True

    def complete(
        self,
        spec: TrainingSpec,
        smallest: float | None,  # noqa: ARG002
        skewness: float | None,  # noqa: ARG002
    ) -> TrainingSpec:
        return spec

    def outputs(self, target: ColumnProfile) -> int:
        return target.distinct

    def read(self, column: pa.ChunkedArray, spec: TrainingSpec) -> TargetColumn:
        return levels.read(column, spec)

    def strata(self, target: Vector, most: int) -> Codes:  # noqa: ARG002
        return target.astype(np.int64)

    def strata_aside(self, target: Vector) -> Codes:
        return target.astype(np.int64)

    def facets(self, target: Vector) -> Vector:
        """Of the most frequent classes, that nearest to half of the rows first."""
        classes, rows = np.unique(target, return_counts=True)
        frequent = np.argsort(-rows, kind="stable")[:MOST_FACETS]
        nearest = np.argsort(np.abs(rows[frequent] / len(target) - 0.5), kind="stable")
        facets: Vector = (target[:, None] == classes[frequent][nearest]).astype(np.float64)
        return facets

    def remarks(
        self,
        spec: TrainingSpec,
        target: ColumnProfile,  # noqa: ARG002
        column: pa.ChunkedArray,
    ) -> list[tuple[str, str]]:
        counts = levels.counted(column)
        found = []
        for group in levels.alike(list(counts))[:NAMED]:
            found.append(
                (
                    "classes_alike",
                    f"{' and '.join(map(quoted, group))} differ only by case or blanks, and are "
                    "classes of their own: spell them alike if they are one",
                )
            )
        rare = levels.rare(counts, spec) if spec.rare_classes == "merge" else []
        if rare:
            found.append(
                (
                    "rare_classes_merged",
                    f"{len(rare)} classes with fewer than {levels.least_rows(spec)} rows are one "
                    f"class, '{levels.OTHER}': {_named(rare)}",
                )
            )
        largest = max(counts, key=counts.__getitem__, default="")
        share = counts.get(largest, 0) / max(1, sum(counts.values()))
        if share > UNEQUAL:
            found.append(
                (
                    "classes_unequal",
                    f"{100 * share:.1f} % of the rows are {quoted(largest)}, so a model that "
                    "always predicts it has that accuracy: look at balanced_accuracy and log_loss",
                )
            )
        if spec.class_weights is not None:
            found.append(
                (
                    "probabilities_weighted",
                    "class_weights shift the probabilities towards the classes with more weight: "
                    "to shift decisions alone, set decision.threshold",
                )
            )
        return found

    def reweighed(
        self,
        metric: str,
        actual: Vector,
        values: Vector,
        predicted: Codes | None = None,
        positive: int | None = None,
    ) -> OfMeans | OfRows:
        codes = actual.astype(np.int64)
        said = values.argmax(1) if predicted is None else predicted
        terms = row_terms(metric, codes, values, said)
        if terms is None:
            return OfRows(partial(Judged(codes, values, said, positive).value, metric))
        return OfMeans(terms[:, None], lambda means: means[..., 0])

    def answering(self, manifest: Any) -> ClassAnswers:
        return ClassAnswers(_classes(manifest))

    def shown(self, manifest: Any) -> dict[str, Any]:
        classes = _classes(manifest)
        positive = classes.positive
        return {
            "classes": {
                "levels": classes.levels,
                "positive": None if positive is None else classes.levels[positive],
                "threshold": classes.threshold,
            },
            "sets": manifest.model_extra["sets"],
        }

    def unlike(self, challenger: Any, champion: Any) -> str | None:
        first, second = (_classes(manifest).levels for manifest in (challenger, champion))
        if set(first) == set(second):
            return None
        return f"one predicts the classes {_named(first)}, the other {_named(second)}"

    def told(self, target: str, result: Mapping[str, Any]) -> list[str]:
        return told(target, result)

    def yardstick(self, challenger: Any, champion: Any) -> Yardstick:  # noqa: ARG002
        def rows(table: pa.Table) -> Vector:
            return negative_logs(table[TRUE_PROBABILITY].to_numpy())

        return Yardstick("log_loss", rows, np.positive)


def _classes(manifest: Any) -> Classes:
    return Classes.model_validate(manifest.model_extra["classes"])


def _two(target: ColumnProfile) -> tuple[list[str], list[float]]:
    """The two levels of a target, and their shares or counts."""
    if target.top is not None:
        pairs = sorted(target.top)
        return [level for level, _ in pairs], [rows for _, rows in pairs]
    assert target.min is not None
    assert target.max is not None
    assert target.mean is not None
    share = (target.mean - target.min) / (target.max - target.min)
    return [level_of(target.min), level_of(target.max)], [1 - share, share]


def _listed(counts: dict[str, int], rare: list[str]) -> str:
    named = ", ".join(
        f"{quoted(level)} has {counts[level]} row{'s' * (counts[level] > 1)}"
        for level in rare[:NAMED]
    )
    more = f" and {len(rare) - NAMED} more classes have few" if len(rare) > NAMED else ""
    return f"the class {named}{more}"


def _folds(spec: TrainingSpec) -> str:
    return f"{spec.k_folds} folds" + (" and a holdout" if spec.holdout else "")


def _not_a_class(level: str, known: set[str]) -> str:
    return f"{quoted(level)} is not a class: {_named(sorted(known))}"


def _named(names: Sequence[str]) -> str:
    more = ", …" if len(names) > NAMED else ""
    return ", ".join(map(quoted, names[:NAMED])) + more
