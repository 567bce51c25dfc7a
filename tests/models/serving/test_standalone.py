"""The script in an export reads cells as the service does."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.serving import standalone
from models.serving.levels import Levels
from models.tables.arrays import level_of
from models.tables.cells import (
    MISSING,
    MISSING_AMONG_NUMBERS,
    epoch_seconds,
    parse_dates,
    parse_numbers,
)
from models.tables.table import Blocks, Limits, TableError

NUMBERS = """8450 +1.5e3 .5 5. -0 1e400 -1e400 1_000 inf -Infinity nan 12,5 0x10 e5 1e 1.e2 ١٢ ½
60.0 9007199254740993 1e22 big NAN Nan +nan -NaN""".split()
DATES = """2010-07-31|2010-7-1|2010/7/31|2010/07-31|2010-07|1899-07|2010-13|2010-02-30|20100731
2010-W01-1|2010-07-31T18|2010-07-31T18:3|2010-07-31T1830|2010-07-31 18:30+02:00
2010-07-31T18:30:00.5Z|2010-07-31 18:30:00.123456789 -0330|2010-07-31T18:30:61|2010-07-31Z
2010-07-31T18+05|2010-07-31 18:30:00,5|1969-12-31|1850-01-01|0001-01-01|9999-12-31
05/06/2010|yesterday|1280534400|2010-07-31T18:30+02:0|2010-07-31T""".replace("\n", "|").split("|")


def column(texts: list[str]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.string())])


def words_of(*levels: str, numbers: bool) -> dict[str, Any]:
    return {"kind": "categorical", "numbers": numbers, "levels": ["2", *levels]}


SPELLINGS = ["1", "1.0", "1.", "01", "1.5", "1.50", "true", "TRUE", "True", "b"]


@pytest.mark.parametrize(
    "levels", [["1", "2"], ["1.0", "A"], ["1.50", "1.5", "01"], ["TRUE", "false"]]
)
@pytest.mark.parametrize("text", SPELLINGS)
def test_levels_in_other_spellings(levels: list[str], text: str) -> None:
    feature = {"kind": "categorical", "numbers": False, "levels": levels}
    code = Levels(levels).find(text)
    assert standalone.level(text, feature) == (text if code is None else levels[code])


def test_the_texts_that_mean_missing() -> None:
    assert set(MISSING) == standalone.MISSING
    assert set(MISSING_AMONG_NUMBERS) == standalone.MISSING_AMONG_NUMBERS


def test_numbers() -> None:
    cells = [*NUMBERS, *MISSING_AMONG_NUMBERS]
    values, odd = parse_numbers(column(cells))
    np.testing.assert_array_equal([standalone.number(cell) for cell in cells], values)

    levels = [
        cell if bad else "" if np.isnan(value) else level_of(value)
        for cell, value, bad in zip(cells, values.tolist(), odd, strict=True)
    ]
    assert [standalone.level(cell, words_of(numbers=True)) for cell in cells] == levels


@pytest.mark.parametrize("text", [*DATES, *MISSING_AMONG_NUMBERS])
def test_dates(text: str) -> None:
    [value] = epoch_seconds(parse_dates(column([text]))[0])
    np.testing.assert_array_equal(standalone.seconds(text), value)


def test_words() -> None:
    words = ["north", "None", "?", "60.0", *MISSING]
    assert [standalone.level(word, words_of(numbers=False)) for word in words] == [
        *words[:4],
        *[""] * len(MISSING),
    ]


ODD_FILES = {
    "separator in a quoted name": b'\narea;year;"a, b, c, d"\n120;1950;x\n',
    "commas in names": b"area (m2, net);price, EUR\n120;1\n80;2\n",
    "sep line": b'\xef\xbb\xbf"sep=;"\r\narea;year\r\n120;1950\r\n',
    "padded sep line": b"sep=|||\r\narea|year\r\n120|1950\r\n",
    "line break in a name": b'"Wohn-\r\nfl\xc3\xa4che";year\r\n120;1950\r\n',
    "blanks": b"  area   year note\n   120  1950 'x'\n    80  1960  y\n",
    "carets": b"area^year\n120^1950\n",
    "blank before a quote": b'area, town\n120, "Old, Port"\n80, "x"\n',
    "text behind a quote": b'pipe,year\n"5" wide",1950\n"a, b" c,1960\n',
    "backslashes": b'pipe,year\n"5\\" wide, \\\\ \\n",1950\n"say ""x""",1960\n',
    "folders": b'folder,year\n"C:\\x\\",1950\n',
    "quotes within": b'pipe,year\n5" wide,1950\n\n"x\r\ny",1960',
}


@pytest.mark.parametrize("name", ODD_FILES)
def test_a_file_is_read_as_by_the_service(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same columns, cells and remarks."""
    data = ODD_FILES[name]
    blocks = Blocks(io.BytesIO(data), Limits(max_rows=100, max_columns=100))
    cells = pa.Table.from_batches(blocks).to_pydict()
    told: list[str] = []
    monkeypatch.setattr(standalone, "note", told.append)

    assert standalone.read(csv_file(tmp_path, data)) == (cells, len(next(iter(cells.values()))))
    assert told == [warning.detail for warning in blocks.warnings]


def csv_file(folder: Path, data: bytes) -> str:
    path = folder / "houses.csv"
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize(
    "data",
    [
        b"area,year\n120\n",
        b'area,year\n120,"1950\n',
        b"area, m2;price\n128,9;315\n",
        b'area, town\n120, "Old" Port\n',
        b"area,year\n120,\0\n",
        b"area,year\n",
        b"# made today\narea,year\n1,2\n",
    ],
)
def test_what_cannot_be_read_without_guessing(tmp_path: Path, data: bytes) -> None:
    with pytest.raises((SystemExit, TableError)):
        standalone.read(csv_file(tmp_path, data))
    with pytest.raises(TableError):
        pa.Table.from_batches(Blocks(io.BytesIO(data), Limits(max_rows=100, max_columns=100)))
