"""Rows that no model can price, or only with a warning."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hostile import CSV, JSON, MIB, Bad, assert_lives, assert_refused, besieged
from stack import SHORT, Json, Stack

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

MAX_BODY = 4 * MIB
MAX_ROWS = 20_000
ROW: Json = {"area": 120, "rooms": 4, "street": "Pave"}
FORMULA = "=cmd()"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with a model of three columns, which takes 20,000 rows or 4 MiB at a time."""
    folder = tmp_path_factory.mktemp("rows")
    limits = {
        "max_body_bytes": MAX_BODY,
        "max_predict_rows": MAX_ROWS,
        "max_upload_bytes": MAX_BODY,
        "max_rows": MAX_ROWS,
    }
    with besieged(folder, warm, **limits) as stack:
        yield stack


def warm(stack: Stack) -> None:
    """Train, and price as many rows as are allowed, as JSON and as CSV."""
    stack.upload()
    with stack.worker():
        done = stack.wait(stack.submit(SHORT), "succeeded", "failed")
    assert done["status"] == "succeeded", done["error"]
    price(stack, {"rows": [ROW] * MAX_ROWS}).raise_for_status()
    price(stack, b"area,rooms,street\n" + b"120,4,Pave\n" * MAX_ROWS, CSV).raise_for_status()


