from __future__ import annotations

import csv
import io
import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from models.tables import quoting
from models.tables import row_reader as rows
from models.tables.header import HEAD_BYTES
from models.tables.profile import Profile, profile
from models.tables.table import Blocks, Limits, TableError, TypedTable, read_table

AMES = Path("examples/ames.csv")
LIMITS = Limits(max_rows=10_000, max_columns=100)


def read(text: str | bytes) -> TypedTable:
    data = text.encode() if isinstance(text, str) else text
    return read_table(io.BytesIO(data), LIMITS)


def read_cells(text: str | bytes) -> dict[str, list[str]]:
    data = text.encode() if isinstance(text, str) else text
    cells: dict[str, list[str]] = pa.Table.from_batches(
        Blocks(io.BytesIO(data), LIMITS)
    ).to_pydict()
    return cells


def read_column(cells: Sequence[str]) -> TypedTable:
    """One column named x beside another, so that empty cells are no blank lines."""
    quoted = (cell.replace('"', '""') for cell in cells)
    return read("x,other\n" + "".join(f'"{cell}",1\n' for cell in quoted))


def refusal(text: str | bytes, limits: Limits = LIMITS) -> TableError:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(TableError) as error:
        read_table(io.BytesIO(data), limits)
    assert "CSV parse" not in error.value.detail  # pyarrow's own words
    return error.value


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separator_is_taken_from_the_header(separator: str) -> None:
    header = separator.join(["a", '"b,b;b\tb|b,;\t|"', "c"])
    cells = read_cells(f"{header}\n" + separator.join(["1", "2", "3"]))
    assert cells == {"a": ["1"], "b,b;b\tb|b,;\t|": ["2"], "c": ["3"]}


def test_names_may_hold_quotes_and_line_breaks_which_become_blanks() -> None:
    assert read_cells('"a\r\nb","c \n\n d\re","5"" pipe",6" pipe\n1,2,3,4\n') == {
        "a b": ["1"],
        "c d e": ["2"],
        '5" pipe': ["3"],
        '6" pipe': ["4"],
    }


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["", "last", "many"])
def test_line_breaks_and_byte_order_mark(line_break: str, mark: str, end: str) -> None:
    lines = line_break.join(["a,b", "1,é", "", "2,😀"])
    closing = {"": "", "last": line_break, "many": 3 * line_break}[end]
    assert read_cells(mark + lines + closing) == {"a": ["1", "2"], "b": ["é", "😀"]}


def test_cells_are_trimmed_and_keep_what_is_within_quotes() -> None:
    cells = read_cells(
        '"size, m2", note \n 1 , x" \n'
        '2,"two\r\nlines; ""quoted"", and all"\n'
        '3,\u00a0 5" pipe\t\n'
        '4,"=cmd()"\n'
    )
    assert cells == {
        "size, m2": ["1", "2", "3", "4"],
        "note": ['x"', 'two\nlines; "quoted", and all', '5" pipe', "=cmd()"],
    }


def test_cells_are_those_of_the_csv_module_wherever_blocks_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rows, "BLOCK_BYTES", 1024)
    random_ = random.Random(0)
    parts = ["a", "é", "😀", '"', ",", "\n", "\r\n", ",\n", '"",', "x" * 40]
    for line_break in ["\n", "\r\n"]:
        written = [
            ["".join(random_.choices(parts, k=random_.randrange(6))) for _ in range(3)]
            for _ in range(500)
        ]
        text = io.StringIO()
        csv.writer(text, lineterminator=line_break).writerows([["a", "b", "c"], *written])
        got = pa.Table.from_batches(Blocks(io.BytesIO(text.getvalue().encode()), LIMITS))
        assert [list(row.values()) for row in got.to_pylist()] == [
            [cell.replace("\r\n", "\n").strip() for cell in row] for row in written
        ]


def test_reads_a_path_and_a_stream_from_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("skipped\na,b\n1,2\n")
    with path.open("rb") as stream:
        stream.readline()
        assert read_table(stream, LIMITS).table.to_pydict() == {"a": [1.0], "b": [2.0]}
        assert not stream.closed
    path.write_text("a\n1\n")
    assert read_table(path, LIMITS).table.to_pydict() == {"a": [1.0]}


def test_types_are_those_of_the_contract() -> None:
    typed = read("n,d,w\n1,2020-01-31,x\nNA,,NA\n")
    assert typed.table.schema.types == [pa.float64(), pa.timestamp("us"), pa.string()]
    assert [column.null_count for column in typed.table.columns] == [1, 1, 1]
    assert typed.warnings == []


