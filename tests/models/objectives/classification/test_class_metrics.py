"""Metrics of classes, against scikit-learn, and their standard errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics

from models.objectives.classification.metrics import (
    ECE_BINS,
    METRICS,
    Judged,
    by_class,
    confusion,
    log_losses,
)

LEVELS = ("a", "b", "c")
Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


def drawn(rows: int = 300, classes: int = 3, seed: int = 0, digits: int | None = None) -> Drawn:
    """Truths, probabilities that say something about them, and the classes decided for; rounded,
    some probabilities are equal."""
    chance = np.random.default_rng(seed)
    outputs = chance.normal(size=(rows, classes)) + np.linspace(0, 1, classes)
    truths = (outputs + chance.gumbel(size=(rows, classes))).argmax(1)
    probabilities = np.exp(1.5 * outputs)
    probabilities /= probabilities.sum(1, keepdims=True)
    if digits is not None:
        probabilities = probabilities.round(digits)
    predicted = probabilities.argmax(1)
    if classes == 2:
        predicted = (probabilities[:, 1] >= 0.3).astype(int)
    return truths, probabilities, predicted


def ece(truths: np.ndarray, probabilities: np.ndarray) -> float:
    """Bin by bin, after Guo et al. 2017."""
    best, surest = probabilities.argmax(1), probabilities.max(1)
    total = 0.0
    for place in range(ECE_BINS):
        own = (surest >= place / ECE_BINS) & (surest < (place + 1) / ECE_BINS)
        if place == ECE_BINS - 1:
            own |= surest == 1
        if own.any():
            total += own.sum() * abs(surest[own].mean() - (best == truths)[own].mean())
    return total / len(truths)


def expected(truths: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray) -> dict:  # type: ignore[type-arg]
    classes = probabilities.shape[1]
    is_class = np.eye(classes)[truths]
    areas = [metrics.roc_auc_score(is_class[:, c], probabilities[:, c]) for c in range(classes)]
    found = {
        "accuracy": metrics.accuracy_score(truths, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(truths, predicted),
        "log_loss": -np.log(probabilities[np.arange(len(truths)), truths]).mean(),
        "brier": ((probabilities - is_class) ** 2).sum(1).mean(),
        "roc_auc": np.mean(areas),
        "f1": metrics.f1_score(truths, predicted, average="macro"),
        "mcc": metrics.matthews_corrcoef(truths, predicted),
        "ece": ece(truths, probabilities),
        "average_precision": None,
    }
    if classes == 2:
        found["average_precision"] = metrics.average_precision_score(truths, probabilities[:, 1])
    return found


@pytest.mark.parametrize("digits", [None, 1])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_metrics_are_scikit_learn_s(classes: int, digits: int | None) -> None:
    truths, probabilities, predicted = drawn(classes=classes, digits=digits)
    if digits is not None:  # certain errors have a log loss without bounds
        probabilities = (probabilities + 0.1) / (probabilities + 0.1).sum(1, keepdims=True)
    positive = 1 if classes == 2 else None
    found = Judged(truths, probabilities, predicted, positive).metrics()
    assert [*found] == [*METRICS]
    for name, value in expected(truths, probabilities, predicted).items():
        assert found[name] == (None if value is None else pytest.approx(value, rel=1e-9)), name


def test_log_loss_is_scikit_learn_s() -> None:
    truths, probabilities, _ = drawn()
    loss = metrics.log_loss(truths, probabilities)
    assert log_losses(truths, probabilities).mean() == pytest.approx(loss)
    assert Judged(truths, probabilities, truths, None).metrics()["log_loss"] == pytest.approx(loss)


def test_the_first_class_may_be_the_positive_one() -> None:
    truths, probabilities, predicted = drawn(classes=2)
    second, first = (Judged(truths, probabilities, predicted, p).metrics() for p in (1, 0))
    own = metrics.average_precision_score(truths == 0, probabilities[:, 0])
    assert first["average_precision"] == pytest.approx(own)
    assert first["average_precision"] != second["average_precision"]
    assert first["roc_auc"] == pytest.approx(second["roc_auc"])


def test_perfect_predictions_have_perfect_metrics() -> None:
    truths = np.arange(60) % 2
    found = Judged(truths, np.eye(2)[truths], truths, 1).metrics()
    assert found == {name: metric.perfect for name, metric in METRICS.items()}


def test_a_certain_error_is_bad_but_finite() -> None:
    found = Judged(np.array([0, 1]), np.eye(2)[[1, 1]], np.array([1, 1]), 1).metrics()
    assert found["log_loss"] is not None
    assert 300 < found["log_loss"] < 400
    assert found["brier"] == 1


def test_a_class_without_rows_does_not_count() -> None:
    """As in scikit-learn: in a fold or a holdout a class may be missing."""
    truths, probabilities, predicted = drawn(classes=3)
    kept = truths != 2
    truths, probabilities = truths[kept], probabilities[kept]
    predicted = np.where(predicted[kept] == 2, 0, predicted[kept])
    found = Judged(truths, probabilities, predicted, None).metrics()
    assert found["f1"] == pytest.approx(metrics.f1_score(truths, predicted, average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(
        metrics.balanced_accuracy_score(truths, predicted)
    )
    areas = [metrics.roc_auc_score(truths == c, probabilities[:, c]) for c in (0, 1)]
    assert found["roc_auc"] == pytest.approx(np.mean(areas))


def test_a_class_that_is_predicted_without_rows_counts() -> None:
    truths, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    found = Judged(truths, np.eye(3)[predicted], predicted, None).metrics()
    assert found["f1"] == pytest.approx(metrics.f1_score(truths, predicted, average="macro"))


def test_what_is_not_defined_is_none() -> None:
    truths, probabilities, predicted = drawn(rows=20, classes=2)
    found = Judged(np.ones(20, int), probabilities, predicted, 1).metrics()
    assert found["roc_auc"] is None
    found = Judged(np.zeros(20, int), probabilities, predicted, 1).metrics()
    assert (found["roc_auc"], found["average_precision"]) == (None, None)
    assert found["accuracy"] is not None
    constant = Judged(truths, probabilities, np.zeros(20, int), 1).metrics()
    assert constant["mcc"] == 0


# Standard errors.


def delete_one(
    judged: Callable[[np.ndarray], Judged], rows: int, units: np.ndarray
) -> dict[str, float]:
    """The jackknife over units, each metric computed again from the rows that are left."""
    left = [judged(np.flatnonzero(units != unit)).metrics() for unit in np.unique(units)]
    factor = len(left) - 1
    assert sum(np.bincount(units)) == rows
    return {
        name: np.sqrt(factor * np.var([one[name] for one in left]))
        for name in METRICS
        if left[0][name] is not None
    }


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("grouped", [False, True])
def test_errors_are_those_of_a_delete_one_loop(classes: int, grouped: bool) -> None:
    truths, probabilities, predicted = drawn(rows=90, classes=classes, seed=2)
    positive = 1 if classes == 2 else None
    units = np.random.default_rng(0).integers(0, 30, 90) if grouped else np.arange(90)

    def judged(rows: np.ndarray) -> Judged:
        return Judged(truths[rows], probabilities[rows], predicted[rows], positive)

    found = judged(np.arange(90)).errors(units)
    for name, error in delete_one(judged, 90, units).items():
        # That of `roc_auc` is DeLong's, which is the same to first order.
        tolerance = 0.1 if name == "roc_auc" else 1e-9
        assert found[name] == pytest.approx(error, rel=tolerance), name
    assert (found["average_precision"] is None) == (classes == 3)


def test_errors_of_many_rows_are_those_of_repeated_tables() -> None:
    """More rows than parts that are left out; the deviation of a part's error is 7 %."""
    names = ("accuracy", "balanced_accuracy", "log_loss", "brier", "roc_auc", "f1", "mcc")
    values, errors = [], []
    for seed in range(300):
        judged = Judged(*drawn(rows=400, classes=2, seed=seed), 1)
        values.append([judged.metrics()[name] for name in (*names, "average_precision")])
        if seed % 30 == 0:
            own = judged.errors(np.arange(400))
            errors.append([own[name] for name in (*names, "average_precision")])
    spread = np.std(np.array(values, float), axis=0)
    np.testing.assert_allclose(np.array(errors, float).mean(0), spread, rtol=0.15)


