"""The classes of a target: their order, rare ones, and which of two is the positive one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.objectives import CLASSIFICATION, OBJECTIVES
from models.objectives.classification.levels import (
    OTHER,
    alike,
    counted,
    least_rows,
    positive_of,
    rare,
    read,
)
from models.spec import TrainingSpec

HOLDOUT = {"fraction": 0.1}


def spec_of(**spec: Any) -> TrainingSpec:
    return TrainingSpec.model_validate({"target": "state", "k_folds": 3, **spec})


def column(cells: list[Any]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(cells)])


def faults(cells: list[Any], **spec: Any) -> list[tuple[str, str]]:
    return OBJECTIVES[CLASSIFICATION].faults_of_cells(spec_of(**spec), column(cells))


def test_words_are_in_alphabetical_order_and_missing_ones_stay_missing() -> None:
    found = read(column(["b", None, "a", "c", "b"]), spec_of())
    assert found.levels == ("a", "b", "c")
    np.testing.assert_array_equal(found.values, [1, np.nan, 0, 2, 1])


def test_numbers_are_in_the_order_of_their_size() -> None:
    found = read(column([10.0, 9.0, 2.5, 10.0, None]), spec_of())
    assert found.levels == ("2.5", "9", "10")
    np.testing.assert_array_equal(found.values, [2, 1, 0, 2, np.nan])


def test_the_order_does_not_depend_on_the_rows() -> None:
    cells = ["x", "y", "z"] * 4
    again = read(column(cells[::-1]), spec_of())
    assert again.levels == read(column(cells), spec_of()).levels == ("x", "y", "z")


def test_a_class_needs_a_row_a_fold_and_one_for_the_holdout() -> None:
    counts = counted(column(["a"] * 5 + ["b"] * 3 + ["c"] * 2))
    assert counts == {"a": 5, "b": 3, "c": 2}
    assert (least_rows(spec_of()), least_rows(spec_of(holdout=HOLDOUT))) == (3, 4)
    assert rare(counts, spec_of()) == ["c"]
    assert rare(counts, spec_of(holdout=HOLDOUT)) == ["b", "c"]


def test_rare_classes_are_refused_by_name() -> None:
    cells = ["a"] * 5 + ["b"] * 3 + ["c"] * 2 + ["d"]
    [(pointer, detail)] = faults(cells)
    assert pointer == "/target"
    assert "'c' has 2 rows, 'd' has 1 row of 'state', and 3 are needed for 3 folds" in detail
    assert "'b'" not in detail
    [(_, detail)] = faults(cells, holdout=HOLDOUT)
    assert "'b' has 3 rows" in detail
    assert "4 are needed for 3 folds and a holdout" in detail
    many = [f"{place:02}" for place in range(8)]
    assert "and 3 more classes" in faults(["a"] * 5 + many)[0][1]
    assert faults(["a"] * 3 + ["b"] * 3) == []


def test_rare_classes_are_merged() -> None:
    cells = ["d", "b"] + ["a"] * 5 + ["c"] * 3 + ["b", None]
    found = read(column(cells), spec_of(rare_classes="merge"))
    assert found.levels == ("a", "c", OTHER)
    np.testing.assert_array_equal(found.values, [2, 2, *[0] * 5, *[1] * 3, 2, np.nan])
    assert faults(cells, rare_classes="merge") == []
    common = ["a"] * 3 + ["b"] * 3
    assert read(column(common), spec_of(rare_classes="merge")).levels == ("a", "b")


def test_merged_classes_may_still_be_too_few() -> None:
    [(pointer, detail)] = faults(["a"] * 5 + ["b"] * 3 + ["c", "d"], rare_classes="merge")
    assert pointer == "/rare_classes"
    assert f"'{OTHER}' only 2 rows, and 3 are needed" in detail
    [(pointer, detail)] = faults(["a"] * 2 + ["b"] * 2, rare_classes="merge")
    assert pointer == "/rare_classes"
    assert "a single class" in detail


def test_settings_name_known_classes() -> None:
    cells = ["no"] * 3 + ["yes"] * 3
    decided = {"decision": {"positive": "maybe"}}
    [(pointer, detail)] = faults(cells, **decided)
    assert pointer == "/decision/positive"
    assert "'maybe' is not a class: 'no', 'yes'" in detail
    [(pointer, detail)] = faults(cells, class_weights={"maybe": 2, "no": 1})
    assert pointer == "/class_weights/maybe"
    assert "'maybe' is not a class" in detail
    merged = {"rare_classes": "merge", "class_weights": {OTHER: 2.0}}
    assert faults([*cells, "a", "b", "c"], **merged) == []


@pytest.mark.parametrize(
    ("levels", "rows", "wanted", "positive"),
    [
        (("no", "yes"), (1, 9), None, "yes"),  # affirmative, however frequent
        (("Y", "n"), (9, 1), None, "Y"),
        (("FALSE", "TRUE"), (1, 9), None, "TRUE"),
        (("0", "1"), (1, 9), None, "1"),
        (("Negative", "Positive"), (5, 5), None, "Positive"),
        (("no", "yes"), (1, 9), "no", "no"),  # the user's own
        (("cat", "dog"), (1, 9), None, "cat"),  # the rarer one
        (("cat", "dog"), (9, 1), None, "dog"),
        (("cat", "dog"), (5, 5), None, "dog"),
        (("cat", "dog"), (9, 1), "bird", "dog"),
        (("1", "2"), (1, 9), None, "1"),
        (("a", "b", "c"), (1, 5, 9), None, None),
    ],
)
def test_the_positive_class(
    levels: tuple[str, ...], rows: tuple[int, ...], wanted: str | None, positive: str | None
) -> None:
    place = positive_of(levels, rows, wanted)
    assert place == (None if positive is None else levels.index(positive))


def test_classes_that_differ_by_case_or_blanks_are_found() -> None:
    assert alike(["Good", "good ", "bad", "poor  one", "Poor one"]) == [
        ["Good", "good "],
        ["poor  one", "Poor one"],
    ]
    assert alike(["good", "goods"]) == []
