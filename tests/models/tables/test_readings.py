"""Numbers and dates in costume: what is read, what stays words, and that it is read alike."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.serving import standalone
from models.tables.cells import epoch_seconds
from models.tables.columns import TypedColumn, type_column
from models.tables.profile import ColumnProfile, profile
from models.tables.readings import NumberReading, Reading, apply
from models.tables.spellings import Marks
from models.tables.table import Limits, read_table

many = settings(max_examples=150, deadline=None, derandomize=True)


def typed(cells: Sequence[str], marks: Marks | None = None) -> TypedColumn:
    column = pa.chunked_array([pa.array(cells, pa.string())])
    return type_column("x", column, marks or Marks())


def codes(column: TypedColumn) -> list[str]:
    return [warning.code for warning in column.warnings]


def profiled(cells: Sequence[str], name: str = "x") -> ColumnProfile:
    rows = "\n".join(f'"{cell}";1' for cell in cells)
    table = read_table(io.BytesIO(f"{name};y\n{rows}\n".encode()), Limits(10_000, 10))
    return profile(table).columns[0]


@pytest.mark.parametrize(
    ("cells", "unit"),
    [
        (["$1,200.00", "$69.89"], "$"),
        (["85 m²", "106.1 m2"], "m2"),
        (["2 baths", "1 bath"], "baths"),
        (["$12 psf", "$7 psf"], "$psf"),
        (["1 200", "3 400"], ""),
    ],
)
def test_the_unit_is_the_one_that_the_cells_had(cells: list[str], unit: str) -> None:
    reading = profiled(cells).reading
    assert isinstance(reading, NumberReading)
    assert reading.unit == unit


NUMBERS = [
    (["$1,200.00", "$69.89", "-$5", "$-6.5"], [1200, 69.89, -5, -6.5]),
    (["£950", "£1", "(£7)"], [950, 1, -7]),
    (["US$ 5.50", "US$7.25"], [5.5, 7.25]),
    (["USD 1,200.50", "USD 3"], [1200.5, 3]),
    (["1200 EUR", "950 EUR"], [1200, 950]),
    (["532 058 €", "1\u202f581 €", "7\u00a0€"], [532058, 1581, 7]),
    (["1.200,50 €", "12 €"], [1200.5, 12]),
    (["$ 1,234", "$   12,345,678"], [1234, 12345678]),
    (["kr 1.200,-", "kr 12.345.678,-"], [1200, 12345678]),
    (["85 m²", "106.1 m2", "7㎡"], [85, 106.1, 7]),
    (["1 581 m² tomt", "95 m² tomt"], [1581, 95]),
    (["6 p.", "2 p."], [6, 2]),
    (["2 baths", "1 bath", "1.5 baths"], [2, 1, 1.5]),
    (["3 years old", "1 year old"], [3, 1]),
    (["6 feet", "1 foot"], [6, 1]),
    (["5m", "7m"], [5, 7]),
    (["12%", "4 %", "4.5％"], [12, 4, 4.5]),
    (["3.5k", "950", "2k"], [3500, 950, 2000]),
    (["€110.5M", "€565K", "€0"], [110.5e6, 565e3, 0]),
    (["12 k€", "3,5 k€"], [12000, 3500]),
    (["1.1k", "2.3k", "1.005k"], [1100, 2300, 1005]),  # exactly
    (["5 kg", "6 kg"], [5, 6]),
    (["1 200", "350"], [1200, 350]),
    (["1'234", "2'500.5"], [1234, 2500.5]),
    (["1’234", "12’500"], [1234, 12500]),
    (["1,234", "980", "12,345,678.5"], [1234, 980, 12345678.5]),
    (["1.234", "1.234.567"], [1234, 1234567]),
    (["1,23,456", "12,34,567"], [123456, 1234567]),
    (["7", "12,5", "1.234,75"], [7, 12.5, 1234.75]),
    (["(1,234)", "5,678,900"], [-1234, 5678900]),
    (["−5", "3.5", "+7"], [-5, 3.5, 7]),
    (["1.234,50-", "200,75", "5-"], [-1234.5, 200.75, -5]),
    (["1 234:-", "99:-"], [1234, 99]),
    (["2.5 million", "1 million"], [2.5e6, 1e6]),
    (["1,5 Tsd. €", "20 Tsd. €"], [1500, 20000]),
    (["1.5 lakh", "2 crore"], [150000, 2e7]),
    (["12万円", "1.5万円"], [120000, 15000]),
    (["\u200e85 m²", "7\u200b m2"], [85, 7]),
    (["＄１２", "＄５"], [12, 5]),
    (["$1,200.50", *["$3"] * 40, "n.v."], [1200.5, *[3] * 40, None]),
    (["980"] * 30 + ["$1,234.50"], [*[980] * 30, 1234.5]),
]


@pytest.mark.parametrize(("cells", "values"), NUMBERS, ids=lambda value: str(value[0]))
def test_one_spelling_of_a_number_is_read(cells: list[str], values: list[float | None]) -> None:
    column = typed(cells)
    assert column.cells.to_pylist() == values
    assert column.reading is not None
    assert column.warnings[0].code == "read_as_numbers"
    assert codes(column)[1:] == (["mixed_numbers"] if None in values else [])


DATES = [
    (["20141013T000000", "20150102T101112"], "2015-01-02 10:11:12"),
    (["31-Jul-2010", "1-aug-2011"], "2011-08-01"),
    (["31 July 2010", "1st August 2011"], "2011-08-01"),
    (["July 31, 2010", "Sept. 1, 2011"], "2011-09-01"),
    (["Sat, 31 Jul 2010 18:30:00 +0200", "Sun, 1 Aug 2010 00:00:00 +0200"], "2010-07-31 22:00"),
    (["2010.07.31", "2011.1.1"], "2011-01-01"),
    (["2010-Jul-31", "2011-Jan-01"], "2011-01-01"),
    (["1/13/2013 0:00", "2/3/2013 9:05"], "2013-02-03 09:05"),
    (["7/31/2010 6:30 PM", "7/1/2010 12:05 AM"], "2010-07-01 00:05"),
    (["31/12/2020", "05/06/2020"], "2020-06-05"),
    (["13.1.2013", "2.3.2013"], "2013-03-02"),
    (["12/31/9999", "1/2/2013"], "2013-01-02"),
    (["31-Dec-9999 23:00 -0500", "1-Jan-2013"], "2013-01-01"),
]


@pytest.mark.parametrize(("cells", "second"), DATES, ids=lambda value: str(value[0]))
def test_one_spelling_of_a_date_is_read(cells: list[str], second: str) -> None:
    column = typed(cells)
    assert column.cells[1].as_py() == datetime.fromisoformat(second)
    assert codes(column)[0] == "read_as_dates"


WORDS = [
    (["€ 1.200", "€ 3.400"], "ambiguous_numbers"),
    (["1.234", "5.678"], "ambiguous_numbers"),
    (["1.234", "980"], "ambiguous_numbers"),
    (["9500", "12.500"], "ambiguous_numbers"),
    (["45.000", "950"], "ambiguous_numbers"),
    (["~5", "~7.5"], "ambiguous_numbers"),
    (["10,000+", "500+", "65"], "ambiguous_numbers"),
    (["'5'", "'1,200'"], "ambiguous_numbers"),
    (["1,234", "5,678"], "ambiguous_numbers"),
    (["$1,234", "$950"], "ambiguous_numbers"),
    (["1,200.-", "350.-"], "ambiguous_numbers"),
    (["1'234", "$2,500"], "ambiguous_numbers"),
    (["1,234.5", "1.234,5"], "ambiguous_numbers"),
    (["5 km", "300 m", "7 km", "8 km", "9 m", "12 m"], "ambiguous_numbers"),
    (["$5", "€6", "$7", "€8", "$9"], "ambiguous_numbers"),
    (["0.12", "12%", "13%"], "ambiguous_numbers"),
    (["05/06/2020", "05/07/2020"], "ambiguous_dates"),
    (["13/1/2020", "1/13/2020"], "ambiguous_dates"),
    (["2/2/2020", "3/3/2020"], "ambiguous_dates"),
    (["2020-01-31", "31.12.20", "5-6-2020 10:00"], "ambiguous_dates"),
    (["31-Jul-10", "01-Aug-11"], "ambiguous_dates"),
    (["Jul 2010", "Aug 2011"], "ambiguous_dates"),
    (["31. Juli 2010", "3. März 2012"], "ambiguous_dates"),
    (["31 de julio de 2010", "1 de agosto de 2011"], "ambiguous_dates"),
    (["2010Q3", "2010-W31", "Q4 2010"], "ambiguous_dates"),
    (["$5", "$1,200.50", "$7", "on request"], "mixed_numbers"),
    (["2010-07-31", "2011-07-31", "0000-00-00"], "mixed_dates"),
    (["18:30", "7:15"], "time_of_day"),
    (["18:30:15.5", "7:15:00"], "time_of_day"),
    (["Paris 02", "Paris 12"], None),
    (["12 Main Street", "3 Oak Road"], None),
    (["192.168.1.1", "10.0.0.1"], None),
    (["1.2.3", "1.10.0"], None),
    (["#12", "#13"], None),
    ([*["1Fam"] * 8, "Duplex", "TwnhsE"], None),
    (["4111 1111", "4111 2222"], None),
    (["48.38, 11.5", "48.4, 11.6"], None),
    (["Quarry 2010", "Nordhavn 2011"], None),
    (["12²", "13²"], None),
    (["3-5", "6-7"], None),
    (["Marble 3, 2010", "March 3, 2010"], None),
]


@pytest.mark.parametrize(("cells", "code"), WORDS, ids=str)
def test_what_can_be_read_in_two_ways_stays_words(cells: list[str], code: str | None) -> None:
    column = typed(cells)
    assert column.cells.to_pylist() == cells
    assert codes(column) == ([] if code is None else [code])


HONEST_FLOATS = [
    ["1.234", "0.500"],
    ["1.234", "0.000"],
    ["1.000", "12.34"],
    ["1.234", "1234.567"],
    ["012.345", "101.500"],
    ["1.234", "1.5e3"],
    ["1.234", "inf"],
    ["1000", "2500"],
]


@pytest.mark.parametrize("cells", HONEST_FLOATS, ids=str)
def test_a_cell_that_cannot_have_a_thousands_mark_settles_the_column(cells: list[str]) -> None:
    column = typed(cells)
    finite = [value if math.isfinite(value) else None for value in map(float, cells)]
    assert column.cells.to_pylist() == finite
    assert set(codes(column)) <= {"not_finite"}


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        (["01234", "10115", "80331"], "leading_zeros"),
        (["20100731", "20110801"], "ambiguous_dates"),
    ],
)
def test_codes_and_days_are_numbers_with_a_warning(cells: list[str], code: str) -> None:
    column = typed(cells)
    assert column.cells.to_pylist() == [float(cell) for cell in cells]
    assert codes(column) == [code]


@pytest.mark.parametrize("cells", [["0", "0.5"], ["20100731", "20109931"], ["20100731"] * 2])
def test_what_is_no_code_and_no_day_needs_no_warning(cells: list[str]) -> None:
    assert codes(typed(cells)) == []


def test_a_warning_names_a_sign_once_and_a_thousands_mark_only_where_it_stands() -> None:
    [warning] = typed(["€5", "5 €", "6,50 €"]).warnings
    assert "without '€', with a decimal comma" in warning.detail
    [warning] = typed(["1,5 Mio. €", "2,25 Mio. €"]).warnings
    assert "thousands mark" not in warning.detail


@pytest.mark.parametrize(
    ("marks", "value"),
    [
        (Marks(decimal=",", thousands="."), 1234),
        (Marks(decimal=","), 1234),
        (Marks(thousands="."), 1234),
        (Marks(decimal="."), 1.234),
    ],
)
def test_the_sender_settles_what_is_ambiguous(marks: Marks, value: float) -> None:
    for cells in (["1.234", "5.678"], ["€ 1.234", "€ 5.678"]):
        assert typed(cells, marks).cells[0].as_py() == value
    assert typed(["80.5", "7.25"], marks).cells.to_pylist() == [80.5, 7.25]


def test_the_warning_names_the_remedy() -> None:
    [warning] = typed(["1.234", "5.678"]).warnings
    assert "?decimal=,&thousands=. (1.234 is 1234) or ?decimal=. (1.234 is 1.234)" in warning.detail


def test_the_warning_shows_what_was_taken_off() -> None:
    cells = ["$5", "$1,200.50", *["$7"] * 40, "free"]
    read, odd = typed(cells).warnings
    assert "'$'" in read.detail
    assert "thousands mark ','" in read.detail
    assert "'$1,200.50' is 1200.5" in read.detail
    assert "1 cell did not fit" in read.detail
    assert "'free'" in odd.detail


@pytest.mark.parametrize("cells", [[f"€ {n}.{n:03}" for n in range(100, 160)]])
def test_a_lookalike_names_no_rows(cells: list[str]) -> None:
    assert profiled(cells).kind == "text"
    assert profiled(cells, "house_id").kind == "text"


def test_the_profile_keeps_the_reading() -> None:
    column = profiled(["85 m²", "106.1 m2"])
    assert column.reading is not None
    assert column.reading.kind == "number"
    assert ColumnProfile.model_validate_json(column.model_dump_json()) == column
    assert profiled(["85", "106.1"]).reading is None


def test_long_whole_numbers_may_end_with_a_point() -> None:
    agents = [f"{agent}.0" for agent in AGENTS]
    column = typed(agents)
    assert column.cells.to_pylist() == agents
    assert codes(column) == ["long_integers"]


AGENTS = [str(4321113141090630000 + 7 * n) for n in range(40)]


def test_long_whole_numbers_keep_their_digits() -> None:
    column = typed(AGENTS * 3)
    assert column.cells.unique().to_pylist() == AGENTS
    assert codes(column) == ["long_integers"]
    assert profiled(AGENTS * 3).kind == "categorical"
    assert profiled([*AGENTS, *AGENTS[:9]]).kind == "identifier"


def test_a_few_long_whole_numbers_lose_digits_with_a_warning() -> None:
    column = typed([*map(str, range(100)), AGENTS[1]])
    assert column.cells.type == pa.float64()
    assert codes(column) == ["long_integers"]
    assert codes(typed(["9007199254740992", "18014398509481984"])) == []  # exact all the same


def test_dates_far_from_any_event_are_named() -> None:
    column = typed([*["9999-12-31"] * 3, "0001-01-01", "2010-01-01"])
    assert [moment.year for moment in column.cells.to_pylist()] == [9999] * 3 + [1, 2010]
    [warning] = column.warnings
    assert warning.code == "far_dates"
    assert "9999-12-31 in 3 of the 5 rows" in warning.detail


def test_booleans_are_one_level_in_small_letters_and_capitals() -> None:
    assert typed(["TRUE", "true", "False", "NA"]).cells.to_pylist() == [
        "true",
        "true",
        "false",
        None,
    ]
    assert typed(["TRUE", "FALSE"]).cells.to_pylist() == ["TRUE", "FALSE"]
    assert typed(["TRUE", "true", "maybe"]).cells.to_pylist() == ["TRUE", "true", "maybe"]


TEMPLATES = ["${:,.2f}", "{:,.2f} kg", "{:,.2f}%"]
amounts = st.integers(-(10**9), 10**9).map(lambda cents: cents / 100)


@many
@given(
    st.lists(amounts, min_size=1, max_size=8),
    st.sampled_from(["${:,.2f}", "{:,.2f} kg", "{:,.2f}%"]),
)
def test_a_written_amount_is_read_back(values: list[float], template: str) -> None:
    """Whatever the values, the marks are settled by the two decimals."""
    column = typed([template.format(value) for value in values] + [template.format(0.5)])
    assert column.cells.to_pylist()[:-1] == values


CELLS = [cells for cells, _ in NUMBERS] + [cells for cells, _ in DATES]
READINGS = [typed(cells).reading for cells in CELLS]
PIECES = """$|€|-|−|(|)|+|k|M| m2| m²|%|,|.| |\u202f|'|e5|1|12|200|000|5|007|nan|Jul|-Jul-|/|2010
:-|million|lakh|万|\u200b|2010.07.31|:|PM|13/1/2013| 6:30|T101112|20141013|9999|²|baths| bath|None
1_0|١"""
pieces = st.sampled_from(PIECES.replace("\n", "|").split("|"))
texts = st.lists(pieces, min_size=1, max_size=6).map("".join).map(str.strip)
spelt = st.one_of(texts, st.sampled_from([cell for cells in CELLS for cell in cells]))


@many
@given(st.sampled_from(READINGS), st.lists(spelt, min_size=1, max_size=12))
def test_the_script_of_an_export_reads_the_same(reading: Reading | None, cells: list[str]) -> None:
    assert reading is not None
    kind = "datetime" if reading.kind == "datetime" else "numeric"
    feature = {"kind": kind, "reading": reading.model_dump(), "low": 0.0, "high": 9.0, "edges": []}
    values, odd = apply(reading, pa.array(cells))
    np.testing.assert_array_equal([standalone.value_of(cell, feature) for cell in cells], values)
    alone = [apply(reading, pa.array([cell]))[0][0] for cell in cells]
    np.testing.assert_array_equal(alone, values)
    assert not odd[~np.isnan(values)].any()


@pytest.mark.parametrize("cells", [cells for cells, _ in DATES], ids=str)
def test_a_date_as_a_number_is_that_of_the_table(cells: list[str]) -> None:
    column = typed(cells)
    assert column.reading is not None
    moments = column.cells.combine_chunks().to_numpy(zero_copy_only=False)
    np.testing.assert_array_equal(apply(column.reading, pa.array(cells))[0], epoch_seconds(moments))
    moment = column.cells[1].as_py().replace(tzinfo=UTC)
    assert math.isclose(moment.timestamp(), epoch_seconds(moments)[1])
