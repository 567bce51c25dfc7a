"""The first bytes of a CSV: whether it is text at all, its separator and its column names."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from dataclasses import dataclass

from models.data.faults import TableError, TableFault, quoted

HEAD_BYTES = 1024 * 1024  # the header must end within these
SEPARATORS = (",", ";", "\t", "|")  # the first wins a tie

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

# A quote opens a quoted cell only at the start of a cell, as in pyarrow; elsewhere it is a
# character like any other (5" pipe). Possessive, so that a hostile line cannot backtrack.
_QUOTED = rb'(?<![^,;\t|])"(?:[^"]|"")*+"'
_QUOTED_CELL = re.compile(_QUOTED)
_RECORD = re.compile(rb"(?:" + _QUOTED + rb"|[^\r\n])*+")
_NEWLINES = re.compile(rb"[\r\n]*")


@dataclass(frozen=True)
class Header:
    """`length`: bytes of the head up to the first row, byte order mark included."""

    names: list[str]
    separator: str
    length: int


def read_header(head: bytes, max_columns: int) -> Header:
    """Read the header from a file's first `HEAD_BYTES` bytes.

    Raises
    ------
    TableError: not CSV text in UTF-8, or a header that names its columns badly.
    """
    _refuse_other_formats(head)
    text = head.removeprefix(codecs.BOM_UTF8)
    text = text.lstrip(b"\r\n")
    start = len(head) - len(text)
    match = _RECORD.match(text)
    record = match.group() if match else b""
    if not record.strip():
        raise TableError("The file is empty: it needs a header line and at least one row.")
    if b"\0" in record:
        raise TableError(
            "The header contains NUL bytes, so this is a binary file or text in UTF-16: save the "
            "table as CSV in UTF-8."
        )
    unquoted = _QUOTED_CELL.sub(b"", record)
    separator = max(SEPARATORS, key=lambda candidate: unquoted.count(candidate.encode()))
    columns = unquoted.count(separator.encode()) + 1
    if columns > max_columns:
        raise TableError(
            f"The table has more than {max_columns:,} columns, the limit of this server."
        )
    if len(record) == len(text) and len(head) >= HEAD_BYTES:
        raise TableError(
            f"The first line does not end within {HEAD_BYTES // 1024:,} KiB: the file needs a "
            "header line with the column names, and one line a row."
        )
    names = _names(record, separator)
    _refuse_bad_names(names)
    newline = _NEWLINES.match(text, len(record))
    end = newline.end() if newline else len(record)
    return Header(names=names, separator=separator, length=start + end)


def _refuse_other_formats(head: bytes) -> None:
    if head.startswith(UTF16_MARKS):
        raise TableError("The file is text in UTF-16: save the table as CSV in UTF-8.")
    for signature, name in SIGNATURES.items():
        if head.startswith(signature):
            raise TableError(f"The file is {name}, not CSV: save the table as CSV in UTF-8.")


def _names(record: bytes, separator: str) -> list[str]:
    try:
        text = record.decode()
    except UnicodeDecodeError as error:
        raise TableError(
            f"The header is not valid UTF-8 (byte {error.start + 1} of the line): save the table "
            "as CSV in UTF-8."
        ) from None
    try:
        # An empty record cannot come here, so there is always a first one.
        cells = next(csv.reader([text], delimiter=separator, strict=True))
    except csv.Error:
        raise TableError(
            "The header cannot be read: a column name in double quotes must end with a quote "
            "right before the separator, and be shorter than 128 KiB."
        ) from None
    return [cell.strip() for cell in cells]


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
        hint = " (an index column? pandas leaves it out with index=False)" if not names[0] else ""
        raise TableError(
            f"{faults[0].detail[:-1]}{hint}: every column needs a name of its own.", faults
        )
