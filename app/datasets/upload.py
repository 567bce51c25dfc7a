"""A CSV on its way from the network to the disk: counted, hashed, never held in memory."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from app.errors import TooLarge, UnsupportedMedia
from app.form import FORM, FormReader
from app.media import CSV, content_type
from app.settings import Settings

DEFAULT_NAME = "upload.csv"
MAX_NAME = 200  # characters
PREFIX = "upload-"
ABANDONED_AFTER = 24 * 3600.0  # seconds
FORM_OVERHEAD = 64 * 1024  # bytes of boundaries, part headers and fields around the file


@dataclass(frozen=True)
class Upload:
    """A file that arrived whole."""

    path: Path
    name: str
    sha256: str
    bytes: int


class Sink:
    """Where the file's bytes go; refuses more than `limit` of them."""

    def __init__(self, path: Path, limit: int) -> None:
        self._limit = limit
        self._file = path.open("wb")
        self._hash = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> None:
        self.bytes += len(data)
        if self.bytes > self._limit:
            raise too_large(self._limit)
        self._hash.update(data)
        self._file.write(data)

    def close(self) -> str:
        """The SHA-256 of what was written."""
        self._file.close()
        return self._hash.hexdigest()


def uploads_root(settings: Settings) -> Path:
    """Beside the storage: a table may be larger than what a machine keeps in /tmp."""
    return settings.root / "tmp"


@contextmanager
def upload_folder(root: Path) -> Iterator[Path]:
    """A folder for one upload; whatever becomes of that, nothing is left behind."""
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=PREFIX) as folder:
        yield Path(folder)


def remove_abandoned(root: Path) -> None:
    """Remove what a killed process left; younger folders may be another process's."""
    for folder in root.glob(PREFIX + "*"):
        if time.time() - folder.stat().st_mtime > ABANDONED_AFTER:
            shutil.rmtree(folder, ignore_errors=True)


async def receive(request: Request, path: Path, limit: int, name: str | None) -> Upload:
    """Stream the table in a request to `path`.

    Raises
    ------
    TooLarge: as soon as there are more than `limit` bytes, whatever Content-Length says.
    UnsupportedMedia: neither a form nor CSV.
    Invalid: a form that is not whole.
    """
    media_type, options = content_type(request)
    most = limit + FORM_OVERHEAD
    # Without a word of the body, so that a client that waits for "100 Continue" sends none.
    if int(request.headers.get("Content-Length", 0)) > most:
        raise too_large(limit)
    sink = Sink(path, limit)
    try:
        form = None
        if media_type == FORM:
            form = FormReader(options.get(b"boundary"), sink.write)
        elif media_type != CSV:
            raise UnsupportedMedia(
                "Send a table as text/csv, or as the file of multipart/form-data; Content-Type "
                f"is {media_type or 'missing'}."
            )
        write = form.write if form else sink.write
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                raise too_large(limit)
            # Hashing and writing block; the loop has other requests to serve.
            await run_in_threadpool(write, chunk)
        sent_name = form.finish() if form else None
    finally:
        sha256 = sink.close()
    return Upload(path, clean_name(name or sent_name), sha256, sink.bytes)


def clean_name(name: str | None) -> str:
    """A file name without folders and control characters."""
    last = re.split(r"[\\/]", name or "")[-1]
    printable = "".join(letter for letter in last if letter.isprintable()).strip()
    return printable[:MAX_NAME] or DEFAULT_NAME


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"The table is larger than max_upload_bytes, {limit} bytes.")
