"""The Python client: what a script, a notebook and the command line use.

    with Foldhouse() as client:
        dataset = client.upload("train.csv")
        job = client.submit({"target": "SalePrice"}, dataset["id"])
        model_id = client.wait(job["id"])["result"]["model_id"]
        prices = [row["value"] for row in client.predict(rows, model_id)]

Answers are the JSON objects of the HTTP API. Errors:

    FoldhouseError       the service answered with a problem document
    └── Unreachable      nothing answered
"""

from __future__ import annotations

import errno
import os
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import unquote

import httpx

from app.errors import PROBLEM_MEDIA_TYPE, Fault, describe

DEFAULT_URL = "http://127.0.0.1:8000"
FINISHED = ("succeeded", "failed", "cancelled")

TIMEOUT = httpx.Timeout(5, read=300, write=300)  # s; a large upload is profiled before its answer
POLL_FIRST, POLL_LONGEST = 0.2, 2.0  # s between two looks at a job
POLL_GROWTH = 1.3
AWAY = (502, 503, 504)  # said by the service, or by a proxy in front of it
PATIENCE = 60.0  # s that a watched service may be away, for example to be restarted

Json = dict[str, Any]


class FoldhouseError(Exception):
    """A problem document (RFC 9457); `str()` of it names every field, row and column at fault."""

    def __init__(
        self, title: str, status: int | None, detail: str, errors: Sequence[Fault] = ()
    ) -> None:
        super().__init__(title, status, detail, errors)
        self.title = title
        self.status = status
        self.detail = detail
        self.errors = list(errors)

    def __str__(self) -> str:
        return "\n".join([f"{self.title}: {self.detail}", *map(describe, self.errors)])


class Unreachable(FoldhouseError):
    """No service answers at the client's address."""


