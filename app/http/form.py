"""Extracts a table from `multipart/form-data` while it streams in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import Fault, Invalid

MAX_FIELD = 4096  # bytes of a form field other than the file


class FormReader:
    """Passes the part `file` to `write_file`, keeps the parts `fields`, and refuses others."""

    def __init__(
        self,
        boundary: bytes | None,
        write_file: Callable[[bytes], object],
        fields: Sequence[str] = ("name",),
    ) -> None:
        if boundary is None:
            raise bad_form("its Content-Type names no boundary")
        self._write_file = write_file
        self._known = ("file", *fields)
        self._fields: dict[str, bytes] = {}
        self.file_name: str | None = None
        self._part: str | None = None
        self._parts: set[str] = set()
        self._ended = False
        self._header_name = b""
        self._header_value = b""
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_header_begin": self._begin_header,
                    "on_header_field": self._add_header_name,
                    "on_header_value": self._add_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._begin_data,
                    "on_part_data": self._add_data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise bad_form(str(error)) from None

    def write(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise bad_form(str(error)) from None

    def finish(self) -> dict[str, str]:
        """The fields that arrived, without the file.

        Raises
        ------
        Invalid: the form is incomplete or has no file.
        """
        if not self._ended:
            raise bad_form("it ends before its closing boundary")
        if "file" not in self._parts:
            raise Invalid("The form has no file.", [Fault(pointer="/file", detail="is required")])
        return {name: value.decode(errors="replace") for name, value in self._fields.items()}

    def _begin_header(self) -> None:
        self._header_name = self._header_value = b""

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() != b"content-disposition":
            return
        _, options = parse_options_header(self._header_value)
        self._part = options.get(b"name", b"").decode(errors="replace")
        if self._part == "file":
            self.file_name = options.get(b"filename", b"").decode(errors="replace")

    def _begin_data(self) -> None:
        if self._part not in self._known:
            known = ", ".join(map(repr, self._known[:-1]))
            raise Invalid(
                f"The form has an unknown field '{self._part}'; it may have {known} and "
                f"'{self._known[-1]}'."
            )
        if self._part in self._parts:
            raise Invalid(f"The form has the field '{self._part}' twice; send one file at a time.")
        self._parts.add(self._part)
        if self._part != "file":
            self._fields[self._part] = b""

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._part == "file":
            self._write_file(data[start:end])
        elif self._part is not None:
            self._fields[self._part] += data[start:end]
            if len(self._fields[self._part]) > MAX_FIELD:
                raise Invalid(f"The form's field '{self._part}' is longer than {MAX_FIELD} bytes.")

    def _end_part(self) -> None:
        self._part = None

    def _end(self) -> None:
        self._ended = True


def bad_form(reason: str) -> Invalid:
    return Invalid(f"The multipart body cannot be read: {reason}.")
