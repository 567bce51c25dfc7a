"""What makes rows alike, as a model learns it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from houses import Case, house_frame, lay

from models.evaluation import likeness
from models.evaluation.likeness import LEAST_SHARE, likeness_of
from models.serving.likeness import Space


def learnt(case: Case) -> tuple[Space, np.ndarray]:
    """The space, and the (n, n) distances of the case's rows."""
    space = Space(likeness_of(case.spec, case.design))
    places = space.places(case.design.numbers, case.design.codes).astype(float)
    return space, np.sqrt(((places[:, None] - places) ** 2).sum(2))


def line_frame(rows: int = 400) -> pd.DataFrame:
    """A target of three parts: a number, a word and noise; and a number that adds nothing."""
    chance = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "a": chance.normal(5, 2, rows),
            "idle": chance.normal(0, 1, rows),
            "word": chance.choice(["x", "y", "z"], rows),
        }
    )
    frame["price"] = frame["a"] + 4.0 * (frame["word"] == "z") + chance.normal(0, 0.01, rows)
    return frame


def test_a_distance_is_in_standard_deviations_of_the_target(tmp_path: Path) -> None:
    frame = line_frame()
    case = lay(tmp_path, frame, preprocessing={"target_transform": "none"})
    _, distance = learnt(case)

    a, idle = (frame[name].to_numpy() for name in ("a", "idle"))
    is_z = (frame["word"] == "z").to_numpy(float)
    squares = (a[:, None] - a) ** 2 + (4.0 * (is_z[:, None] - is_z)) ** 2
    squares /= frame["price"].std(ddof=0) ** 2
    for column in (a, idle):
        squares += (LEAST_SHARE * (column[:, None] - column) / column.std()) ** 2
    assert distance == pytest.approx(np.sqrt(squares), rel=0.01, abs=0.01)


def test_a_positive_target_is_compared_by_its_logarithm(tmp_path: Path) -> None:
    frame = line_frame()
    case = lay(tmp_path, frame, preprocessing={"target_transform": "none"})
    _, distance = learnt(case)
    frame["price"] = np.exp(frame["price"] * 3)
    (tmp_path / "log").mkdir()
    of_logarithm = lay(tmp_path / "log", frame, preprocessing={"target_transform": "log"})

    assert learnt(of_logarithm)[1] == pytest.approx(distance, abs=1e-4)


@pytest.mark.parametrize("answers", [(0, 1), ("no", "yes")])
def test_two_classes_are_as_far_apart_as_two_numbers(
    tmp_path: Path, answers: tuple[Any, Any]
) -> None:
    """Though each class has an indicator."""
    frame = line_frame()
    is_dear = frame["price"] > frame["price"].median()
    frame["price"] = np.where(is_dear, 1.0, 0.0)
    case = lay(tmp_path, frame, task="regression", preprocessing={"target_transform": "none"})
    _, distance = learnt(case)
    frame["price"] = np.where(is_dear, answers[1], answers[0])
    (tmp_path / "classes").mkdir()
    space, of_classes = learnt(lay(tmp_path / "classes", frame, task="classification"))

    assert space.width == 2 + 2  # two numbers, and a word with two classes
    assert of_classes == pytest.approx(distance, abs=1e-5)


def test_levels_without_an_effect_of_their_own_are_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line has inputs for few levels of many; the others count as unknown ones."""
    monkeypatch.setattr("models.data.comparables.LINE_LEVELS", 3)
    frame = line_frame()
    frame["many"] = np.random.default_rng(1).integers(0, 30, len(frame)).astype(str)
    frame["many"] = "m" + frame["many"]
    case = lay(tmp_path, frame, preprocessing={"target_transform": "none"})
    found = likeness_of(case.spec, case.design)

    assert [len(levels) for levels in found.contributions] == [4, 1]
    unknown = [vocabulary.unknown for vocabulary in case.design.categorical]
    places = Space(found).places(case.design.numbers[:1], np.array([unknown]))
    assert places[0, -2:] == pytest.approx([levels[-1][0] for levels in found.contributions])


def test_of_a_long_table_some_rows_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likeness, "MOST_ROWS", 150)
    case = lay(tmp_path, line_frame(), preprocessing={"target_transform": "none"})
    some = likeness_of(case.spec, case.design)
    assert some == likeness_of(case.spec, case.design)
    monkeypatch.undo()
    every = likeness_of(case.spec, case.design)

    assert some != every
    assert some.factor == pytest.approx(every.factor, abs=0.1)


def test_wild_cells_are_somewhere(tmp_path: Path) -> None:
    case = lay(tmp_path, house_frame())
    numbers = np.array([[1e308, -1e308, np.nan, 0]])[:, : len(case.design.numeric)]
    numbers = np.resize(numbers, (1, len(case.design.numeric)))
    codes = np.full((1, len(case.design.categorical)), 99)
    assert np.isfinite(Space(likeness_of(case.spec, case.design)).places(numbers, codes)).all()
