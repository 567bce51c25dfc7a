"""Streams a CSV from the network to the disk: counted, hashed, never held in memory."""

from __future__ import annotations

import hashlib
import re
import shutil
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from app.errors import Invalid, TooLarge, UnsupportedMedia
from app.http.bodies import Bounded
from app.http.form import FormReader
from app.http.media import CSV, FORM, content_type, refuse_compressed
from app.http.parameters import SEPARATOR
from app.ids import new_id
from app.settings import Settings
from app.storage.blobs import Blobs, dataset_key
from app.storage.database import DATABASE_AWAY, Database
from app.storage.scratch import abandoned, scratch_folder
from app.storage.tables import Dataset
from models.tables.readings import DecimalMark, ThousandsMark
from models.tables.spellings import Marks

DEFAULT_NAME = "upload.csv"
MAX_NAME = 200  # characters
FIELDS = ("name", "decimal", "thousands", "separator")
FORM_OVERHEAD = 64 * 1024  # bytes of boundaries, part headers and fields around the file


class UploadMarks(BaseModel):
    """How to read a table and its numbers if there are two ways."""

    decimal: DecimalMark | None = None
    thousands: ThousandsMark | None = None
    separator: str | None = Field(default=None, pattern=SEPARATOR)

    @classmethod
    def of_form(cls, fields: dict[str, str]) -> UploadMarks:
        """Raises RequestValidationError as FastAPI does."""
        try:
            marks = cls.model_validate(fields)
        except ValidationError as error:
            found = error.errors(include_url=False)
            raise RequestValidationError(
                [{**finding, "loc": ("body", *finding["loc"])} for finding in found]
            ) from None
        if marks.decimal is not None and marks.decimal == marks.thousands:
            raise Invalid(f"decimal and thousands must differ, got {marks.decimal!r} for both.")
        return marks


UNMARKED = UploadMarks()


@dataclass(frozen=True)
class Upload:
    """A complete uploaded file. `dataset_id` is the id that it gets if its bytes are new."""

    dataset_id: str
    path: Path
    name: str
    sha256: str
    bytes: int
    marks: Marks


class Sink:
    """Writes and hashes the file; refuses more than `limit` bytes."""

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
    """In the data folder, because a table may be larger than /tmp."""
    return settings.root / "tmp"


def upload_folder(root: Path) -> AbstractContextManager[Path]:
    """A folder for one upload, named after the future dataset and removed at the end."""
    return scratch_folder(root, new_id("ds"))


def remove_abandoned(root: Path, database: Database, blobs: Blobs) -> None:
    """Remove uploads of killed processes, and their files in storage if they have no row."""
    for folder in abandoned(root, "ds_*"):
        with suppress(OSError, *DATABASE_AWAY):  # the next start tries again
            with database.reading() as session:
                is_kept = session.get(Dataset, folder.name) is not None
            if not is_kept:
                blobs.delete(dataset_key(folder.name))
            shutil.rmtree(folder)


async def receive(
    request: Request, folder: Path, limit: int, name: str | None, marks: UploadMarks = UNMARKED
) -> Upload:
    """Stream the table in a request into an `upload_folder`. The query overrides the form.

    Raises
    ------
    TooLarge: as soon as there are more than `limit` bytes, whatever Content-Length says.
    TooSlow
    UnsupportedMedia: neither a form nor CSV.
    Invalid: the form is incomplete.
    """
    refuse_compressed(request)
    media_type, options = content_type(request)
    most = limit + FORM_OVERHEAD
    # Before reading the body, so that a client that waits for "100 Continue" does not send it.
    if int(request.headers.get("Content-Length", 0)) > most:
        raise too_large(limit)
    path = folder / "table.csv"
    sink = Sink(path, limit)
    try:
        form = None
        if media_type == FORM:
            form = FormReader(options.get(b"boundary"), sink.write, FIELDS)
        elif media_type != CSV:
            raise UnsupportedMedia(
                "Content-Type must be text/csv, or multipart/form-data with the table as `file`, "
                f"got {media_type or 'none'}."
            )
        write = form.write if form else sink.write
        arriving = Request(request.scope, Bounded(request.receive, most, too_large(limit)))
        async for chunk in arriving.stream():
            # Hashing and writing block; the loop has other requests to serve.
            await run_in_threadpool(write, chunk)
        fields = form.finish() if form else {}
    finally:
        sha256 = sink.close()
    sent_name = fields.pop("name", "") or (form.file_name if form else None)
    filled = {field: text for field, text in fields.items() if text}
    marks = UploadMarks.of_form({**filled, **marks.model_dump(exclude_none=True)})
    known = Marks(marks.decimal, marks.thousands, marks.separator)
    return Upload(folder.name, path, clean_name(name or sent_name), sha256, sink.bytes, known)


def clean_name(name: str | None) -> str:
    """A file name without folders and control characters."""
    last = re.split(r"[\\/]", name or "")[-1]
    printable = "".join(letter for letter in last if letter.isprintable()).strip()
    return printable[:MAX_NAME] or DEFAULT_NAME


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"The table is larger than max_upload_bytes, {limit} bytes.")
