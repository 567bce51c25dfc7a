"""One class with a method for each call of the HTTP API."""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from foldhouse_client.cells import csv_bytes, is_frame, rows_of
from foldhouse_client.connection import Connection, Json
from foldhouse_client.errors import (
    FoldhouseError,
    is_away,
    job_error,
)
from foldhouse_client.events import FINISHED, PATIENCE, STREAM_TIMEOUT, Event, resumed
from foldhouse_client.files import unpack
from foldhouse_client.predictions import Predictions, facts_of, given

POLL_FIRST, POLL_LONGEST = 0.2, 2.0  # s between two polls of a job
POLL_GROWTH = 1.3
# Keeps a request near a megabyte; the service accepts four, and a million values.
ROWS_PER_REQUEST = 1_000
CELLS_PER_REQUEST = 80_000

CSV = "text/csv"


class Foldhouse(Connection):
    """A service at `url`, which defaults to FOLDHOUSE_URL or http://127.0.0.1:8000.

    `url` may leave out `http://`. `transport` lets a test answer instead of a network.
    """

    # Datasets

    def upload(
        self,
        table: Any,
        name: str | None = None,
        *,
        separator: str | None = None,
        decimal: str | None = None,
        thousands: str | None = None,
    ) -> Json:
        """Upload a CSV file by its path, streamed, or a pandas data frame without its index.

        Uploading the same bytes again gives the same dataset.

        Parameters
        ----------
        separator, decimal, thousands: decide how to read a CSV that can be read in two ways.
        """
        marks = {"separator": separator, "decimal": decimal, "thousands": thousands}
        params = {key: mark for key, mark in marks.items() if mark is not None}
        if is_frame(table):
            return self._upload(csv_bytes(table), {"name": name or "data frame", **params})
        path = Path(table)
        with path.open("rb") as file:
            return self._upload(file, {"name": name or path.name, **params})

    def datasets(self) -> Iterator[Json]:
        """Datasets without their columns, newest first."""
        return self._pages("/v1/datasets", {})

    def dataset(self, dataset_id: str = "latest") -> Json:
        """The profile of a table."""
        return self._json("GET", f"/v1/datasets/{dataset_id}")

    def delete_dataset(self, dataset_id: str) -> None:
        """Delete a dataset. Jobs that used it must be deleted first."""
        self._send("DELETE", f"/v1/datasets/{dataset_id}")

    # Jobs

    def validate(self, spec: Mapping[str, Any], dataset_id: str = "latest") -> Json:
        """The resolved spec with its size, time and warnings; nothing is created."""
        return self._json("POST", "/v1/jobs:validate", json={**spec, "dataset_id": dataset_id})

    def submit(self, spec: Mapping[str, Any], dataset_id: str = "latest") -> Json:
        """Queue a training job."""
        return self._json("POST", "/v1/jobs", json={**spec, "dataset_id": dataset_id})

    def job(self, job_id: str = "latest") -> Json:
        return self._json("GET", f"/v1/jobs/{job_id}")

    def jobs(self, status: str | None = None, dataset_id: str | None = None) -> Iterator[Json]:
        """Jobs, newest first; further pages are fetched when needed."""
        wanted = {"status": status, "dataset_id": dataset_id}
        return self._pages("/v1/jobs", {name: text for name, text in wanted.items() if text})

    def cancel(self, job_id: str, *, keep_best: bool = False) -> Json:
        """Cancel a job. `keep_best` makes a model of the best weights so far."""
        return self._json("POST", f"/v1/jobs/{job_id}/cancel", json={"keep_best": keep_best})

    def retry(self, job_id: str) -> Json:
        """Submit a new job with the same spec on the same table."""
        return self._json("POST", f"/v1/jobs/{job_id}/retry")

    def reproduce(self, job_id: str) -> Json:
        """Submit a new job that trains the same model again; its result has `reproduction`."""
        return self._json("POST", f"/v1/jobs/{job_id}/reproduce")

    def delete_job(self, job_id: str) -> None:
        """Delete a finished job with its metrics, its files and its model."""
        self._send("DELETE", f"/v1/jobs/{job_id}")

    def metrics(self, job_id: str = "latest") -> list[Json]:
        """Losses and gradient norms of each fold and epoch."""
        return self._rows(f"/v1/jobs/{job_id}/metrics")

    def out_of_fold(self, job_id: str = "latest") -> list[Json]:
        """Each row's prediction by the one fold model that did not train on it."""
        return self._rows(f"/v1/jobs/{job_id}/oof")

    def metrics_csv(self, target: str | Path | BinaryIO, job_id: str = "latest") -> None:
        """Write `metrics` as CSV to a path or an open binary file."""
        self._download(target, "GET", f"/v1/jobs/{job_id}/metrics", headers={"Accept": CSV})

    def out_of_fold_csv(self, target: str | Path | BinaryIO, job_id: str = "latest") -> None:
        """Write `out_of_fold` as CSV to a path or an open binary file."""
        self._download(target, "GET", f"/v1/jobs/{job_id}/oof", headers={"Accept": CSV})

    def report(self, target: str | Path | BinaryIO, job_id: str = "latest") -> None:
        """Write a job's report, one HTML page, to a path or an open binary file."""
        self._download(target, "GET", f"/v1/jobs/{job_id}/report")

    def notebook(self, target: str | Path | BinaryIO, job_id: str = "latest") -> None:
        """Write a notebook that trains the job's model again as a plain PyTorch loop."""
        self._download(target, "GET", f"/v1/jobs/{job_id}/notebook")

    def charts(self, job_id: str = "latest") -> list[Json]:
        """The charts of the report: Vega-Lite documents with the numbers behind them."""
        return self._rows(f"/v1/jobs/{job_id}/charts")

    def watch(self, job_id: str) -> Iterator[Json]:
        """Yield the job each time it has changed, until it has finished.

        Waits up to a minute if the service or its database becomes unreachable.
        """
        last: Json = {}
        delay, answered_at = POLL_FIRST, time.monotonic()
        while True:
            job = last
            try:
                job = self.job(job_id)
                answered_at = time.monotonic()
            except FoldhouseError as error:
                if not is_away(error) or time.monotonic() - answered_at > PATIENCE:
                    raise
            if job == last:
                delay = min(delay * POLL_GROWTH, POLL_LONGEST)
            else:
                last, delay = job, POLL_FIRST
                yield job
            if last.get("status") in FINISHED:
                return
            time.sleep(delay)

    def events(
        self, job_id: str, after: int = 0, *, on_lost: Callable[[], None] | None = None
    ) -> Iterator[Event]:
        """The events of a job after a number, until it has finished.

        Resumes after a lost connection, for up to a minute; none is missed and none comes twice.

        Parameters
        ----------
        on_lost: called once each time that the service has become unreachable.
        """
        path = f"/v1/jobs/{job_id}/events"

        def open_after(number: int) -> AbstractContextManager[httpx.Response]:
            headers = {"Last-Event-ID": str(number)}
            return self._answer("GET", path, headers=headers, timeout=STREAM_TIMEOUT)

        return resumed(open_after, after, on_lost)

    def wait(self, job_id: str) -> Json:
        """Wait until the job has succeeded; raises FoldhouseError if it failed or was cancelled."""
        *_, job = self.watch(job_id)
        if job["status"] != "succeeded":
            raise job_error(job)
        return job

    # Models

    def models(self) -> Iterator[Json]:
        """Registered models, newest first."""
        return self._pages("/v1/models", {})

    def model(self, model: str = "champion") -> Json:
        return self._json("GET", f"/v1/models/{model}")

    def monitoring(self, model: str = "champion") -> Json:
        """The model's recent use, and the drift of each column."""
        return self._json("GET", f"/v1/models/{model}/monitoring")

    def delete_model(self, model: str) -> None:
        """Delete a model. No alias may point at it."""
        self._send("DELETE", f"/v1/models/{model}")

    def aliases(self) -> dict[str, str]:
        """The id of the model that each alias points at."""
        listed = self._json("GET", "/v1/aliases")["data"]
        return {alias["alias"]: alias["model_id"] for alias in listed}

    def promote(
        self,
        model: str,
        alias: str = "champion",
        *,
        if_better_than: str | None = None,
        force: bool = False,
    ) -> Json:
        """Point an alias at a model.

        Parameters
        ----------
        if_better_than: a model or an alias. The alias moves only if the error of `model` is lower
            by more than 1.645 standard errors of the difference.
        force: move it in any case, even to a model of another target.
        """
        body: Json = {"model_id": model}
        if if_better_than is not None:
            body["if_better_than"] = if_better_than
        if force:
            body["force"] = True
        return self._json("PUT", f"/v1/aliases/{alias}", json=body)

    def roll_back(self, alias: str = "champion") -> Json:
        """Point an alias at its previous model."""
        return self._json("POST", f"/v1/aliases/{alias}/rollback")

    def export(self, model: str, folder: str | Path) -> None:
        """Save a model's files in a new folder, with a script that predicts without the service.

        Raises
        ------
        OSError: the folder is not empty or not writable.
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

    # Predictions

    def predict(
        self,
        rows: Any,
        model: str = "champion",
        *,
        coverage: float | None = None,
        on_unknown: str | None = None,
        explain: bool = False,
        explained_class: str | None = None,
        threshold: float | None = None,
        classes: Sequence[str] = (),
        by_class: bool = False,
        comparables: int | None = None,
    ) -> Predictions:
        """Predict each row; `value` is a number on the target's own scale, or a class.

        Parameters
        ----------
        rows: mappings by column, or a pandas data frame. NaN, NaT, NA and None are missing.
        coverage: share of the true values that the intervals, or sets of classes, should contain,
            0.5 to 0.99.
        on_unknown: "error" refuses unknown levels, wrong types and missing cells.
        explain: adds what each column contributes.
        explained_class: the class to explain; by default the predicted one.
        threshold: of two classes, from which probability the positive one is predicted.
        classes: those whose probabilities each row lists, "*" for all; by default all, or those of
            its set if there are more than 20.
        by_class: sets contain that share of the rows of each class, instead of all rows together.
        comparables: adds so many training rows that are most like each row, with their targets.

        Raises
        ------
        FoldhouseError: with the row (from 1) and column of each cell at fault.
        """
        cells = rows_of(rows)
        params = given(
            model=model,
            coverage=coverage,
            on_unknown=on_unknown,
            explain=explain,
            explained_class=explained_class,
            threshold=threshold,
            classes=list(classes),
            by_class=by_class,
            comparables=comparables,
        )
        found: list[Json] = []
        facts: Json = {}
        names = dict.fromkeys(chain.from_iterable(cells))
        length = min(ROWS_PER_REQUEST, CELLS_PER_REQUEST // max(1, len(names)))
        # The answer has the columns of the model for each comparable.
        length = max(1, length // max(1, comparables or 1))
        for start in range(0, max(1, len(cells)), length):
            part = cells[start : start + length]
            # Every part names all columns, so that none counts as missing in only one part.
            part[:1] = [{**names, **row} for row in part[:1]]
            try:
                answer = self._json("POST", "/v1/predict", params=params, json={"rows": part})
            except FoldhouseError as error:
                raise error.moved(start) from None
            found += answer.pop("predictions")
            facts = facts or answer
        return Predictions(found, facts)

    def predict_csv(
        self,
        source: str | Path,
        target: str | Path | BinaryIO,
        model: str = "champion",
        *,
        passthrough: Sequence[str] = (),
        name: str | None = None,
        columns: Sequence[str] = (),
        coverage: float | None = None,
        on_unknown: str | None = None,
        threshold: float | None = None,
        classes: Sequence[str] = (),
        by_class: bool = False,
    ) -> Json:
        """Predict the rows of a CSV file into another, in the same order.

        Parameters
        ----------
        target: a path, or an open binary file.
        passthrough: columns of `source` to copy to the front.
        name: header of the prediction column.
        columns: the columns to write; by default all.
        coverage, on_unknown, threshold, by_class: as in `predict`.
        classes: adds the columns of their probabilities, "*" those of all.

        Returns
        -------
        `model_id`, `target`, `alias`, `missing_columns`, `ignored_columns`, `warnings` (codes).
        """
        params = given(
            model=model,
            passthrough=list(passthrough),
            columns=list(columns),
            name=name,
            coverage=coverage,
            on_unknown=on_unknown,
            threshold=threshold,
            classes=list(classes),
            by_class=by_class,
        )
        with Path(source).open("rb") as file:
            headers = self._download(
                target,
                "POST",
                "/v1/predict",
                params=params,
                content=file,
                headers={"Content-Type": CSV, "Accept": CSV},
            )
        return facts_of(headers)

    # Webhooks

    def webhooks(self) -> list[Json]:
        """Addresses that get a message when a job ends."""
        return self._rows("/v1/webhooks")

    def add_webhook(self, url: str, events: Sequence[str] = ()) -> Json:
        """Create a webhook; its `secret` is only in this answer.

        Parameters
        ----------
        events: of `job.succeeded`, `job.failed` and `job.cancelled`; by default all.
        """
        return self._json("POST", "/v1/webhooks", json=given(url=url, events=list(events)))

    def delete_webhook(self, webhook_id: str) -> None:
        self._send("DELETE", f"/v1/webhooks/{webhook_id}")

    # The wire

    def _upload(self, content: bytes | BinaryIO, params: dict[str, str]) -> Json:
        return self._json(
            "POST",
            "/v1/datasets",
            params=params,
            content=content,
            headers={"Content-Type": CSV},
        )
