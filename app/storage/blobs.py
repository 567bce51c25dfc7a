"""Files: uploads, artifacts named by their SHA-256, and checkpoints.

A key is a relative path. A file under a key is whole or absent: it is written under a temporary
name and renamed in (a folder), or put in one request (an object store).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import fsspec

CHUNK = 1024 * 1024  # bytes
PROBE = ".writable"
DATASETS, ARTIFACTS, CHECKPOINTS = "datasets", "artifacts", "checkpoints"


class ArtifactCorrupt(Exception):
    """A stored file is missing, or its bytes have changed."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is missing from storage or was changed there")
        self.name = name


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def dataset_key(dataset_id: str) -> str:
    """The folder of a dataset's files."""
    return f"{DATASETS}/{dataset_id}"


def artifacts_key(folder: str) -> str:
    """The folder of a shard's artifacts, by its id; an earlier version used the job's id.

    Shards share no files, even with the same bytes. Otherwise, deleting one model could remove a
    file that another shard has just stored and not registered yet.
    """
    return f"{ARTIFACTS}/{folder}"


def artifact_key(folder: str, sha256: str) -> str:
    return f"{artifacts_key(folder)}/{sha256}"


def checkpoints_key(shard_id: str) -> str:
    """The folder of a shard's checkpoints."""
    return f"{CHECKPOINTS}/{shard_id}"


class Blobs:
    """Storage in a folder, or anywhere that fsspec reaches, such as `s3://bucket/prefix`."""

    def __init__(self, url: str) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(url)
        self._local = "file" in self._fs.protocol

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def put(self, key: str, source: Path) -> None:
        """Store a local file; replaces the file under `key` atomically."""
        if self._local:
            _install(source, Path(self._path(key)))
        else:
            self._fs.put_file(str(source), self._path(key))

    def put_artifact(self, folder: str, source: Path) -> str:
        """Store a file under its SHA-256; returns the SHA-256."""
        sha256 = file_sha256(source)
        self.put(artifact_key(folder, sha256), source)
        return sha256

    def read_artifact(self, folder: str, name: str, sha256: str) -> bytes:
        """The bytes of an artifact; raises ArtifactCorrupt if it is missing or has changed."""
        try:
            data: bytes = self._fs.cat_file(self._path(artifact_key(folder, sha256)))
        except FileNotFoundError as error:
            raise ArtifactCorrupt(f"{name} of {folder}") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ArtifactCorrupt(f"{name} of {folder}")
        return data

    def open_artifact(self, folder: str, name: str, sha256: str) -> BinaryIO:
        """The same, as a file opened at its start."""
        try:
            return self.open_checked(artifact_key(folder, sha256), sha256)
        except ArtifactCorrupt as error:
            raise ArtifactCorrupt(f"{name} of {folder}") from error

    @contextmanager
    def local_artifact(self, folder: str, name: str, sha256: str) -> Iterator[Path]:
        """The same, as a local path."""
        with ExitStack() as stack:
            try:
                path = stack.enter_context(self.local_copy(artifact_key(folder, sha256), sha256))
            except ArtifactCorrupt as error:
                raise ArtifactCorrupt(f"{name} of {folder}") from error
            yield path

    def exists(self, key: str) -> bool:
        return bool(self._fs.exists(self._path(key)))

    def names(self, key: str) -> list[str]:
        """The names in the folder `key`, including temporary files of a local folder."""
        if not self.exists(key):
            return []
        paths: list[str] = self._fs.ls(self._path(key), detail=False)
        return [path.rstrip("/").rpartition("/")[2] for path in paths]

    def sizes(self, key: str) -> Counter[str]:
        """Bytes under each name in the folder `key`; looks at every file in it."""
        folder = f"{self._path(key)}/"
        found: Counter[str] = Counter()
        for path, file in self._fs.find(folder, detail=True).items():
            found[path.removeprefix(folder).partition("/")[0]] += file["size"]
        return found

    def open(self, key: str) -> BinaryIO:
        return self._fs.open(self._path(key), "rb")  # type: ignore[no-any-return]

    def open_checked(self, key: str, sha256: str) -> BinaryIO:
        """Open a file at its start; a remote one is copied here first.

        Raises
        ------
        ArtifactCorrupt: it is missing, or its hash differs.
        """
        try:
            file = self.open(key) if self._local else self._copy_here(key)
        except FileNotFoundError as error:
            raise ArtifactCorrupt(key) from error
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:  # type: ignore[arg-type]
            file.close()
            raise ArtifactCorrupt(key)
        file.seek(0)
        return file

    def _copy_here(self, key: str) -> BinaryIO:
        copy = tempfile.TemporaryFile()
        try:
            with self.open(key) as file:
                shutil.copyfileobj(file, copy, CHUNK)
        except BaseException:
            copy.close()
            raise
        copy.seek(0)
        return copy

    @contextmanager
    def local_copy(self, key: str, sha256: str | None) -> Iterator[Path]:
        """A local path of the file: its own, or that of a temporary copy.

        Raises
        ------
        ArtifactCorrupt: it is missing, or its hash differs from `sha256`, unless that is None.
        """
        with ExitStack() as stack:
            if self._local:
                path = Path(self._path(key))
            else:
                folder = tempfile.TemporaryDirectory(prefix="foldhouse-")
                path = Path(stack.enter_context(folder)) / "blob"
            try:
                if not self._local:
                    self._fs.get_file(self._path(key), str(path))
                whole = path.is_file() if sha256 is None else file_sha256(path) == sha256
            except FileNotFoundError:
                whole = False
            if not whole:
                raise ArtifactCorrupt(key)
            yield path

    def delete(self, key: str) -> None:
        """Remove a file, or a folder with its contents; does nothing if it does not exist."""
        with suppress(FileNotFoundError):  # or another process removes it at the same time
            if self.exists(key):
                self._fs.rm(self._path(key), recursive=True)

    def check(self) -> None:
        """Write a byte; raises what the storage raises, such as OSError, if it cannot be used."""
        if self._local:
            Path(self._root).mkdir(parents=True, exist_ok=True)
        self._fs.pipe_file(self._path(PROBE), b"\0")


def _install(source: Path, target: Path) -> None:
    """Copy to a temporary name beside the target, fsync, rename, fsync the folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".incoming-")
    try:
        with os.fdopen(descriptor, "wb") as out, source.open("rb") as data:
            shutil.copyfileobj(data, out, CHUNK)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
