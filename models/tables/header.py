"""The first bytes of a CSV: checks that it is text, finds its dialect and column names."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from itertools import islice

from models.tables.dialect import Judgement, judge
from models.tables.faults import TableError, TableFault, quoted
from models.tables.quoting import Rewriter

HEAD_BYTES = 1024 * 1024  # the header must end within these
LINES_JUDGED = 1_000  # below the header

SIGNATURES = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"PK\x05\x06": "a zip archive",
    b"PAR1\x15": "a Parquet file",
    b"\x1f\x8b": "a gzip archive",
    b"BZh91AY&SY": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"ARROW1\x00\x00": "an Arrow file",
    b"%PDF-": "a PDF document",
}
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

# Excel's separator line above the header, also in the form in which Excel saves it again.
_SEPARATOR_LINE = re.compile(rb'(?i)("?)sep=([\t !#-/:-@\[-`{-~])\1\2*(?:\n|$)')
_LINE_BREAK = re.compile(r"\s*\n\s*")


@dataclass(frozen=True)
class Header:
    """`rows` reads what follows the header, which begins with `rest`. `hint`: what may be wrong
    with a header that most rows do not match. `notes`: assumptions made."""

    names: list[str]
    rows: Rewriter
    rest: bytes
    hint: str
    notes: list[TableFault]


def read_header(head: bytes, max_columns: int, separator: str | None = None) -> Header:
    """Read the header from a file's first `HEAD_BYTES` bytes, or from all of a shorter one.

    Parameters
    ----------
    separator: the one that the user named, a blank for runs of blanks; None: detect it.

    Raises
    ------
    TableError: not CSV text in UTF-8, missing or repeated column names, or lines that can be
        read in two ways.
    """
    _refuse_other_formats(head)
    is_whole = len(head) < HEAD_BYTES
    text = head.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    text = text.lstrip(b"\n")
    line = _SEPARATOR_LINE.match(text)
    if line:
        text = text[line.end() :].lstrip(b"\n")
    if not text.strip():
        raise TableError("The file is empty: it needs a header line and at least one row.")
    sample = _first_lines(text + b"\n" if is_whole else text)
    if line and not separator:
        judged = _judge_named(sample, line[2].decode(), is_whole=is_whole)
    else:
        judged = judge(sample, separator, is_whole=is_whole)
    if judged.columns > max_columns:
        raise TableError(
            f"The table has more than {max_columns:,} columns, the limit of this server."
        )
    rows = Rewriter(judged.dialect)
    length = rows.end_of_first(text)
    if length == 0 and not is_whole:
        raise TableError(
            f"The first line does not end within {HEAD_BYTES // 1024:,} KiB: the file needs a "
            "header line with the column names and one line per row."
        )
    record = rows.feed(text[:length]) if length else rows.feed(text) + rows.close()
    rows.names = _names(record, judged.dialect.delimiter)
    _refuse_bad_names(rows.names)
    rest = text[length:] if length else b""
    return Header(rows.names, rows, rest, judged.hint, judged.notes)


def _first_lines(text: bytes) -> bytes:
    lines = b"".join(islice(io.BytesIO(text), 1 + LINES_JUDGED))
    return lines[: lines.rfind(b"\n") + 1] or lines


def _judge_named(sample: bytes, separator: str, *, is_whole: bool) -> Judgement:
    """Read the header with the separator that the file's first line names."""
    judged = judge(sample, separator, is_whole=is_whole)
    if judged.columns == 1:
        other = judge(sample, None, is_whole=is_whole)
        if other.columns > 1:
            raise TableError(
                f"The first line names the separator {separator!r}, but the header does not "
                f"contain it, and {other.dialect.separator.decode()!r} separates "
                f"{other.columns:,} columns: correct the first line or remove it."
            )
    return judged


def _refuse_other_formats(head: bytes) -> None:
    if head.startswith(UTF16_MARKS):
        raise TableError("The file is text in UTF-16: save the table as CSV in UTF-8.")
    for signature, name in SIGNATURES.items():
        if head.startswith(signature):
            raise TableError(f"The file is {name}, not CSV: save the table as CSV in UTF-8.")


def _names(record: bytes, delimiter: str) -> list[str]:
    if b"\0" in record:
        raise TableError(
            "The header contains NUL bytes, so this is a binary file or text in UTF-16: save the "
            "table as CSV in UTF-8."
        )
    try:
        text = record.decode()
    except UnicodeDecodeError as error:
        raise TableError(
            f"The header is not valid UTF-8 (byte {error.start + 1} of the line): save the table "
            "as CSV in UTF-8."
        ) from None
    try:
        # Apart from blank lines it holds one record.
        cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error:
        raise TableError("The header has a column name of 128 KiB or more: shorten it.") from None
    return [_LINE_BREAK.sub(" ", cell).strip() for cell in cells]


def _refuse_bad_names(names: list[str]) -> None:
    faults = [
        TableFault(f"Column {position} has no name.")
        for position, name in enumerate(names, start=1)
        if not name
    ]
    faults += [
        TableFault(f"{count} columns are named {quoted(name)}.", column=name)
        for name, count in Counter(names).items()
        if name and count > 1
    ]
    if faults:
        hint = ""
        if not names[0]:
            hint = " (an index column? pandas leaves it out with index=False)"
        elif not any(names[1:]) and len(names) > 1:
            hint = " (a title above the column names? remove that line)"
        raise TableError(
            f"{faults[0].detail[:-1]}{hint}: every column needs a name of its own.", faults
        )
