"""Which of several readings of a file is taken, and which files are refused for having two."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pytest

from models.tables import quoting
from models.tables import row_reader as rows
from models.tables.table import Blocks, Limits, TableError

LIMITS = Limits(max_rows=10_000, max_columns=100)


def read(data: bytes, separator: str | None = None) -> tuple[list[Any], list[str]]:
    """The header and the rows as lists of texts, and what was assumed."""
    blocks = Blocks(io.BytesIO(data), LIMITS, separator)
    table = pa.Table.from_batches(blocks)
    cells = [table.column_names, *([*row.values()] for row in table.to_pylist())]
    return cells, [warning.detail for warning in blocks.warnings]


def refusal(data: bytes, separator: str | None = None) -> TableError:
    with pytest.raises(TableError) as error:
        read(data, separator)
    return error.value


@pytest.mark.parametrize(
    ("data", "cells"),
    [
        (b"a (m2, net);b, EUR\n1;2\n3;4\n", [["a (m2, net)", "b, EUR"], ["1", "2"], ["3", "4"]]),
        (b"a;b\n128,9;315,2\n", [["a", "b"], ["128,9", "315,2"]]),
        (b"a\tb, c\n1\t2\n", [["a", "b, c"], ["1", "2"]]),
        (b"id,note\n1,a;b\n2,c;d\n", [["id", "note"], ["1", "a;b"], ["2", "c;d"]]),
        (b"a|b,c\n1,2\n3|4,5\n", [["a|b", "c"], ["1", "2"], ["3|4", "5"]]),
        (b'"a; b",c\n"1;2",3\n', [["a; b", "c"], ["1;2", "3"]]),
        (b'"a, b";"c, d"\n"1, 2";"3, 4"\n', [["a, b", "c, d"], ["1, 2", "3, 4"]]),
        (b"a^b^c\n1^2^3\n", [["a", "b", "c"], ["1", "2", "3"]]),
        (b"a\n1\n2\n", [["a"], ["1"], ["2"]]),
        (b"text\na;b\nc\n", [["text"], ["a;b"], ["c"]]),
        (b"sep=;\r\na;b\r\n1;2\r\n", [["a", "b"], ["1", "2"]]),
        (b'\xef\xbb\xbf"sep=;"\r\na, m2;b, c\r\n1,5;2,5\r\n', [["a, m2", "b, c"], ["1,5", "2,5"]]),
        (b"SEP=,,,\na,b,c\n1,2,3\n", [["a", "b", "c"], ["1", "2", "3"]]),
        (b"sep=\t\na\tb\n1\t2\n", [["a", "b"], ["1", "2"]]),
        (b"sep=,x\n1,2\n", [["sep=", "x"], ["1", "2"]]),
        (b'path,n\n"C:\\x\\",1\n"D:\\",2\n', [["path", "n"], ["C:\\x\\", "1"], ["D:\\", "2"]]),
        (b'"x, y"\n1\n2\n', [["x, y"], ["1"], ["2"]]),
        (b"#chrom\tpos\nchr1\t5\n", [["#chrom", "pos"], ["chr1", "5"]]),
    ],
)  # fmt: skip
def test_read_without_a_remark(data: bytes, cells: list[list[str]]) -> None:
    assert read(data) == (cells, [])


@pytest.mark.parametrize(
    ("data", "cells", "says"),
    [
        (
            b"  area  rooms town\n  10.5      3 Elm\n     9      2 Oak\n",
            [["area", "rooms", "town"], ["10.5", "3", "Elm"], ["9", "2", "Oak"]],
            "Blanks were taken as the separator",
        ),
        (
            b'"the town" area n\n"Old Port" 1 2\n  Elm   3  4\n',
            [["the town", "area", "n"], ["Old Port", "1", "2"], ["Elm", "3", "4"]],
            "Blanks were taken as the separator",
        ),
        (b"two words\nold road\n", [["two words"], ["old road"]], "?separator=%20"),
        (
            b'a, b\n1, "x, y"\n2, "z"\n',
            [["a", "b"], ["1", "x, y"], ["2", "z"]],
            "2 cells have a blank before the opening double quote, which is dropped (first: row 1, "
            "column 'b').",
        ),
        (
            b'a,b\n1,x\n2,"5" pipe\n',
            [["a", "b"], ["1", "x"], ["2", "5 pipe"]],
            "1 cell has text after the closing double quote: it is kept without the quotes "
            "(first: row 2, column 'b').",
        ),
        (
            b'a,b\n"7\\" wide, tall",1\n"say ""x"" \\\\ \\n",2\n',
            [["a", "b"], ['7" wide, tall', "1"], ['say "x" \\ \\n', "2"]],
            "1 cell has a backslash before a double quote: it is read as a double quote "
            "(first: row 1, column 'a').",
        ),
        (b'a,b\n1,"5\\""\n2,"7\\""\n', [["a", "b"], ["1", '5"'], ["2", '7"']], "2 cells have"),
        (b'"a" (m2),b\n1,2\n', [["a (m2)", "b"], ["1", "2"]], "first: the header, column 'a (m2)'"),
    ],
)
def test_read_with_a_remark(data: bytes, cells: list[list[str]], says: str) -> None:
    found, [remark] = read(data)
    assert found == cells
    assert says in remark


@pytest.mark.parametrize(
    ("data", "says", "place"),
    [
        (b"a,b\n1,2\n3\n4,5\n", "Row 2 has 1 cell where the header has 2", (2, None)),
        (b"# made today\na,b\n1,2\n", "read as '# made today'. If", (1, None)),
        (b"A report\n\na;b;c\n1;2;3\n", "read as 'A report'. If a title", (1, None)),
        (b'"a","b"\n"1",5,6\n"2",7,8\n', "row.names=FALSE", (1, None)),
        (b'"a" "b"\n"1" 5 6\n"2" 7 8\n', "row.names=FALSE", (1, None)),
        (b"a,b\n1,2,\n3,4,\n", "The rows end with a separator", (1, None)),
        (b"text\nhello, world\nfoo\n", "Row 1 has 2 cells", (1, None)),
        (b"tag\na;b\nc;d\n", "Row 1 has 2 cells where the header has 1", (1, None)),
        (b'a, b\n1, "x" y\n', "Row 1, column 'b' has text after its closing", (1, "b")),
        (b'a,b\n"7\\" wide",1\n"7" wide",2\n', "Row 1, column 'a' has text after", (1, "a")),
        (b'a,b\n"x,1\ny,"z",2\n', "Row 1, column 'a' has text after its closing", (1, "a")),
        (b'a, b\n1, "x\n', "Row 1, column 'b' opens a double quote that never", (1, "b")),
    ],
)
def test_refused_with_its_place(data: bytes, says: str, place: tuple[int, str | None]) -> None:
    error = refusal(data)
    assert says in error.detail
    assert (error.faults[0].row, error.faults[0].column) == place


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"# by me, today\na,b\n1,2\n", "'a', 'b'): remove the first line"),
        (b"Report,,\na,b,c\n1,2,3\n", "a title above the column names?"),
        (b"sep=,\na;b\n1;2\n", "names the separator ','"),
        (b"sep=;\n", "is empty"),
    ],
)
def test_refused_for_its_first_line(data: bytes, says: str) -> None:
    assert says in refusal(data).detail


def test_two_readings_are_shown_and_a_named_separator_decides() -> None:
    data = b"area, m2;price, kEUR\n128,9;315,2\n147,9;340,8\n"
    detail = refusal(data).detail
    for part in ("'area', 'm2;price', 'kEUR'", "'area, m2', 'price, kEUR'", "?separator=;"):
        assert part in detail
    assert read(data, ";")[0][0] == ["area, m2", "price, kEUR"]
    assert read(data, ",")[0][0] == ["area", "m2;price", "kEUR"]
    assert read(b"two words\nold road\n", " ")[0] == [["two", "words"], ["old", "road"]]


def test_what_is_odd_below_the_lines_that_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read by the same rules, or refused; blocks may end anywhere."""
    monkeypatch.setattr(rows, "BLOCK_BYTES", 512)
    monkeypatch.setattr(quoting, "LONGEST_RECORD", 512)
    regular = b"a,b\n" + b'1,"x, ""y"""\n\n' * 2_000
    found, [remark] = read(regular + b'2, "z"\n' * 100)
    assert found[1:] == [["1", 'x, "y"']] * 2_000 + [["2", "z"]] * 100
    assert remark.startswith("100 cells have a blank before")
    assert "row 2,001, column 'b'" in remark
    error = refusal(regular + b'2,"7\\" wide"\n')
    assert (error.faults[0].row, error.faults[0].column) == (2_001, "b")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"a~b\n1~2\n3~4\n", "If '~' separates 2 columns, upload it with ?separator=~."),
        (b"a:b:c\n1:2:3\n", "If ':' separates 3 columns, upload it with ?separator=:."),
        (b'"a,b"\n"1,2"\n', "remove the double quotes around whole lines."),
    ],
)
def test_one_column_that_may_be_more(data: bytes, says: str) -> None:
    [[_, *_], [remark]] = read(data)
    assert remark.endswith(says)


def test_one_column_with_commas_says_how_to_read_it() -> None:
    data = b"x\n1,5\n2,5\n"
    assert "?separator=;" in str(refusal(data))
    assert "?separator=;" not in str(refusal(b"# exported\na,b,c\n1,2,3\n4,5,6\n"))
    assert read(data, ";") == ([["x"], ["1,5"], ["2,5"]], [])
