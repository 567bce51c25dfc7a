"""Tables as they come: what cannot be read is refused with its place, what can is profiled."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from hostile import CSV, MIB, Bad, assert_lives, assert_refused, besieged, datasets, no_orphans
from stack import Json, Stack

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

MAX_ROWS = 100_000
MAX_COLUMNS = 500
ROWS = 40


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("tables")
    with besieged(folder, warm, max_rows=MAX_ROWS, max_columns=MAX_COLUMNS) as stack:
        yield stack


def warm(stack: Stack) -> None:
    """A table of numbers, dates and words as large as any below, and jobs on it."""
    table = "a,when,word\n" + "".join(
        f"{i},2010-07-{i % 28 + 1:02},{'xyz'[i % 3] * 100}\n" for i in range(MAX_ROWS)
    )
    stack.upload(table)
    validate(stack, {"dataset_id": "latest", "target": "a"})


def validate(stack: Stack, spec: Json) -> Any:
    return stack.http.post("/v1/jobs:validate", json=spec)


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.csv", "a,b\n1,2\n")
    return file.getvalue()


NEEDS = "it needs a header line and at least one row"
UTF8 = "save the table as CSV in UTF-8"
WIDE = f"more than {MAX_COLUMNS:,} columns"
QUOTE = "double quote that never closes"

REFUSED: dict[str, Bad] = {
    "nothing": Bad(b"", NEEDS),
    "a line break": Bad(b"\n", NEEDS),
    "blank lines": Bad(b"  \r\n\r\n\n", NEEDS),
    "a mark alone": Bad(b"\xef\xbb\xbf", NEEDS),
    "a header alone": Bad(b"a,b", "needs at least one row below it"),
    "a header and blank lines": Bad(b"a,b\n\n\n", "needs at least one row below it"),
    "a short row": Bad(b"a,b,c\n1,2,3\n4,5\n", "2 cells where the header has 3", {"row": 2}),
    "a long row": Bad(b"a,b\n1,2\n3,4\n5,6,7\n", "3 cells where the header has 2", {"row": 3}),
    "a short last row": Bad(b"a,b\n1,2\n3", "1 cell where the header has 2", {"row": 2}),
    "a short row after blanks": Bad(b"a,b\n\n\n1,2\n\n3\n", "1 cell", {"row": 2}),
    "a short row far down": Bad(b"a,b\n" + b"1,2\n" * 90_000 + b"3\n", "1 cell", {"row": 90_001}),
    "trailing separators": Bad(b"a,b\n1,2,\n", "3 cells", {"row": 1}),
    "other separators below": Bad(b"a,b\n1;2\n", "separated by ','", {"row": 1}),
    "decimal commas": Bad(b"a,b\n1,5,2\n", "3 cells", {"row": 1}),
    "a name twice": Bad(b"a,b,a\n1,2,3\n", "every column needs a name of its own", {"column": "a"}),
    "a name twice but for spaces": Bad(b"a,b, a \n1,2,3\n", "2 columns", {"column": "a"}),
    "a name twice in quotes": Bad(b'a,"a"\n1,2\n', "2 columns", {"column": "a"}),
    "an emoji twice": Bad("🏠,🏠\n1,2\n".encode(), "2 columns", {"column": "🏠"}),
    "a column without a name": Bad(b"a,,c\n1,2,3\n", "Column 2 has no name"),
    "a name of spaces": Bad(b"a,b,  \n1,2,3\n", "Column 3 has no name"),
    "no names at all": Bad(b",,\n1,2,3\n", "has no name"),
    "a NUL in a cell": Bad(b"a,b\n1,2\n3,\x004\n", "NUL byte", {"row": 2, "column": "b"}),
    "a NUL in the header": Bad(b"a,b\0\n1,2\n", UTF8),
    "NULs alone": Bad(bytes(1000), UTF8),
    "latin-1 in a cell": Bad(b"a,b\n1,2\n\xe9,3\n", UTF8, {"row": 2, "column": "a"}),
    "latin-1 in the header": Bad(b"\xe9,b\n1,2\n", "byte 1 of the line"),
    "half an emoji": Bad(b"a,b\n1,2\n3,\xf0\x9f\x98\n", UTF8, {"row": 2, "column": "b"}),
    "a surrogate": Bad(b"a,b\n1,\xed\xa0\x80\n", UTF8, {"row": 1, "column": "b"}),
    "an overlong sign": Bad(b"a,b\n1,\xc0\xaf\n", UTF8, {"row": 1, "column": "b"}),
    "a byte of no character": Bad(b"a,b\n1,\xff\n", UTF8, {"row": 1, "column": "b"}),
    "UTF-16": Bad("a,b\n1,2\n".encode("utf-16"), "text in UTF-16"),
    "UTF-16, little end first": Bad("a,b\n1,2\n".encode("utf-16-le"), "UTF-16"),
    "UTF-16, big end first": Bad("a,b\n1,2\n".encode("utf-16-be"), "UTF-16"),
    "UTF-32": Bad("a,b\n1,2\n".encode("utf-32"), UTF8),
    "a million columns": Bad(b",".join(b"c%d" % i for i in range(10**6)) + b"\n1\n", WIDE),
    "a column too many": Bad(
        b",".join(b"c%d" % i for i in range(MAX_COLUMNS + 1)) + b"\n" + b"1," * MAX_COLUMNS + b"1",
        WIDE,
    ),
    "a million cells in a row": Bad(b"a,b\n" + b"1," * 10**6, "where the header has 2", {"row": 1}),
    "a row too many": Bad(b"a\n" + b"1\n" * (MAX_ROWS + 1), f"more than {MAX_ROWS:,} rows"),
    "an endless header": Bad(b"x" * 20 * MIB, "does not end within 1,024 KiB"),
    "an endless row": Bad(b"a,b\n1," + b"x" * 17 * MIB + b"\n", "2 MiB", {"row": 1}),
    "an endless last row": Bad(b"a,b\n1,2\n3," + b"x" * 40 * MIB, "2 MiB", {"row": 2}),
    "an open quote": Bad(b'a,b\n1,2\n3,"4\n5,6\n', QUOTE, {"row": 2, "column": "b"}),
    "an open quote, endless": Bad(
        b'a,b\n1,2\n3,"' + b"5,6\n" * 3 * MIB, "double quote", {"row": 2}
    ),
    "an open quote in the header": Bad(b'a,"b\n1,2\n', "quote"),
    "a zip": Bad(zipped(), "zip archive"),
    "a Parquet file": Bad(b"PAR1" + b"\x15\x04\x15" * 99 + b"PAR1", "Parquet file, not CSV"),
    "a gzip": Bad(b"\x1f\x8b\x08\0" + b"a" * 50, "gzip archive"),
    "a bzip2": Bad(b"BZh91AY&SY" + b"\x90" * 30, "bzip2 archive"),
    "an xz": Bad(b"\xfd7zXZ\0" + b"\x90" * 20, "xz archive"),
    "a Zstandard file": Bad(b"\x28\xb5\x2f\xfd" + b"\x90" * 20, "Zstandard archive"),
    "a 7z": Bad(b"7z\xbc\xaf\x27\x1c" + b"a" * 20, "7z archive"),
    "an old workbook": Bad(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "Excel workbook"),
    "a PDF": Bad(b"%PDF-1.7\n%\xe2\xe3\n", "PDF document"),
    "JSON": Bad(b'[{"a":1}]', "needs at least one row"),
    "every byte": Bad(bytes(range(256)) * 10, UTF8),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read(small: Stack, case: str) -> None:
    """422 that names row and column and says what is allowed; raw and as a file called .csv."""
    bad, before = REFUSED[case], datasets(small)
    raw = small.http.post("/v1/datasets", content=bad.body, headers=CSV)
    assert_refused(small, raw, bad.says, bad.status, **bad.place)
    form = small.http.post("/v1/datasets", files={"file": ("table.csv", bad.body, "text/csv")})
    assert_refused(small, form, bad.says, bad.status, **bad.place)
    assert datasets(small) == before
    no_orphans(small)


def column(cells: list[str], name: str = "a") -> bytes:
    """Beside a column of numbers."""
    return "".join(
        [f"{name},b\n", *(f"{cell},{i * 3 % 17}\n" for i, cell in enumerate(cells))]
    ).encode()


NUMBERS = [str(i * 7 % 23) for i in range(ROWS)]

# What the profile says of the first column, and a code among the warnings.
READ: dict[str, tuple[bytes, Json, str | None]] = {
    "a byte order mark": (
        b"\xef\xbb\xbf" + column(NUMBERS),
        {"name": "a", "kind": "numeric", "missing": 0, "distinct": 23},
        None,
    ),
    "all missing": (
        column(["NA", ""] * 20),
        {"kind": "constant", "missing": 40, "distinct": 0, "min": None, "mean": None},
        "constant",
    ),
    "mostly missing": (
        column(["NA", ""] * 20 + NUMBERS[:10]),
        {"kind": "numeric", "missing": 40, "max": 21.0},
        "high_missing",
    ),
    "a constant": (
        column(["7"] * ROWS),
        {"kind": "constant", "missing": 0, "distinct": 1, "min": 7.0, "max": 7.0, "std": 0.0},
        "constant",
    ),
    "infinities": (
        column([*NUMBERS, "inf", "-Infinity", "+INF"]),
        {"kind": "numeric", "missing": 3, "min": 0.0, "max": 22.0},
        "not_finite",
    ),
    "numbers too large for one": (
        column([*NUMBERS, "1" + "0" * 400, "-1e400", "1e999"]),
        {"kind": "numeric", "missing": 3, "min": 0.0, "max": 22.0},
        "not_finite",
    ),
    "the largest numbers": (
        column([*NUMBERS, "1e308", "-1e308", "1.7976931348623157e308", "5e-324"]),
        {"kind": "numeric", "missing": 0, "min": -1e308, "max": 1.7976931348623157e308},
        None,
    ),
    "thousands separators": (
        column([f'"{i % 4 + 1},{i % 7:03}"' for i in range(ROWS)]),
        {"storage": "text", "missing": 0, "mean": None},
        "ambiguous_numbers",
    ),
    "decimal commas": (
        column([f'"{i % 9},5"' for i in range(ROWS)]),
        {"storage": "number", "kind": "numeric", "min": 0.5},
        "read_as_numbers",
    ),
    "dates": (
        column([f"2010-07-{i % 28 + 1:02}" for i in range(ROWS)]),
        {"kind": "datetime", "missing": 0, "distinct": 28, "min": 1277942400.0},
        None,
    ),
    "dates with the day first": (
        column([f"05/{i % 12 + 1:02}/2010" for i in range(ROWS)]),
        {"kind": "categorical", "storage": "text", "distinct": 12},
        "ambiguous_dates",
    ),
    "words among numbers": (
        column([*NUMBERS, "many"]),
        {"kind": "numeric", "missing": 1},
        "mixed_numbers",
    ),
    "words among dates": (
        column([f"2010-07-{i % 28 + 1:02}" for i in range(ROWS)] + ["soon"]),
        {"kind": "datetime", "missing": 1},
        "mixed_dates",
    ),
    "dates that no calendar has": (
        column([f"2010-02-{30 + i % 2}" for i in range(ROWS)]),
        {"storage": "text", "kind": "binary"},
        None,
    ),
    "underscores": (
        column([f"{i % 7 + 1}_000" for i in range(ROWS)]),
        {"storage": "text", "kind": "categorical", "distinct": 7},
        None,
    ),
    "emoji": (
        column(["🏠", "🏡", "🛖"] * 14, name="🏘️ kind"),
        {"name": "🏘️ kind", "kind": "categorical", "top": [["🏠", 14], ["🏡", 14], ["🛖", 14]]},
        None,
    ),
    "formulas": (
        column(["=cmd()", "@SUM(1)", "+x"] * 14, name="=cmd()"),
        {
            "name": "=cmd()",
            "kind": "categorical",
            "top": [["+x", 14], ["=cmd()", 14], ["@SUM(1)", 14]],
        },
        None,
    ),
    "a header of numbers": (b"1,2\n3,4\n5,6\n", {"name": "1", "distinct": 2}, "numeric_header"),
    "carriage returns": (
        column(NUMBERS).replace(b"\n", b"\r"),
        {"kind": "numeric", "missing": 0, "distinct": 23},
        None,
    ),
    "blank lines": (
        column(NUMBERS).replace(b"\n", b"\r\n\r\n"),
        {"kind": "numeric", "missing": 0, "distinct": 23},
        None,
    ),
    "semicolons": (
        column(NUMBERS).replace(b",", b";"),
        {"name": "a", "kind": "numeric", "distinct": 23},
        None,
    ),
    "quotes, separators and line breaks in cells": (
        column(['"a ""b"", c\nd"', "e"] * 20),
        {"kind": "binary", "top": [['a "b", c\nd', 20], ["e", 20]]},
        None,
    ),
    "the same row forty times": (
        b"a,b\n" + b"1,2\n" * ROWS,
        {"kind": "constant"},
        "duplicate_rows",
    ),
    "a single row": (b"a,b\n1,2\n", {"kind": "constant", "distinct": 1}, "constant"),
}


@pytest.mark.parametrize("case", READ)
def test_what_can_be_read(small: Stack, case: str) -> None:
    """201; the profile and its warnings say what was taken, and the download gives the bytes."""
    content, profile, warning = READ[case]
    answer = small.http.post("/v1/datasets", content=content, headers=CSV)
    assert answer.status_code == 201, answer.text
    dataset = answer.json()
    assert {name: dataset["columns"][0][name] for name in profile} == profile
    if warning:
        assert warning in [found["code"] for found in dataset["warnings"]]
    else:
        assert not [w for w in dataset["warnings"] if w["column"] == dataset["columns"][0]["name"]]
    raw = small.http.get(f"/v1/datasets/{dataset['id']}/content")
    assert raw.content == content
    assert_lives(small)


TOO_FEW: dict[str, tuple[bytes, Json, str, str]] = {
    "one row": (b"a,b\n1,2\n", {"target": "b"}, "too few: two folds need 4", "/k_folds"),
    "fewer rows than folds": (
        b"a,b\n1,2\n3,4\n5,7\n",
        {"target": "b"},
        "two folds need 4",
        "/k_folds",
    ),
    "fewer rows than asked for": (
        column(NUMBERS[:20]),
        {"target": "b", "k_folds": 50},
        "20 rows",
        "/k_folds",
    ),
    "a constant target": (column(["7"] * ROWS), {"target": "a"}, "'a'", "/target"),
    "a target without a value": (column(["NA"] * ROWS), {"target": "a"}, "'a'", "/target"),
    "a target with one value": (column(["NA"] * ROWS + ["7"]), {"target": "a"}, "'a'", "/target"),
    "fewer targets than folds": (
        column(["NA"] * ROWS + ["7", "8", "9"]),
        {"target": "a", "k_folds": 5},
        "two folds need 4",
        "/k_folds",
    ),
    "a target of many words": (
        column([f"word {i}" for i in range(ROWS)]),
        {"target": "a"},
        "'a'",
        "/target",
    ),
    "a target of infinities": (column(["inf", "-inf"] * 20), {"target": "a"}, "'a'", "/target"),
    "nothing but the target": (
        b"a\n" + b"1\n2\n" * ROWS,
        {"target": "a"},
        "no column",
        "/features",
    ),
    "a logarithm of negative numbers": (
        column([str(-i) for i in range(ROWS)]),
        {"target": "a", "preprocessing": {"target_transform": "log"}},
        "log",
        "/preprocessing/target_transform",
    ),
    "dropped rows that are nearly all": (
        b"a,b\n" + b",1\n,2\n" * ROWS + b"1,2\n2,3\n",
        {"target": "b", "preprocessing": {"numeric_missing": "drop_rows"}},
        "too few",
        "/preprocessing/numeric_missing",
    ),
}


@pytest.mark.parametrize("case", TOO_FEW)
def test_what_cannot_be_trained_on(small: Stack, case: str) -> None:
    """The upload is good; validating and submitting a job on it is refused, naming the field."""
    content, spec, says, pointer = TOO_FEW[case]
    dataset = small.upload(content.decode())
    for path in ("/v1/jobs:validate", "/v1/jobs"):
        answer = small.http.post(path, json={"dataset_id": dataset["id"], **spec})
        assert_refused(small, answer, says, pointer=pointer)


def test_formulas_leave_as_text(small: Stack) -> None:
    """JSON gives them as they are; the bytes of the upload are the user's own."""
    content = column(["=cmd()", "-2+3", "@x"] * 14)
    dataset = small.upload(content.decode())
    levels = {level for level, _ in dataset["columns"][0]["top"]}
    assert levels == {"=cmd()", "-2+3", "@x"}
    answer = small.http.get(f"/v1/datasets/{dataset['id']}/content")
    assert answer.content == content
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "attachment" in answer.headers["Content-Disposition"]
    assert_lives(small)