class Foldhouse:
    """A service at `url`: by default that of FOLDHOUSE_URL, or else http://127.0.0.1:8000.

    `transport` lets a test answer instead of a network.
    """

    def __init__(
        self, url: str | None = None, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = (url or os.environ.get("FOLDHOUSE_URL") or DEFAULT_URL).rstrip("/")
        self._http = httpx.Client(base_url=self.url, timeout=TIMEOUT, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # Datasets

    def upload(self, path: str | Path, name: str | None = None) -> Json:
        """Upload a CSV file, streamed. The same bytes again give the same dataset."""
        path = Path(path)
        with path.open("rb") as file:
            return self._json(
                "POST",
                "/v1/datasets",
                params={"name": name or path.name},
                content=file,
                headers={"Content-Type": "text/csv"},
            )

    # Jobs

    def validate(self, spec: Mapping[str, Any], dataset_id: str = "latest") -> Json:
        """The resolved spec, its size, its time and its warnings; nothing is created."""
        return self._json("POST", "/v1/jobs:validate", json={**spec, "dataset_id": dataset_id})

    def submit(self, spec: Mapping[str, Any], dataset_id: str = "latest") -> Json:
        """Queue a training job."""
        return self._json("POST", "/v1/jobs", json={**spec, "dataset_id": dataset_id})

    def job(self, job_id: str) -> Json:
        return self._json("GET", f"/v1/jobs/{job_id}")

    def jobs(self, status: str | None = None) -> Iterator[Json]:
        """Jobs, newest first; further pages are fetched as they are needed."""
        return self._pages("/v1/jobs", {"status": status} if status else {})

    def cancel(self, job_id: str, *, keep_best: bool = False) -> Json:
        """`keep_best` makes a model of what the job has learnt so far."""
        return self._json("POST", f"/v1/jobs/{job_id}/cancel", json={"keep_best": keep_best})

    def watch(self, job_id: str) -> Iterator[Json]:
        """The job each time that it has changed, until it has finished.

        A service that goes away meanwhile, or whose database does, is waited for, for a minute.
        """
        last: Json = {}
        delay, answered_at = POLL_FIRST, time.monotonic()
        while True:
            job = last
            try:
                job = self.job(job_id)
                answered_at = time.monotonic()
            except FoldhouseError as error:
                is_away = isinstance(error, Unreachable) or error.status in AWAY
                if not is_away or time.monotonic() - answered_at > PATIENCE:
                    raise
            if job == last:
                delay = min(delay * POLL_GROWTH, POLL_LONGEST)
            else:
                last, delay = job, POLL_FIRST
                yield job
            if last.get("status") in FINISHED:
                return
            time.sleep(delay)

    def wait(self, job_id: str) -> Json:
        """The job when it has succeeded; raises FoldhouseError when it failed or was cancelled."""
        *_, job = self.watch(job_id)
        if job["status"] != "succeeded":
            raise job_error(job)
        return job

    # Models

    def models(self) -> Iterator[Json]:
        """Registered models, newest first."""
        return self._pages("/v1/models", {})

    def model(self, model: str) -> Json:
        return self._json("GET", f"/v1/models/{model}")

    def export(self, model: str, folder: str | Path) -> None:
        """Save a model's files in a new folder, with a script that prices rows without a service.

        Raises
        ------
        OSError: the folder holds something already, or cannot be written.
        """
        folder = Path(folder)
        if folder.exists() and any(folder.iterdir()):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(folder))
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Moved there whole at the end.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".foldhouse-") as scratch:
            archive, unpacked = Path(scratch) / "export.zip", Path(scratch) / "export"
            self._download(archive, "GET", f"/v1/models/{model}/export")
            unpacked.mkdir()
            unpack(archive, unpacked)
            unpacked.replace(folder)

    def predict(self, rows: Sequence[Mapping[str, Any]], model: str = "champion") -> list[Json]:
        """A prediction for each row; `value` is on the target's own scale."""
        answer = self._json(
            "POST", "/v1/predict", params={"model": model}, json={"rows": list(rows)}
        )
        predictions: list[Json] = answer["predictions"]
        return predictions

    def predict_csv(
        self,
        source: str | Path,
        target: str | Path | BinaryIO,
        model: str = "champion",
        *,
        passthrough: Sequence[str] = (),
        name: str | None = None,
        columns: Sequence[str] = (),
    ) -> list[str]:
        """Price the rows of a CSV file into another, in the same order; the columns that the model
        does not take.

        Parameters
        ----------
        target: a path, or an open binary file.
        passthrough: columns of `source` to copy in front.
        name: header of the prediction column.
        columns: which columns to write; all without it.
        """
        params: Json = {"model": model, "passthrough": list(passthrough), "columns": list(columns)}
        if name is not None:
            params["name"] = name
        with Path(source).open("rb") as file:
            headers = self._download(
                target,
                "POST",
                "/v1/predict",
                params=params,
                content=file,
                headers={"Content-Type": "text/csv", "Accept": "text/csv"},
            )
        ignored = headers.get("X-Ignored-Columns")
        return [] if ignored is None else [unquote(name) for name in ignored.split(",")]

    # The wire

    def _json(self, method: str, path: str, **request: Any) -> Json:
        with self._answer(method, path, **request) as response:
            response.read()
            answer: Json = response.json()
            return answer

    def _pages(self, path: str, params: dict[str, str]) -> Iterator[Json]:
        page = self._json("GET", path, params=params)
        yield from page["data"]
        while page["has_more"]:
            page = self._json("GET", path, params={**params, "after": page["next"]})
            yield from page["data"]

    def _download(
        self, target: str | Path | BinaryIO, method: str, path: str, **request: Any
    ) -> httpx.Headers:
        with self._answer(method, path, **request) as response, writing(target) as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
            return response.headers

    @contextmanager
    def _answer(self, method: str, path: str, **request: Any) -> Iterator[httpx.Response]:
        try:
            with self._http.stream(method, path, **request) as response:
                if response.is_error:
                    response.read()
                    raise problem(response)
                yield response
        except httpx.TransportError as error:
            raise Unreachable(
                "No answer",
                None,
                f"no foldhouse service answers at {self.url} ({error}); "
                "`foldhouse serve` starts one",
            ) from error


@contextmanager
def writing(target: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    """A file to write to. One named by a path appears there whole, or not at all."""
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
    """Raises FoldhouseError for anything but a zip of files without folders: no name leads away."""
    try:
        with zipfile.ZipFile(archive) as files:
            names = files.namelist()
            led_away = [name for name in names if Path(name).name != name or name == ".."]
            if led_away:
                raise FoldhouseError("No export", None, f"it has a file {led_away[0]!r}")
            files.extractall(folder)
    except zipfile.BadZipFile as error:
        raise FoldhouseError("No export", None, f"what came is no zip file: {error}") from error


def problem(response: httpx.Response) -> FoldhouseError:
    """The error that an answer carries; something in between may have answered without one."""
    if not response.headers.get("Content-Type", "").startswith(PROBLEM_MEDIA_TYPE):
        return FoldhouseError(
            f"HTTP {response.status_code}", response.status_code, response.text[:500]
        )
    document = response.json()
    return FoldhouseError(
        document["title"],
        document["status"],
        document["detail"],
        [Fault.model_validate(fault) for fault in document["errors"]],
    )


def job_error(job: Json) -> FoldhouseError:
    """Why a job that finished did not succeed."""
    error = job["error"]
    if error is None:
        return FoldhouseError("The job was cancelled", None, f"{job['id']} gave no model")
    return FoldhouseError(
        error["title"],
        error["status"],
        error["detail"],
        [Fault.model_validate(fault) for fault in error["errors"]],
    )