def price(
    stack: Stack, body: Json | bytes, headers: dict[str, str] = JSON, **query: str
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return stack.http.post("/v1/predict", content=content, headers=headers, params=query)


def row(**cells: Any) -> Json:
    return {"rows": [ROW, {**ROW, **cells}]}


def strict(**cells: Any) -> Json:
    return {**row(**cells), "on_unknown": "error"}


def cell(body: bytes) -> bytes:
    """One row whose area is this text."""
    return b'{"rows": [{"rooms": 4, "area": ' + body + b"}]}"


def at(pointer: str) -> Json:
    return {"pointer": pointer}


AREA = at("/rows/1/area")
LIMIT_ROWS = f"above max_predict_rows, {MAX_ROWS:,}"
LIMIT_BODY = f"max_body_bytes, {MAX_BODY}"
SECOND_AREA = {"row": 2, "column": "area"}
SECOND_STREET = {"row": 2, "column": "street"}

BODIES: dict[str, Bad] = {
    "nothing": Bad(b"", "line 1 column 0"),
    "half a word": Bad(b"nul", "line 1 column 3"),
    "null": Bad(b"null", "JSON object", at("")),
    "a list": Bad(b"[]", "JSON object", at("")),
    "a number": Bad(b"5", "JSON object", at("")),
    "words": Bad(b'"rows"', "JSON object", at("")),
    "no rows": Bad({}, "is required", at("/rows")),
    "rows of null": Bad({"rows": None}, "valid array", at("/rows")),
    "rows by number": Bad({"rows": 5}, "valid array", at("/rows")),
    "rows of words": Bad({"rows": "all"}, "valid array", at("/rows")),
    "a row alone": Bad({"rows": ROW}, "valid array", at("/rows")),
    "an empty list": Bad({"rows": []}, "at least 1 item", at("/rows")),
    "a row of null": Bad({"rows": [ROW, None]}, "must be an object", at("/rows/1")),
    "a row by number": Bad({"rows": [5]}, "must be an object", at("/rows/0")),
    "a row of words": Bad({"rows": [ROW, "x"]}, "must be an object", at("/rows/1")),
    "a row as a list": Bad({"rows": [ROW, [1, 2]]}, "must be an object", at("/rows/1")),
    "an empty row": Bad({"rows": [{}]}, "area, rooms, street"),
    "a row of other columns": Bad({"rows": [{"x": 1}]}, "area, rooms, street"),
    "a list for a cell": Bad(row(area=[1]), "valid number", AREA),
    "an object for a cell": Bad(row(area={"a": 1}), "valid number", AREA),
    "a list for words": Bad(row(street=["Pave"]), "valid string", at("/rows/1/street")),
    "a list in a column of none": Bad(row(x=[1]), "valid number", at("/rows/1/x")),
    "a column twice": Bad(
        b'{"rows": [{"area": 1}, {"area": 2, "rooms": 4, "area": 3}]}', "twice", AREA
    ),
    "rows twice": Bad(b'{"rows": [{"area": 1}], "rows": [{"area": 2}]}', "twice", at("/rows")),
    "a column twice, once by its escape": Bad(
        b'{"rows": [{"area": 1}, {"area": 2, "are\\u0061": 3}]}', "twice", AREA
    ),
    "an unknown field": Bad({**row(), "row": 1}, "unknown field", at("/row")),
    "another on_unknown": Bad({**row(), "on_unknown": "x"}, "'warn' or 'error'", at("/on_unknown")),
    "on_unknown by number": Bad({**row(), "on_unknown": 5}, "'warn' or", at("/on_unknown")),
    "a coverage of two": Bad({**row(), "coverage": 2}, "/coverage", at("/coverage")),
    "a coverage in words": Bad({**row(), "coverage": "most"}, "/coverage", at("/coverage")),
    "NaN": Bad(cell(b"NaN"), "a finite number", at("/rows/0/area")),
    "Infinity": Bad(cell(b"Infinity"), "a finite number", at("/rows/0/area")),
    "-Infinity": Bad(cell(b"-Infinity"), "a finite number", at("/rows/0/area")),
    "1e999": Bad(cell(b"1e999"), "a finite number", at("/rows/0/area")),
    "-1e999": Bad(cell(b"-1e999"), "a finite number", at("/rows/0/area")),
    "a hundred thousand digits": Bad(cell(b"9" * 100_000), "number out of range"),
    "a leading zero": Bad(cell(b"01"), "invalid number at line 1 column"),
    "a number in hex": Bad(cell(b"0x10"), "line 1 column"),
    "a lone high surrogate": Bad(cell(b'"\\ud800"'), "line 1 column"),
    "a lone low surrogate": Bad(cell(b'"\\udc00"'), "line 1 column"),
    "surrogates the wrong way": Bad(cell(b'"\\udc00\\ud800"'), "line 1 column"),
    "a lone surrogate as a name": Bad(b'{"rows": [{"\\ud800": 1}]}', "line 1 column"),
    "a surrogate in UTF-8": Bad(cell(b'"\xed\xa0\x80"'), "line 1 column"),
    "latin-1": Bad(cell(b'"\xe9"'), "line 1 column"),
    "a raw NUL": Bad(cell(b'"a\0b"'), "line 1 column"),
    "half an object": Bad(b'{"rows": [{"area": 1}]', "line 1 column"),
    "more after the end": Bad(b'{"rows": [{"area": 1}]} x', "trailing characters at line 1"),
    "a trailing comma": Bad(cell(b"1,"), "trailing comma at line 1"),
    "single quotes": Bad(b"{'rows': []}", "line 1 column 2"),
    "UTF-16": Bad(json.dumps(row()).encode("utf-16"), "line 1 column 1"),
    "100,000 lists deep": Bad(b"[" * 100_000, "recursion limit"),
    "100,000 objects deep": Bad(b'{"rows":' * 100_000, "recursion limit"),
    "a cell 100,000 lists deep": Bad(cell(b"[" * 100_000), "recursion limit"),
    "a cell 150 lists deep": Bad(cell(b"[" * 150 + b"]" * 150), "number", at("/rows/0/area")),
    "a row too many": Bad({"rows": [ROW] * (MAX_ROWS + 1)}, LIMIT_ROWS, status=413),
    "a million empty rows": Bad(b'{"rows":[' + b"{}," * 10**6 + b"{}]}", LIMIT_ROWS, status=413),
    "a million numbers": Bad(b'{"rows":[' + b"1," * 10**6 + b"1]}", "object", at("/rows/0")),
    "5 MB of spaces": Bad(b" " * 5 * MIB, LIMIT_BODY, status=413),
    "5 MB in a cell": Bad(cell(b'"' + b"x" * 5 * MIB + b'"'), LIMIT_BODY, status=413),
    "50 MB of lists": Bad(b"[" * 50 * MIB, LIMIT_BODY, status=413),
    "the last row is none": Bad(
        {"rows": [ROW] * (MAX_ROWS - 1) + [5]}, "must be an object", at(f"/rows/{MAX_ROWS - 1}")
    ),
    "an unknown level": Bad(strict(street="Moon"), "'Moon' is not among the 3", SECOND_STREET),
    "a level in another case": Bad(strict(street="pave"), "'pave' is not among", SECOND_STREET),
    "a number for a level": Bad(strict(street=5), "'5' is not among", SECOND_STREET),
    "a formula for a level": Bad(strict(street=FORMULA), FORMULA, SECOND_STREET),
    "words for a number": Bad(strict(area="wide"), "must be a finite number", SECOND_AREA),
    "thousands separators": Bad(strict(area="1,200"), "must be a finite number", SECOND_AREA),
    "a truth for a number": Bad(strict(area=True), "must be a finite number", SECOND_AREA),
    "10^400 as words": Bad(strict(area="1e400"), "must be a finite number", SECOND_AREA),
    "an infinity as words": Bad(strict(area="inf"), "must be a finite number", SECOND_AREA),
    "a missing number": Bad(strict(area=None), "is missing", SECOND_AREA),
    "a missing level": Bad(strict(street=""), "is missing", SECOND_STREET),
    "a level of a million signs": Bad(strict(street="x" * 10**6), "not among", SECOND_STREET),
}


@pytest.mark.parametrize("case", BODIES)
def test_what_cannot_be_priced(small: Stack, case: str) -> None:
    """4xx that names the row and column, the pointer, or the line of what is no JSON."""
    bad = BODIES[case]
    answer = price(small, bad.body)
    assert_refused(small, answer, bad.says, bad.status, **bad.place)
    assert len(answer.content) < 64 * 1024  # it does not give a huge body back


WARNED: dict[str, tuple[Json, list[tuple[str, str]]]] = {
    "two columns missing": (
        {"rows": [ROW, {"area": 120}]},
        [("missing_value", "rooms"), ("missing_value", "street")],
    ),
    "an empty row beside a whole one": (
        {"rows": [ROW, {}]},
        [("missing_value", name) for name in ROW],
    ),
    "an unknown level": (row(street="Moon"), [("unknown_category", "street")]),
    "a number for a level": (row(street=5), [("unknown_category", "street")]),
    "a NUL in a level": (row(street="a\0b"), [("unknown_category", "street")]),
    "a level of a million signs": (row(street="x" * 10**6), [("unknown_category", "street")]),
    "words for a number": (row(area="wide"), [("not_a_number", "area")]),
    "a number with a thousands separator": (row(area="1,200"), [("not_a_number", "area")]),
    "10^400": (row(area=10**400), [("not_a_number", "area")]),
    "a truth": (row(area=True), [("not_a_number", "area")]),
    "null": (row(area=None), [("missing_value", "area")]),
    "the largest number": (
        row(area=1e308),
        [("out_of_range", "area"), ("outlier", "area"), ("prediction_bounded", None)],
    ),
    "a number as text": (row(area="120"), []),
    "a number as text with spaces": (row(area=" 120 "), []),
    "a number as text, by exponent": (row(area="1.2e2"), []),
    "an extra column": (row(Garage="yes"), []),
    "an extra column with a line break": (row(**{"x\r\nSet-Cookie: a=b": 1}), []),
    "colons in names and cells": (row(**{"a:b": "c:d:e"}), []),
    "10^4 extra columns": (row(**{f"c{i}": 1 for i in range(10_000)}), []),
}


@pytest.mark.parametrize("case", WARNED)
def test_what_is_priced_with_a_warning(small: Stack, case: str) -> None:
    """200, a finite value, and the codes and columns of what was not taken as it is."""
    body, expected = WARNED[case]
    answer = price(small, body)
    assert answer.status_code == 200, answer.text
    assert "Set-Cookie" not in answer.headers
    good, odd = answer.json()["predictions"]
    assert good["warnings"] == []
    found = [(warning["code"], warning["column"]) for warning in odd["warnings"]]
    assert sorted(found) == sorted(expected)
    assert (odd["value"] == good["value"]) is (expected == [])
    assert abs(odd["value"]) < 1e9
    assert len(answer.content) < 64 * 1024 + len(answer.request.content)
    assert_lives(small)


def test_columns_that_no_row_has(small: Stack) -> None:
    """They are named once; on_unknown=error does not cover them."""
    for on_unknown in ("warn", "error"):
        body = {"rows": [{"area": 120}], "on_unknown": on_unknown}
        answer = price(small, body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["missing_columns"] == ["rooms", "street"]
        assert answer.json()["predictions"][0]["warnings"] == []
    assert_lives(small)


TABLES: dict[str, Bad] = {
    "nothing": Bad(b"", "needs a header line"),
    "a header alone": Bad(b"area\n", "at least one row below"),
    "a name twice": Bad(b"area,area\n1,2\n", "2 columns", {"column": "area"}),
    "a short row": Bad(b"area,rooms\n1,2\n3\n", "1 cell where the header has 2", {"row": 2}),
    "no column of the model": Bad(b"x\n1\n", "area, rooms, street"),
    "a NUL": Bad(b"area\n1\n\x002\n", "NUL byte", {"row": 2, "column": "area"}),
    "latin-1": Bad(b"area\n\xe9\n", "UTF-8", {"row": 1, "column": "area"}),
    "UTF-16": Bad("area\n1\n".encode("utf-16"), "UTF-16"),
    "a zip": Bad(b"PK\x03\x04" + bytes(60), "zip archive"),
    "a Parquet file": Bad(b"PAR1\x15\x04" + bytes(60), "Parquet file"),
    "an open quote": Bad(b'area\n"1\n2\n', "double quote that never closes", {"row": 1}),
    "a row too many": Bad(b"area\n" + b"1\n" * (MAX_ROWS + 1), "limit of this server"),
    "5 MB of rows": Bad(b"area\n" + b"1\n" * 5 * MIB, "max_", status=413),
    "5 MB in a cell": Bad(b'area\n"' + b"x" * 5 * MIB, "max_upload_bytes", status=413),
    "a million columns": Bad(b"a," * 10**6 + b"area\n1\n", "columns"),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_that_cannot_be_priced(small: Stack, case: str) -> None:
    """A CSV of rows is read as strictly as an upload."""
    bad = TABLES[case]
    answer = price(small, bad.body, CSV)
    assert_refused(small, answer, bad.says, bad.status, **bad.place)


STRICT: dict[str, tuple[bytes, Json]] = {
    "an unknown level": (b"area,street\n1,Pave\n1,Moon\n", SECOND_STREET),
    "words for a number": (b"area,street\n1,Pave\nx,Pave\n", SECOND_AREA),
    "an infinity": (b"area,street\n1,Pave\ninf,Pave\n", SECOND_AREA),
    "a missing cell": (b"area,street\n1,Pave\n,Pave\n", SECOND_AREA),
}


@pytest.mark.parametrize("case", STRICT)
def test_tables_that_may_have_nothing_unknown(small: Stack, case: str) -> None:
    """`on_unknown=error` names row and column of a CSV too."""
    content, place = STRICT[case]
    answer = price(small, content, CSV, on_unknown="error")
    assert_refused(small, answer, f"'{place['column']}'", **place)


QUERIES: dict[str, Bad] = {
    "an absent model": Bad({"model": "nobody"}, "'nobody'", status=404),
    "a model elsewhere": Bad({"model": "../../etc/passwd"}, "query parameter 'model'"),
    "a model with a NUL": Bad({"model": "a\0b"}, "query parameter 'model'"),
    "an absent column to copy": Bad({"passthrough": "Idd"}, "passthrough", {"column": "Idd"}),
    "an absent answer column": Bad({"columns": "price"}, "prediction, low", {"column": "price"}),
    "another on_unknown": Bad({"on_unknown": "x"}, "query parameter 'on_unknown'"),
    "a name with a line break": Bad({"name": "a\nb"}, "query parameter 'name'"),
}


@pytest.mark.parametrize("case", QUERIES)
def test_queries(small: Stack, case: str) -> None:
    """The parameter or the column by name, and what may stand there."""
    bad = QUERIES[case]
    answer = price(small, b"area\n120\n", CSV, **bad.body)
    assert_refused(small, answer, bad.says, bad.status, **bad.place)


FORMULAS = ["=cmd()", "=cmd|' /C calc'!A0", "@SUM(1)", "+x", "-x", "\t=1", "\r=1", " =1", "-2+3"]


def test_formulas_leave_a_csv_as_text(small: Stack) -> None:
    """Cells and names that a spreadsheet would run begin with a quote; numbers stay numbers."""
    cells = [*FORMULAS, "-1", "+1.5e3", "a=b"]
    content = "".join(['"=Id",area\n', *(f'"{text}",120\n' for text in cells)]).encode()
    answer = price(small, content, CSV, passthrough="=Id", name="=price")
    assert answer.status_code == 200, answer.text
    header, *lines = csv.reader(answer.text.splitlines())
    assert header == ["'=Id", "'=price", "low", "high", "warnings"]
    copied = [line[0] for line in lines]
    assert copied[: len(FORMULAS)] == [f"'{text.strip()}" for text in FORMULAS]
    assert copied[len(FORMULAS) :] == ["-1", "+1.5e3", "a=b"]
    assert_lives(small)


def test_formulas_in_warnings_leave_a_csv_as_text(small: Stack) -> None:
    """A warning names a column of the table, never its cells."""
    answer = price(small, b"area,street\n120,=cmd()\n", CSV)
    assert answer.status_code == 200, answer.text
    assert "cmd" not in answer.text
    assert "unknown_category street" in answer.text
    assert_lives(small)


def test_a_good_row_after_all(small: Stack) -> None:
    """The same price, alone, in the largest batch, and as CSV."""
    alone = price(small, {"rows": [ROW]}).json()["predictions"][0]["value"]
    batch = price(small, {"rows": [ROW] * MAX_ROWS}).json()["predictions"]
    assert {prediction["value"] for prediction in batch} == {alone}
    table = price(small, b"area,rooms,street\n120,4,Pave\n", CSV)
    assert float(table.text.splitlines()[1].split(",")[0]) == alone
    assert_lives(small)
