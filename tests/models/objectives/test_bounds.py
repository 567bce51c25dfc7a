"""How far predictions go, and what is said of a row for which a network went further."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from houses import Built, build, house_frame, lay

from models.objectives.regression import standalone
from models.objectives.regression.bounds import Bounds

BOUNDS = Bounds(low=[1.0, 2.0], high=[9.0, 8.0], overflow=[5.0, 5.5])
MISTYPED = {"area": "120", "year": "195000", "quarter": "mill", "heating": "gas", "stars": "2"}


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A straight line in the year: nothing but the bounds holds it back."""
    case = lay(
        tmp_path_factory.mktemp("bounds"),
        house_frame(),
        architecture={"type": "linear"},
        preprocessing={"numeric_scaling": "standard", "target_transform": "log"},
        k_folds=3,
        max_epochs=30,
        batch_size=16,
        optimizer={"learning_rate": 0.02},
    )
    return build(case)


def row(**cells: str) -> pa.Table:
    given = MISTYPED | {"sold": "2020-02-01"} | cells
    return pa.table({name: [cell] for name, cell in given.items()})


def test_members_at_their_bounds_are_found() -> None:
    members = np.array([[4.0, 1.0, 9.0, 4.0, 5.0], [4.0, 4.0, 4.0, 2.0, 4.0]])
    assert BOUNDS.reached(members, 0).tolist() == [False, True, True, True, True]
    assert BOUNDS.reached(members, 1).tolist() == [False, False, False, True, False]
    assert BOUNDS.range(0) == (1.0, 9.0)
    assert BOUNDS.range(1) == (2.0, 8.0)


def test_a_mistyped_row_stays_near_what_was_seen_and_is_marked(linear: Built) -> None:
    prices = linear.case.design.target
    found = linear.predictor.predict_table(row())
    assert prices.min() / 1.5 <= found.values[0] <= prices.max() * 1.5
    assert "prediction_bounded" in [odd.code for odd in found.warnings[0]]
    assert found.cells["low"][0] < np.quantile(prices, 0.1)
    assert found.cells["high"][0] >= 0.9 * prices.max()


def test_a_usual_row_is_not_marked(linear: Built) -> None:
    found = linear.predictor.predict_table(row(year="1950"))
    assert found.warnings == [[]]
    assert found.cells["high"][0] < 3 * found.cells["low"][0]


def test_the_script_in_an_export_cuts_off_the_same_rows(linear: Built) -> None:
    manifest = linear.manifest.model_dump(mode="json")
    for year, expected in (("195000", True), ("1950", False)):
        members = linear.predictor.predict_table(row(year=year)).members
        rows, lowest, highest = standalone.cut_off(members, manifest)
        assert rows.tolist() == [expected]
        bounds = linear.manifest.bounds
        assert bounds is not None
        assert (lowest, highest) == bounds.range(0)


def test_a_model_of_an_earlier_version_has_no_bounds() -> None:
    rows, _, _ = standalone.cut_off(np.ones((2, 3)), {})
    assert rows.tolist() == [False] * 3
