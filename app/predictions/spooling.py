"""Buffers answers. They are complete before they are sent, so that a fault in the last row can be
an error; and limited, so that a small request cannot have a huge answer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial

from fastapi.responses import Response

from app.errors import TooLarge
from app.http.sent_files import SentFiles
from app.settings import MIB, Settings

SPOOLED_BYTES = MIB  # a longer file is written to the disk
# Limits on an answer's bytes. The answer to a row of two bytes is about sixty times as long with an
# interval, and a few hundred times with twenty warnings.
ANSWER_FLOOR = 4 * MIB
ANSWER_PER_BYTE = 256

Spooled = tempfile.SpooledTemporaryFile[bytes]


def spool(settings: Settings) -> Spooled:
    """A temporary file, in memory while it is small; it is deleted when it is closed."""
    return tempfile.SpooledTemporaryFile(SPOOLED_BYTES, dir=str(settings.root))


class AnswerFiles:
    """The parts of one answer. Leaving the context closes those that no response has taken."""

    def __init__(self, settings: Settings, request_bytes: int) -> None:
        self._settings = settings
        self._limit = min(settings.max_upload_bytes, ANSWER_FLOOR + ANSWER_PER_BYTE * request_bytes)
        self._size = 0
        self._files: list[Spooled] = []

    def __enter__(self) -> AnswerFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def open(self) -> Spooled:
        self._files.append(spool(self._settings))
        return self._files[-1]

    def write(self, file: Spooled, piece: bytes) -> None:
        """Raises TooLarge."""
        self._size += len(piece)
        if self._size > self._limit:
            raise TooLarge(
                f"The answer would be larger than {self._limit:,} bytes, the limit for a request "
                "of this size. Send fewer rows, fill their cells, or ask for a CSV with "
                "?columns=prediction and Accept: text/csv."
            )
        file.write(piece)

    def response(
        self, parts: Sequence[bytes | Spooled], media_type: str, headers: dict[str, str]
    ) -> Response:
        """The parts in order; the response closes the files."""
        for part in parts:
            if not isinstance(part, bytes):
                part.seek(0)
        if self._size <= SPOOLED_BYTES:
            # A stream switches threads for each piece: twice the time of a row's answer.
            return Response(b"".join(map(_whole, parts)), media_type=media_type, headers=headers)
        length = sum(len(part) if isinstance(part, bytes) else 0 for part in parts) + self._size
        headers["Content-Length"] = str(length)
        files, self._files = self._files, []
        return SentFiles(_sent(parts), files, media_type=media_type, headers=headers)


def _whole(part: bytes | Spooled) -> bytes:
    return part if isinstance(part, bytes) else part.read()


def _sent(parts: Sequence[bytes | Spooled]) -> Iterator[bytes]:
    for part in parts:
        if isinstance(part, bytes):
            yield part
        else:
            yield from iter(partial(part.read, SPOOLED_BYTES), b"")
