"""Rows spelt as in training, plainly, by JSON or by CSV have one number and one level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.serving import standalone
from models.serving.encoding import RowEncoder
from models.serving.manifest import CategoricalFeature, Manifest, NumericFeature
from models.tables.columns import type_column


def manifest_of(*features: NumericFeature | CategoricalFeature) -> Manifest:
    return Manifest(
        target="y",
        target_transform="none",
        numeric=[feature for feature in features if isinstance(feature, NumericFeature)],
        categorical=[feature for feature in features if isinstance(feature, CategoricalFeature)],
        inputs={feature.name: feature.name for feature in features},
        members=1,
        metrics={},
        spec={},
        receipt={},
    )


def number(cells: list[str], **more: Any) -> NumericFeature:
    """A column trained on these texts."""
    column = type_column("x", pa.chunked_array([cells]))
    kind = "datetime" if pa.types.is_timestamp(column.cells.type) else "numeric"
    bounds: dict[str, Any] = {"low": -1e12, "high": 1e12, **more}
    return NumericFeature(kind=kind, name="x", reading=column.reading, **bounds)


def level(levels: list[str | None], *, numbers: bool = False, **more: Any) -> CategoricalFeature:
    return CategoricalFeature(kind="categorical", name="x", numbers=numbers, levels=levels, **more)


def read(feature: NumericFeature | CategoricalFeature, cell: Any) -> tuple[float, list[str]]:
    """The number or code of a cell and its warnings, the same by JSON and, of a text, by CSV."""
    encoder = RowEncoder(manifest_of(feature))
    given = encoder.given(["x"])
    by_json = encoder.rows([{"x": cell}], given)
    values = by_json.numbers if isinstance(feature, NumericFeature) else by_json.codes
    if isinstance(cell, str):
        by_table = encoder.table(pa.table({"x": [cell]}), given)
        np.testing.assert_array_equal(by_table.numbers, by_json.numbers)
        np.testing.assert_array_equal(by_table.codes, by_json.codes)
        assert by_table.warnings == by_json.warnings
        script = feature.model_dump()
        if isinstance(feature, NumericFeature):
            np.testing.assert_array_equal(standalone.value_of(cell, script), values[0, 0])
        else:
            known = {text: code for code, text in enumerate(feature.levels)}
            found = standalone.level(cell, script)
            assert known.get(found or None, len(known)) == values[0, 0]
    return float(values[0, 0]), [warning.code for warning in by_json.warnings[0]]


AREA = number(["85 m²", "106.1 m2"])
PRICE = number(["$1,200.50", "$7"])
SHARE = number(["12%", "14.5%"])
GROUPED = number(["1.234,50 €", "7 €"])
SOLD = number(["1/13/2013 0:00", "2/3/2013 9:05"])


@pytest.mark.parametrize(
    ("feature", "cell", "value"),
    [
        (AREA, "85 m²", 85.0),
        (AREA, "85", 85.0),
        (AREA, 85, 85.0),
        (AREA, "1,085.5 m2", 1085.5),
        (PRICE, "$69.89", 69.89),
        (PRICE, "-$69.89", -69.89),
        (PRICE, 69.89, 69.89),
        (SHARE, "12%", 12.0),
        (SHARE, "12", 12.0),
        (GROUPED, "1.234 €", 1234.0),
        (GROUPED, 1.234, 1.234),
        (SOLD, "1/13/2013 0:00", 1358035200.0),
        (SOLD, "2013-01-13", 1358035200.0),
    ],
)
def test_a_cell_as_trained_and_a_plain_one(
    feature: NumericFeature, cell: object, value: float
) -> None:
    assert read(feature, cell) == (value, [])


@pytest.mark.parametrize(
    ("feature", "cell"),
    [(AREA, "85 ft"), (PRICE, "€5"), (PRICE, "1.200,50"), (GROUPED, "12.5"), (SOLD, "13/1/2013")],
)
def test_another_spelling_is_no_number(feature: NumericFeature, cell: str) -> None:
    value, warnings = read(feature, cell)
    assert np.isnan(value)
    assert warnings == ["not_a_number"]


@pytest.mark.parametrize("cell", [True, "true", "TRUE", 1, 1.0, "1", "1.0"])
def test_true_is_one_in_a_column_of_zeros_and_ones(cell: object) -> None:
    assert read(number(["0", "1"], low=0, high=1, edges=[0.0, 1.0]), cell) == (1.0, [])
    assert read(level(["0", "1"], numbers=True), cell) == (1.0, [])


def test_true_is_no_number_elsewhere() -> None:
    assert read(number(["0", "3"], low=0, high=3), True)[1] == ["not_a_number"]
    assert read(number(["0", "1"], low=0, high=1, edges=[0.5]), "true")[1] == ["not_a_number"]


@pytest.mark.parametrize("cell", [1, 1.0, "1", "1.0"])
@pytest.mark.parametrize("levels", [["2", "1"], ["A", "1"], ["A", "1.0"]])
def test_a_number_names_one_level_however_it_is_written(levels: list[str], cell: object) -> None:
    assert read(level([*levels]), cell) == (1.0, [])
    assert read(level(["2", "1"], numbers=True), cell) == (1.0, [])


@pytest.mark.parametrize("cell", [True, "true", "TRUE", "True"])
@pytest.mark.parametrize("spelt", ["true", "TRUE", "True"])
def test_a_boolean_names_one_level_however_it_is_written(spelt: str, cell: object) -> None:
    assert read(level(["false", spelt]), cell) == (1.0, [])


def test_what_only_resembles_a_level_is_unknown() -> None:
    for levels, cell in ((["yes", "true"], "TRUE"), (["01", "02"], "1"), (["1", "2"], "01")):
        assert read(level([*levels]), cell) == (2.0, ["unknown_category"])


LONG = 4321113141090630007


def test_long_whole_numbers_are_levels_by_all_of_their_digits() -> None:
    feature = level([str(LONG - 7), str(LONG)])
    for cell in (LONG, str(LONG)):
        assert read(feature, cell) == (1.0, [])
    for cell in (LONG + 1, str(LONG + 1)):
        assert read(feature, cell) == (2.0, ["unknown_category"])


def test_numbers_in_costume_can_be_levels() -> None:
    feature = level(["2", "3"], numbers=True, reading=number(["2 p.", "3 p."]).reading)
    for cell in ("3 p.", "3", 3, 3.0):
        assert read(feature, cell) == (1.0, [])


def test_an_unknown_level_says_how_many_are_known() -> None:
    feature = level(["a", "b"], shares=[0.5, 0.3, 0.2])
    encoder = RowEncoder(manifest_of(feature))
    [[warning]] = encoder.rows([{"x": "c"}], encoder.given(["x"])).warnings
    assert "2 most frequent levels of 'x' in training (20.0 % of its rows had another one)" in (
        warning.detail
    )
