"""Answers of models of classes, from probabilities that are known."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from models.objectives.base import Outputs, Question, Unanswerable, Vector
from models.objectives.classification.answers import (
    ClassAnswers,
    Classes,
    SetBounds,
    SetCalibration,
)
from models.objectives.classification.sets import chance, scores

TWO, THREE = ("no", "yes"), ("a", "b", "c")
PROBABILITIES = {
    TWO: np.array([[0.9, 0.1], [0.6, 0.4], [0.5, 0.5], [0.2, 0.8]]),
    THREE: np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1], [0.4, 0.4, 0.2]]),
}


def ranked(*values: float) -> SetBounds:
    """So many rows as there are scores."""
    return SetBounds(rows=len(values), ranks=[*range(1, len(values) + 1)], scores=sorted(values))


def answers(
    levels: tuple[str, ...] = TWO, threshold: float = 0.5, *, by_class: bool = True
) -> ClassAnswers:
    overall = ranked(*np.linspace(0.1, 0.95, 19))
    own = {level: ranked(*np.linspace(0.1, 0.5 + 0.1 * c, 19)) for c, level in enumerate(levels)}
    return ClassAnswers(
        Classes(
            levels=[*levels],
            positive=levels.index("yes") if levels == TWO else None,
            threshold=threshold,
            shares=[1 / len(levels)] * len(levels),
            calibration=SetCalibration(**overall.model_dump(), by_class=own if by_class else {}),
        )
    )


def outputs(levels: tuple[str, ...] = TWO) -> Outputs:
    values = PROBABILITIES[levels]
    numbers = np.arange(4.0)[:, None]
    return Outputs(values, np.empty((0, 4, len(levels))), numbers, np.zeros((4, 1), np.int64))


def cells(levels: tuple[str, ...] = TWO, own: float = 0.5, **question: Any) -> Any:
    return answers(levels, own).answer(outputs(levels), Question(**question)).cells


def test_the_most_probable_class_is_predicted() -> None:
    found = cells(THREE)
    assert found["prediction"] == ["a", "c", "b", "a"]
    assert found["probability"].tolist() == [0.6, 0.6, 0.8, 0.4]
    assert found["p(b)"].tolist() == [0.3, 0.2, 0.8, 0.4]
    assert found["probabilities"][1] == {"a": 0.2, "b": 0.2, "c": 0.6}


@pytest.mark.parametrize(
    ("own", "asked", "expected"),
    [
        (0.5, None, ["no", "no", "yes", "yes"]),
        (0.4, None, ["no", "yes", "yes", "yes"]),
        (0.4, 0.81, ["no", "no", "no", "no"]),
        (0.9, 0.05, ["yes", "yes", "yes", "yes"]),
    ],
)
def test_the_positive_class_is_predicted_from_the_threshold_on(
    own: float, asked: float | None, expected: list[str]
) -> None:
    found = cells(TWO, own, threshold=asked)
    assert found["prediction"] == expected
    chosen = [[0.9, 0.6, 0.5, 0.2], [0.1, 0.4, 0.5, 0.8]]
    assert found["probability"].tolist() == [
        chosen[level == "yes"][row] for row, level in enumerate(expected)
    ]


def test_predictions_are_counted_by_the_model_s_own_threshold() -> None:
    """A request's threshold must not look like drift."""
    found = answers(TWO, 0.4).answer(outputs(), Question(threshold=0.9))
    assert found.cells["prediction"] == ["no"] * 4
    assert found.bins is not None
    assert found.bins.tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("coverage", [0.5, 0.8])
def test_sets_have_the_classes_within_their_bounds(coverage: float, by_class: bool) -> None:
    given = outputs(THREE)
    own = scores(given.values, chance(given.numbers, given.codes))
    place = int(np.ceil(20 * coverage)) - 1
    tops = [0.5, 0.6, 0.7] if by_class else [0.95] * 3
    largest = [np.linspace(0.1, top, 19)[place] for top in tops]
    found = cells(THREE, coverage=coverage, by_class=by_class)
    for row, levels in enumerate(found["set"]):
        assert {*levels} == {level for c, level in enumerate(THREE) if own[row, c] <= largest[c]}
        probabilities = [given.values[row, THREE.index(level)] for level in levels]
        assert probabilities == sorted(probabilities, reverse=True)
    assert found["coverage"].tolist() == [coverage] * 4


def test_too_few_rows_give_every_class_and_say_so() -> None:
    found = answers(THREE).answer(outputs(THREE), Question(coverage=0.99))
    assert [{*levels} for levels in found.cells["set"]] == [{*THREE}] * 4
    [warning] = found.about_all
    assert warning.code == "no_set"
    assert "99 %" in warning.detail
    assert answers(THREE).answer(outputs(THREE), Question(coverage=0.95)).about_all == []


def test_requested_classes_alone_are_listed() -> None:
    assert cells(THREE, classes=("c", "a"))["probabilities"][0] == {"c": 0.1, "a": 0.6}
    assert cells(THREE, classes=("c", "*"))["probabilities"][0] == {"a": 0.6, "b": 0.3, "c": 0.1}


def test_a_class_named_many_times_takes_the_memory_of_one() -> None:
    found = cells(THREE, classes=("c", "a") * 100_000)
    tracemalloc.start()
    try:
        assert [*found["probabilities"][0].items()] == [("c", 0.1), ("a", 0.6)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000  # bytes


@pytest.mark.parametrize(
    ("levels", "question", "option"),
    [
        (THREE, {"threshold": 0.3}, "threshold"),
        (THREE, {"classes": ("a", "d")}, "classes"),
        (THREE, {"explained_class": "*"}, "explained_class"),
        (TWO, {"explained_class": "Yes"}, "explained_class"),
    ],
)
def test_what_a_model_cannot_answer_is_named(
    levels: tuple[str, ...], question: dict[str, Any], option: str
) -> None:
    with pytest.raises(Unanswerable) as caught:
        answers(levels).check(Question(**question))
    assert caught.value.option == option


def test_sets_by_class_need_rows_of_each() -> None:
    with pytest.raises(Unanswerable, match="too few rows"):
        answers(TWO, by_class=False).check(Question(by_class=True))
    answers(TWO).check(Question(by_class=True, threshold=0.1, classes=("yes", "*")))


@pytest.mark.parametrize(
    ("question", "level"),
    [({}, "no"), ({"threshold": 0.3}, "yes"), ({"explained_class": "yes"}, "yes")],
)
def test_log_odds_of_the_predicted_or_the_named_class_are_explained(
    question: dict[str, Any], level: str
) -> None:
    row: Vector = PROBABILITIES[TWO][[1]]
    found, log_odds = answers().explained(row, Question(explain=True, **question))
    assert found == level
    p = PROBABILITIES[TWO][:, TWO.index(level)]
    np.testing.assert_allclose(log_odds(PROBABILITIES[TWO]), np.log(p / (1 - p)))
    assert np.isfinite(log_odds(np.eye(2))).all()
