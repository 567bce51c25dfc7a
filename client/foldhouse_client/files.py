"""Writes files that appear complete or not at all."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from foldhouse_client.errors import FoldhouseError


@contextmanager
def writing(target: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    """A file to write to. A file given by its path appears there complete or not at all."""
    if not isinstance(target, (str, Path)):
        yield target
        return
    path = Path(target)
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def unpack(archive: Path, folder: Path) -> None:
    """Raises FoldhouseError unless the archive is a zip of files without folders, so that no name
    leads outside `folder`."""
    try:
        with zipfile.ZipFile(archive) as files:
            names = files.namelist()
            led_away = [name for name in names if Path(name).name != name or name == ".."]
            if led_away:
                raise FoldhouseError(
                    "Not an export", None, f"the zip file has an unsafe name {led_away[0]!r}"
                )
            files.extractall(folder)
    except zipfile.BadZipFile as error:
        raise FoldhouseError(
            "Not an export", None, f"the answer is not a zip file: {error}"
        ) from error
