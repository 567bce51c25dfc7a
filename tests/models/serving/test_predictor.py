"""The same row has the same prediction and the same warnings by every interface."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from houses import Built

from models.objectives import OBJECTIVES
from models.serving.manifest import Manifest
from models.serving.predictor import Predictions, Predictor, Question, RowError

# One row that a model of the made-up houses takes without a word.
HOUSE: dict[str, object] = {
    "area": 120.5,
    "year": 1950,
    "quarter": "mill",
    "heating": "gas",
    "stars": 1.5,
    "sold": "2020-02-01",
}


STRICT = Question(on_unknown="error")


@pytest.fixture(scope="module")
def predictor(houses_model: Built) -> Predictor:
    return houses_model.predictor


def table(rows: Sequence[dict[str, object]], columns: Sequence[str] | None = None) -> pa.Table:
    """The rows as a CSV writes them."""

    def text(cell: object) -> str:
        return "" if cell is None else str(cell)

    names = columns or list(rows[0])
    return pa.table({name: [text(row[name]) for row in rows] for name in names})


def house(**cells: object) -> dict[str, object]:
    return HOUSE | cells


def without(*names: str) -> dict[str, object]:
    return {name: cell for name, cell in HOUSE.items() if name not in names}


def warned(predictions: Predictions) -> list[list[tuple[str, str | None]]]:
    """What is odd about cells: a row with an odd cell may be an outlier besides, or too far out."""
    of_rows = ("outlier", "prediction_bounded")
    return [
        [(odd.code, odd.column) for odd in row if odd.code not in of_rows]
        for row in predictions.warnings
    ]


def heated_by(built: Built, level: str) -> Predictor:
    """The model with another name for the level "gas"."""
    manifest = Manifest.model_validate_json(built.manifest.model_dump_json())
    heating = next(feature for feature in manifest.categorical if feature.name == "heating")
    heating.levels[heating.levels.index("gas")] = level
    return Predictor(built.core, manifest)


def price(predictor: Predictor, row: dict[str, object]) -> float:
    return float(predictor.predict_rows([row]).values[0])


def as_json(cells: pa.Table) -> list[dict[str, object]]:
    """The rows of a CSV as a JSON client sends them: numbers where it can, null where empty."""

    def value(cell: str) -> object:
        if cell == "":
            return None
        try:
            return json.loads(cell)
        except ValueError:
            return cell

    return [{name: value(cell) for name, cell in row.items()} for row in cells.to_pylist()]


def odd_cells(cells: pa.Table) -> pa.Table:
    """Some cells of the training table replaced by odd ones, a few in every column."""
    columns = {
        name: column.to_pylist()
        for name, column in zip(cells.column_names, cells.columns, strict=True)
    }
    for place, (column, cell) in enumerate(
        [
            ("area", "1e9"),
            ("area", "big"),
            ("area", "-5"),
            ("year", ""),
            ("quarter", "atlantis"),
            ("quarter", "None"),
            ("heating", ""),
            ("stars", "9.5"),
            ("stars", "many"),
            ("stars", "?"),
            ("sold", "2031-01-01"),
            ("sold", "yesterday"),
            ("sold", ""),
        ]
    ):
        columns[column][3 * place + 1] = cell
    return pa.table(columns)


def test_every_road_gives_the_same_price_and_warnings(
    houses_model: Built, predictor: Predictor
) -> None:
    cells = odd_cells(houses_model.case.cells.drop_columns("price"))
    by_table = predictor.predict_table(cells)
    names = cells.column_names
    random.Random(0).shuffle(names)
    shuffled = predictor.predict_table(cells.select(names))
    rows = as_json(cells)
    batch = predictor.predict_rows(rows)
    single = [predictor.predict_rows([row]) for row in rows]

    one_by_one = np.concatenate([one.values for one in single])
    for values in (shuffled.values, batch.values, one_by_one):
        np.testing.assert_allclose(values, by_table.values, rtol=1e-6)
    np.testing.assert_allclose(batch.members, by_table.members, rtol=1e-6)
    assert sum(map(len, by_table.warnings)) >= 13
    assert shuffled.warnings == by_table.warnings
    assert batch.warnings == by_table.warnings
    assert [one.warnings[0] for one in single] == batch.warnings


def test_members_and_value(houses_model: Built, predictor: Predictor) -> None:
    case = houses_model.case
    predictions = predictor.predict_table(case.cells)
    assert predictions.members.shape == (5, len(case.cells))
    np.testing.assert_allclose(predictions.values, predictions.members.mean(axis=0))
    for fold, rows in enumerate(case.folds):
        np.testing.assert_allclose(
            predictions.members[fold, case.design.rows[rows.validation]],
            houses_model.scores.out_of_fold[rows.validation],
            rtol=1e-4,
        )


def test_the_rows_of_training_are_not_odd(houses_model: Built, predictor: Predictor) -> None:
    """But for missing numbers, which were imputed then as they are now."""
    seen = houses_model.case.design.rows  # a row held out may well be
    predictions = predictor.predict_table(houses_model.case.cells.drop_columns("price").take(seen))
    assert {odd.code for row in predictions.warnings for odd in row} == {"missing_value"}
    assert {odd.column for row in predictions.warnings for odd in row} == {"area"}


def test_large_tables_go_through_in_chunks(
    houses_model: Built, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = houses_model.case.cells
    whole = predictor.predict_table(cells)
    monkeypatch.setattr("models.serving.predictor.CHUNK_ROWS", 10)
    chunked = predictor.predict_table(cells)
    np.testing.assert_allclose(chunked.values, whole.values, rtol=1e-6)
    assert chunked.members.shape == whole.members.shape


def test_no_rows_give_no_prices(predictor: Predictor) -> None:
    for predictions in (
        predictor.predict_rows([]),
        predictor.predict_table(table([HOUSE]).slice(0, 0)),
        predictor.predict_table(pa.table({name: pa.array([], pa.string()) for name in HOUSE})),
    ):
        assert predictions.values.shape == (0,)
        assert predictions.members.shape == (5, 0)
        assert predictions.warnings == []


# What is odd about a row.

ODD: dict[str, tuple[dict[str, object], list[tuple[str, str]]]] = {
    "nothing": (HOUSE, []),
    "unknown level": (house(quarter="atlantis"), [("unknown_category", "quarter")]),
    "unknown number as a level": (house(stars=9.5), [("unknown_category", "stars")]),
    "words for a number": (house(area="big"), [("not_a_number", "area")]),
    "words for a date": (house(sold="yesterday"), [("not_a_number", "sold")]),
    "no number at all": (house(year="12 m²"), [("not_a_number", "year")]),
    "missing number": (house(area=None), [("missing_value", "area")]),
    "missing date": (house(sold=None), [("missing_value", "sold")]),
    "missing word without a level": (house(quarter=None), [("missing_value", "quarter")]),
    "missing word with a level": (house(heating=None), []),
    "too large": (house(area=1e6), [("out_of_range", "area")]),
    "too small": (house(year=1492), [("out_of_range", "year")]),
    "too late": (house(sold="2031-01-01"), [("out_of_range", "sold")]),
    "several": (
        house(area=None, quarter="atlantis", year="old"),
        [("missing_value", "area"), ("not_a_number", "year"), ("unknown_category", "quarter")],
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_named(predictor: Predictor, name: str) -> None:
    row, expected = ODD[name]
    for predictions in (predictor.predict_rows([row]), predictor.predict_table(table([row]))):
        assert warned(predictions) == [expected]
        assert np.isfinite(predictions.values).all()
        for odd in predictions.warnings[0]:
            assert odd.column is None or f"'{odd.column}'" in odd.detail


@pytest.mark.parametrize("name", ["area", "sold", "quarter", "heating"])
def test_a_missing_column_is_imputed_like_a_missing_cell(predictor: Predictor, name: str) -> None:
    for predictions in (
        predictor.predict_rows([without(name)]),
        predictor.predict_table(table([without(name)])),
    ):
        assert warned(predictions) == [[]]
        assert predictions.given.missing == [name]
        assert predictions.values[0] == pytest.approx(price(predictor, house(**{name: None})))


def test_an_empty_row_among_others_has_a_price(predictor: Predictor) -> None:
    predictions = predictor.predict_rows([{}, HOUSE])
    assert {code for code, _ in warned(predictions)[0]} == {"missing_value"}
    assert predictions.given.missing == []
    assert np.isfinite(predictions.values[0])


@pytest.mark.parametrize("row", [{}, {"AREA": "70", "Quarter": "mill"}])
def test_rows_of_another_table_have_no_price(predictor: Predictor, row: dict[str, str]) -> None:
    with pytest.raises(RowError, match="such as area"):
        predictor.predict_rows([row])
    if row:
        with pytest.raises(RowError, match="such as area"):
            predictor.predict_table(pa.table({name: [cell] for name, cell in row.items()}))


def test_a_warning_stands_at_its_row(predictor: Predictor) -> None:
    rows = [HOUSE, house(area="big"), HOUSE, house(quarter="atlantis")]
    for predictions in (predictor.predict_rows(rows), predictor.predict_table(table(rows))):
        assert warned(predictions) == [
            [],
            [("not_a_number", "area")],
            [],
            [("unknown_category", "quarter")],
        ]


def test_equal_warnings_are_one_object(predictor: Predictor) -> None:
    """Two hundred thousand empty rows would else take a gigabyte."""
    odd = house(area="large", zone="nowhere")
    for warnings in (
        predictor.predict_rows([{"area": None}, {"area": None}]).warnings,
        predictor.predict_table(table([odd, odd])).warnings,
    ):
        assert warnings[0]
        for one, other in zip(*warnings, strict=True):
            assert one is other


def test_extra_columns_are_ignored_and_named(predictor: Predictor) -> None:
    rows = [house(Id=7), house(price=1.0, Id=8)]
    predictions = predictor.predict_rows(rows)
    assert predictions.given.ignored == ["Id", "price"]
    assert predictions.values.tolist() == [pytest.approx(price(predictor, HOUSE))] * 2
    assert predictor.predict_table(table([house(Id=7, price=1)])).given.ignored == ["Id", "price"]


# on_unknown=error.


def test_unknowns_are_refused_with_row_and_column(predictor: Predictor) -> None:
    rows = [HOUSE, house(area="big", quarter="atlantis"), house(year=None), house(area=1e6)]
    for ask in (
        lambda: predictor.predict_rows(rows, STRICT),
        lambda: predictor.predict_table(table(rows), STRICT),
    ):
        with pytest.raises(RowError) as caught:
            ask()
        assert [(fault.row, fault.column) for fault in caught.value.faults] == [
            (2, "area"),
            (2, "quarter"),
            (3, "year"),
        ]
        assert all(f"'{fault.column}'" in fault.detail for fault in caught.value.faults)


@pytest.mark.parametrize("row", [HOUSE, house(area=1e6), without("area"), house(heating=None)])
def test_what_is_only_unusual_is_not_refused(predictor: Predictor, row: dict[str, object]) -> None:
    assert predictor.predict_rows([row], STRICT).values[0] == price(predictor, row)
    assert predictor.predict_table(table([row]), STRICT).values.shape == (1,)


# How cells are read.


@pytest.mark.parametrize("cell", ["120.5", " 120.5 ", "1.205e2", "+120.50"])
def test_numbers_as_text(predictor: Predictor, cell: str) -> None:
    predictions = predictor.predict_rows([house(area=cell)])
    assert warned(predictions) == [[]]
    assert predictions.values[0] == price(predictor, HOUSE)


@pytest.mark.parametrize("cell", [1.5, "1.5", "1.50", " 1.5"])
def test_a_fraction_as_a_category(predictor: Predictor, cell: object) -> None:
    predictions = predictor.predict_rows([house(stars=cell)])
    assert warned(predictions) == [[]]
    assert predictions.values[0] == price(predictor, HOUSE)


@pytest.mark.parametrize("cell", [2, 2.0, "2", "2.0", "2.00", "+2", "2e0"])
def test_a_whole_number_as_a_category(predictor: Predictor, cell: object) -> None:
    row = house(stars=cell)
    for predictions in (predictor.predict_rows([row]), predictor.predict_table(table([row]))):
        assert warned(predictions) == [[]]
        assert predictions.values[0] == pytest.approx(price(predictor, house(stars=2)))
    assert price(predictor, row) != price(predictor, HOUSE)


@pytest.mark.parametrize("cell", [10**20, 1e20, "1e20", "100000000000000000000"])
def test_a_large_whole_number_as_a_category_has_one_name(
    predictor: Predictor, cell: object
) -> None:
    """Not one that depends on how a client writes it."""
    row = house(stars=cell)
    for predictions in (predictor.predict_rows([row]), predictor.predict_table(table([row]))):
        assert warned(predictions) == [[("unknown_category", "stars")]]
        assert "'1e+20'" in predictions.warnings[0][0].detail


@pytest.mark.parametrize("cell", ["2020-02-01T00:00:00Z", "2020-02-01 00:00", "2020/02/01"])
def test_dates_in_any_iso_form(predictor: Predictor, cell: str) -> None:
    predictions = predictor.predict_rows([house(sold=cell)])
    assert warned(predictions) == [[]]
    assert predictions.values[0] == price(predictor, HOUSE)


@pytest.mark.parametrize("cell", [1_580_515_200, 1_580_515_200.0, True])
def test_a_number_is_no_date(predictor: Predictor, cell: object) -> None:
    """In a CSV it is none, so it is none in JSON."""
    row = house(sold=cell)
    for predictions in (predictor.predict_rows([row]), predictor.predict_table(table([row]))):
        assert warned(predictions) == [[("not_a_number", "sold")]]


@pytest.mark.parametrize("cell", ["", " ", "NA", "null", "nan", None, float("nan")])
@pytest.mark.parametrize("column", ["area", "sold", "quarter", "heating", "stars"])
def test_missing_has_many_spellings(predictor: Predictor, column: str, cell: object) -> None:
    found, expected = (predictor.predict_rows([house(**{column: value})]) for value in (cell, None))
    assert found.warnings == expected.warnings
    assert found.values[0] == expected.values[0]


TEXTS = (
    "1_000 0x10 1e400 -1e400 1e-400 infinity -inf NAN +nan 12. . .5 1E5 +5 --5 5- 1,5 00 -0.0 0.1e1"
    " NA None none ? - null <NA> #N/A n/a True 2020-1-1 2020-01-01T10:00:00+02:00 2020-13-01"
    " 2020-02-30 20200101 2020-01 1850-01 0001-01-01 99999-01-01 2020-01-01T10:00:00.123456789Z"
    " 1580515200 ½ ² १२० ٣.٥ 1.500000000000000000001 9007199254740993 1e22 GAS"
).split()


@pytest.mark.parametrize("column", HOUSE)
def test_a_text_is_read_alike_by_both_roads(predictor: Predictor, column: str) -> None:
    rows = [house(**{column: text}) for text in [*TEXTS, "1 2", "\u200b12", "2020-01-01 10"]]
    by_row, by_table = predictor.predict_rows(rows), predictor.predict_table(table(rows))
    for row, one, other in zip(rows, by_row.warnings, by_table.warnings, strict=True):
        assert one == other, row[column]
    np.testing.assert_allclose(by_row.values, by_table.values, rtol=1e-6)


def test_words_that_mean_missing_among_numbers_alone(predictor: Predictor) -> None:
    rows = [house(area="None"), house(quarter="None")]
    for predictions in (predictor.predict_rows(rows), predictor.predict_table(table(rows))):
        assert warned(predictions) == [
            [("missing_value", "area")],
            [("unknown_category", "quarter")],
        ]


def test_booleans(predictor: Predictor) -> None:
    """Neither a number nor a word that was trained, as True is in a CSV."""
    rows = [house(area=True), house(quarter=True), house(stars=False)]
    assert warned(predictor.predict_rows(rows)) == [
        [("not_a_number", "area")],
        [("unknown_category", "quarter")],
        [("unknown_category", "stars")],
    ]


@pytest.mark.parametrize(
    ("cell", "spelling"),
    [
        (True, "True"),
        (True, "true"),
        (True, "TRUE"),
        (2.0, "2"),
        (2.0, "2.0"),
        (2, "2"),
        (-(10**400), f"-1{400 * '0'}"),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_a_json_value_is_the_level_that_a_table_writes_for_it(
    houses_model: Built, cell: object, spelling: str
) -> None:
    predictor = heated_by(houses_model, spelling)
    assert warned(predictor.predict_rows([house(heating=cell)])) == [[]]
    assert price(predictor, house(heating=cell)) == price(predictor, house(heating=spelling))
    assert price(predictor, house(heating=cell)) != price(predictor, house(heating="oil"))


def test_a_whole_number_beyond_all_floats_keeps_its_sign_and_digits(predictor: Predictor) -> None:
    found = predictor.predict_rows([house(area=-(10**400)), house(heating=-(10**400))])
    number, level = (warnings[0].detail for warnings in found.warnings)
    assert "'-1000" in number
    assert "'-1000" in level


@pytest.mark.parametrize("level", ["12345678901234567890", "9007199254740993", "60.0", "60"])
@pytest.mark.parametrize("cell", [12345678901234567890, 9007199254740993, 60])
def test_a_whole_number_among_words_is_the_word_that_a_table_writes(
    houses_model: Built, level: str, cell: int
) -> None:
    predictor = heated_by(houses_model, level)
    by_json = predictor.predict_rows([house(heating=cell)])
    by_table = predictor.predict_table(table([house(heating=cell)]))
    assert by_json.warnings == by_table.warnings
    same = level.removesuffix(".0") == str(cell)
    assert warned(by_json) == [[] if same else [("unknown_category", "heating")]]
    assert by_json.values == by_table.values


def test_a_model_that_reads_dates_is_not_quick(houses_model: Built, predictor: Predictor) -> None:
    manifest = Manifest.model_validate_json(houses_model.manifest.model_dump_json())
    manifest.numeric = [f for f in manifest.numeric if f.kind == "numeric"]
    for feature in manifest.categorical:
        feature.numbers = False
    assert not predictor.is_quick
    assert Predictor(houses_model.core, manifest).is_quick


HOSTILE: list[Any] = [
    10**400,
    -(10**400),
    float("inf"),
    float("-inf"),
    [],
    {},
    [[["deep"], {"a": None}]],
    {"area": 5},
    "\0",
    "x" * 100_000,
    "१२०",  # digits, and a number to float()
]


@pytest.mark.parametrize("column", ["area", "sold", "quarter", "stars"])
@pytest.mark.parametrize("cell", HOSTILE, ids=lambda cell: repr(cell)[:12])
def test_no_cell_is_an_error(predictor: Predictor, column: str, cell: object) -> None:
    """Whatever JSON can hold is a number, a level, or odd; and its warning is short."""
    predictions = predictor.predict_rows([house(**{column: cell})])
    assert np.isfinite(predictions.values).all()
    (odd,) = predictions.warnings[0] or [None]
    if odd is None:
        assert (column, cell) == ("area", "१२०")
    else:
        assert odd.column == column
        assert odd.code in ("not_a_number", "unknown_category")
        assert len(odd.detail) < 250


# The manifest.


def test_the_manifest_survives_its_file(houses_model: Built) -> None:
    manifest = Manifest.model_validate_json(houses_model.manifest.model_dump_json())
    assert manifest.model_dump() == houses_model.manifest.model_dump()
    shown = OBJECTIVES[manifest.task].shown
    assert shown(manifest) == shown(houses_model.manifest)
    assert manifest.target == "price"
    assert manifest.members == 5
    assert [(f.name, f.kind) for f in manifest.numeric] == [
        ("area", "numeric"),
        ("year", "numeric"),
        ("sold", "datetime"),
    ]
    assert [(f.name, f.numbers) for f in manifest.categorical] == [
        ("quarter", False),
        ("heating", False),
        ("stars", True),
    ]
    price_of = Predictor(houses_model.core, manifest)
    assert price(price_of, HOUSE) == price(houses_model.predictor, HOUSE)