@pytest.mark.parametrize(
    "token", ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "#N/A", "<NA>", "NaT"]
)
def test_missing_everywhere(token: str) -> None:
    for cells in (["1", token], ["2020-01-31", token], ["brick", token]):
        typed = read_column(cells)
        assert typed.table["x"].null_count == 1
        assert typed.warnings == []


@pytest.mark.parametrize("token", ["None", "none", "?", "-", "."])
def test_missing_among_numbers_and_a_level_among_words(token: str) -> None:
    assert read_column(["1", token]).table["x"].to_pylist() == [1.0, None]
    assert read_column(["2020-01-31", token]).table["x"].null_count == 1
    assert read_column(["brick", token, "NA"]).table["x"].to_pylist() == ["brick", token, None]
    assert read_column([token, token]).table["x"].to_pylist() == [token, token]


def test_column_without_any_value_is_words() -> None:
    typed = read_column(["", "NA"])
    assert typed.table.schema.field("x").type == pa.string()
    assert typed.table["x"].null_count == 2


def test_odd_words_in_a_column_of_numbers_become_missing() -> None:
    typed = read_column(["1"] * 57 + ["about 3", "NA", "?", "big", "4"])
    assert typed.table["x"].to_pylist() == [1.0] * 57 + [None, None, None, None, 4.0]
    [warning] = typed.warnings
    assert (warning.code, warning.column, warning.row) == ("mixed_numbers", "x", 58)
    assert warning.detail == "2 cells taken as missing: not a number (row 58: 'about 3')."


def test_too_many_words_make_a_column_of_words() -> None:
    typed = read_column(["1"] * 9 + ["big"])
    assert typed.table["x"].to_pylist() == ["1"] * 9 + ["big"]
    [warning] = typed.warnings
    assert (warning.code, warning.row) == ("mixed_numbers", 10)
    assert "90.0 % of the cells are numbers" in warning.detail


def test_infinities_become_missing() -> None:
    typed = read_column(["1", "inf", "-1e400", "2"])
    assert typed.table["x"].to_pylist() == [1.0, None, None, 2.0]
    [warning] = typed.warnings
    assert (warning.code, warning.row) == ("not_finite", 2)


def test_ambiguous_numbers_among_plain_ones_are_named() -> None:
    typed = read_column(["980"] * 30 + ["1,234"])
    assert typed.table["x"].to_pylist() == [980.0] * 30 + [None]
    codes = [(warning.code, warning.row) for warning in typed.warnings]
    assert codes == [("mixed_numbers", 31), ("ambiguous_numbers", 31)]


def test_odd_words_in_a_column_of_dates_become_missing() -> None:
    typed = read_column(["2020-01-31"] * 30 + ["2020-02-31"])
    assert typed.table["x"].null_count == 1
    assert [(warning.code, warning.row) for warning in typed.warnings] == [("mixed_dates", 31)]


def test_header_of_numbers_is_warned_of() -> None:
    [warning] = read("1,2.5\n3,4\n").warnings
    assert (warning.code, warning.column) == ("numeric_header", None)
    assert read("1,b\n3,4\n").warnings == []
    [warning] = read("Quarry,55.4\nElm,60\nQuarry,70\n").warnings
    assert warning.code == "numeric_header"
    assert read("town,2010\nElm,60\nQuarry,70\n").warnings == []
    assert read("town,area\nElm,60\ntown,70\n").warnings[1:] == []


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n\n", "is empty"),
        (b"a,b\n", "a header and no rows"),
        (b"a,b\n\n\r\n", "a header and no rows"),
        (b"a,,c\n1,2,3\n", "Column 2 has no name"),
        (b",a\n0,1\n", "index=False"),
        (b"a,b,a\n1,2,3\n", "2 columns are named 'a'"),
        (b"a, a \n1,2\n", "2 columns are named 'a'"),
        (b'"a,b\n1,2\n', "The header, column 1 opens a double quote that never closes"),
        (b"x" * 200_000 + b",b\n1,2\n", "a column name of 128 KiB"),
        (b"a\xff,b\n1,2\n", "The header is not valid UTF-8 (byte 2"),
        (b"a\0,b\n1,2\n", "NUL"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        ("a,b\n1,2\n".encode("utf-16-le"), "UTF-16"),
        (b"PK\x03\x04\x14\x00\x08\x00", "a zip archive or an Excel workbook"),
        (b"PAR1\x15\x04\x15\x00", "a Parquet file"),
        (b"\x1f\x8b\x08\x00", "a gzip archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook"),
        (b"x" * (HEAD_BYTES + 1), "does not end within 1,024 KiB"),
        (b",".join(b"c%d" % i for i in range(1_000_000)), "more than 100 columns"),
    ],
)
def test_refused_for_its_head(data: bytes, says: str) -> None:
    assert says in refusal(data).detail