def test_rows_of_one_unit_have_no_error() -> None:
    truths, probabilities, predicted = drawn(rows=20)
    found = Judged(truths, probabilities, predicted, None).errors(np.zeros(20))
    assert set(found.values()) == {None}


# By class.


def test_each_class_has_its_precision_and_recall() -> None:
    truths, _, predicted = drawn()
    precision, recall, f1, rows = metrics.precision_recall_fscore_support(truths, predicted)
    for place, found in enumerate(by_class(truths, predicted, LEVELS)):
        assert found["level"] == LEVELS[place]
        assert found["rows"] == rows[place]
        assert found["precision"] == pytest.approx(precision[place])
        assert found["recall"] == pytest.approx(recall[place])
        assert found["f1"] == pytest.approx(f1[place])


def test_what_a_class_lacks_is_null() -> None:
    missing, silent = by_class(np.array([1, 1]), np.array([0, 0]), ("a", "b"))
    assert (missing["recall"], missing["precision"], missing["f1"]) == (None, 0, None)
    assert (silent["recall"], silent["precision"], silent["f1"]) == (0, None, 0)


def test_the_confusion_matrix_is_scikit_learn_s() -> None:
    truths, _, predicted = drawn()
    found = confusion(truths, predicted, LEVELS)
    matrix = metrics.confusion_matrix(truths, predicted)
    assert found["levels"] == [*LEVELS]
    assert found["rows"] == matrix.tolist()
    wrong = {(a, p): int(matrix[a, p]) for a in range(3) for p in range(3) if a != p}
    [worst, *_] = found["most_confused"]
    pair = (LEVELS.index(worst["actual"]), LEVELS.index(worst["predicted"]))
    assert worst["rows"] == wrong[pair] == max(wrong.values())
    assert sum(one["rows"] for one in found["most_confused"]) == sum(wrong.values())


def test_of_many_classes_only_the_most_confused_pairs_are_named() -> None:
    levels = tuple(f"{place:03}" for place in range(51))
    actual = np.arange(51).repeat(3)
    predicted = np.where(actual % 2, actual, (actual + 1) % 51)
    predicted[actual == 10] = [20, 20, 21]
    found = confusion(actual, predicted, levels)
    assert (found["levels"], found["rows"]) == (None, None)
    assert len(found["most_confused"]) == 20
    assert {one["rows"] for one in found["most_confused"]} == {3}
    few = confusion(actual[actual < 50], predicted[actual < 50], levels[:50])
    assert len(few["rows"]) == 50


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", METRICS)
def test_a_weight_of_two_is_a_row_that_is_there_twice(classes: int, name: str) -> None:
    truths, probabilities, predicted = drawn(120, classes, digits=2)
    positive = 1 if classes == 2 else None
    times = np.random.default_rng(0).integers(0, 3, 120)
    again = np.repeat(np.arange(120), times)
    repeated = Judged(truths[again], probabilities[again], predicted[again], positive)
    weighted = Judged(truths, probabilities, predicted, positive).value(name, times.astype(float))
    expected = repeated.metrics()[name]
    assert weighted == pytest.approx(np.nan if expected is None else expected, nan_ok=True)
