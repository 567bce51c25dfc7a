"""Training jobs and what they leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from foldhouse_client.connection import CSV, Connection, Json, on_dataset


class Jobs(Connection):
    """Calls about jobs."""

    def validate(self, spec: Mapping[str, Any], dataset_id: str | None = None) -> Json:
        """The resolved spec with its size, time and warnings; nothing is created."""
        return self._json("POST", "/v1/jobs:validate", json=on_dataset(spec, dataset_id))

    def submit(self, spec: Mapping[str, Any], dataset_id: str | None = None) -> Json:
        """Queue a training job, by default on the spec's own `dataset_id` or the newest table."""
        return self._json("POST", "/v1/jobs", json=on_dataset(spec, dataset_id))

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

    def reproduce_elsewhere(self, job: Mapping[str, Any]) -> Json:
        """The same for a job as another installation's `job` gave it; its table must be here."""
        return self._json("POST", "/v1/reproductions", json=dict(job))

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