def test_every_bad_name_is_a_fault() -> None:
    faults = refusal("a,,b,a,\n1,2,3,4,5\n").faults
    assert [(fault.detail, fault.column) for fault in faults] == [
        ("Column 2 has no name.", None),
        ("Column 5 has no name.", None),
        ("2 columns are named 'a'.", "a"),
    ]


@pytest.mark.parametrize(
    ("data", "says", "row", "column"),
    [
        ("a,b\n1,2\n3\n", "Row 2 has 1 cell where the header has 2", 2, None),
        ("a,b\n\n1,2\n\n3,4,5\n", "Row 2 has 3 cells where the header has 2", 2, None),
        ('a,b\n"x\ny",2\n3\n', "Row 2 has 1 cell", 2, None),
        ("a;b\n1;2;3\n", "separated by ';'", 1, None),
        (b"a,b\n1,2\n\xff\n", "Row 2 has 1 cell", 2, None),
        (b"a,b\n1,2\n3,caf\xe9\n", "Row 2, column 'b' is not valid UTF-8", 2, "b"),
        (b"a,b\n1,2\n3,4\n\xed\xa0\x80,6\n", "Row 3, column 'a' is not valid UTF-8", 3, "a"),
        (b"a,b\n1,2\n3,4\0\n", "Row 2, column 'b' contains a NUL byte", 2, "b"),
        ('a,b\n1,2\n3,"4\n5,6\n', "Row 2, column 'b' opens a double quote that never", 2, "b"),
        ('a,b\n1,"', "Row 1, column 'b' opens a double quote that never", 1, "b"),
    ],
)
def test_refused_for_a_row(data: str | bytes, says: str, row: int, column: str | None) -> None:
    error = refusal(data)
    assert says in error.detail
    assert [(fault.row, fault.column) for fault in error.faults] == [(row, column)]


def test_names_many_ragged_rows_but_not_all() -> None:
    error = refusal("a,b\n" + "1,2\n3\n" * 100)
    assert [fault.row for fault in error.faults] == list(range(2, 42, 2))


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (b"3\n", "Row 301 has 1 cell"),
        (b"3,\xe9\n", "Row 301, column 'b' is not valid UTF-8"),
        (b"3,\0\n", "Row 301, column 'b' contains a NUL byte"),
        (b'3,"4\n', "Row 301 does not end within"),
        (b"x" * 5000, "Row 301 does not end within"),
    ],
)
def test_row_numbers_go_on_over_blocks(
    monkeypatch: pytest.MonkeyPatch, broken: bytes, says: str
) -> None:
    monkeypatch.setattr(rows, "BLOCK_BYTES", 512)
    monkeypatch.setattr(quoting, "LONGEST_RECORD", 512)
    error = refusal(b"a,b\n" + "1,é\n".encode() * 300 + broken + b"5,6\n" * 600)
    assert error.detail.startswith(says)
    assert error.faults[0].row == 301


def test_limits() -> None:
    text = "a,b\n1,2\n3,4\n"
    exact = Limits(max_rows=2, max_columns=2)
    assert read_table(io.BytesIO(text.encode()), exact).table.shape == (2, 2)
    over_rows = refusal(text, Limits(max_rows=1, max_columns=2))
    assert over_rows.detail == "The table has more than 1 rows, the limit of this server."
    over_columns = refusal(text, Limits(max_rows=2, max_columns=1))
    assert over_columns.detail == "The table has more than 1 columns, the limit of this server."


def test_long_cells_are_cut_in_messages() -> None:
    [warning] = read_column(["1"] * 30 + ["x" * 1_000_000]).warnings
    assert len(warning.detail) < 200
    assert len(refusal(f"{'x' * 9000},{'x' * 9000}\n1,2\n").detail) < 200


def test_broken_tables_are_refused_or_read_and_nothing_else() -> None:
    """Random damage to a real table ends in a TableError or in a profile that is JSON."""
    lines = AMES.read_bytes().splitlines()[:40]
    whole = b"\n".join(b",".join(line.split(b",")[:8]) for line in lines)
    hostile = [b'"', b'",', b"\n", b"\r", b"\0", b"\xff", b"\xf0\x9f", b"1e400", b"-1.7e308"]
    hostile += [b"1.7e308", b"nan", b"2020-02-30", b"1,234", "\u0661".encode(), b"\x1a", b";" * 30]
    random_ = random.Random(0)
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(random_.randrange(1, 4)):
            start = random_.randrange(len(data))
            end = start + random_.choice([0, 0, 1, 30])
            data[start:end] = random_.choice([*hostile, random_.randbytes(2)])
        try:
            described = profile(read(bytes(data)))
        except TableError:
            refused += 1
        else:
            assert Profile.model_validate_json(described.model_dump_json()) == described
    assert 0 < refused < 300
