"""Sweeps: many specs on one table with the same folds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from foldhouse_client.connection import CSV, Connection, Json, on_dataset


class Sweeps(Connection):
    """Calls about sweeps."""

    def submit_sweep(self, sweep: Mapping[str, Any], dataset_id: str | None = None) -> Json:
        """Queue a sweep: `target`, and what else it has, such as `search_space` and `n_trials`."""
        return self._json("POST", "/v1/sweeps", json=on_dataset(sweep, dataset_id))

    def sweep(self, sweep_id: str = "latest") -> Json:
        """How far a sweep is, its best trial, and once it has a model what that is worth."""
        return self._json("GET", f"/v1/sweeps/{sweep_id}")

    def sweeps(self) -> Iterator[Json]:
        """Sweeps, newest first; further pages are fetched when needed."""
        return self._pages("/v1/sweeps", {})

    def trials(self, sweep_id: str = "latest") -> list[Json]:
        """The leaderboard: all trials that have been drawn, the best first."""
        return self._rows(f"/v1/sweeps/{sweep_id}/trials")

    def trials_csv(self, target: str | Path | BinaryIO, sweep_id: str = "latest") -> None:
        """Write `trials` as CSV, with a column for each searched field."""
        self._download(target, "GET", f"/v1/sweeps/{sweep_id}/trials", headers={"Accept": CSV})

    def trial(self, number: int, sweep_id: str = "latest") -> Json:
        """A trial with its `spec`, which `submit` takes as it is, and all its metrics."""
        return self._json("GET", f"/v1/sweeps/{sweep_id}/trials/{number}")

    def importance(self, sweep_id: str = "latest") -> list[Json]:
        """How much each searched field mattered; empty with fewer than ten scored trials."""
        return self._rows(f"/v1/sweeps/{sweep_id}/importance")

    def cancel_sweep(self, sweep_id: str, *, keep_best: bool = False) -> Json:
        """Cancel a sweep. `keep_best` makes a model of the trials that have trained so far."""
        return self._json("POST", f"/v1/sweeps/{sweep_id}/cancel", json={"keep_best": keep_best})

    def delete_sweep(self, sweep_id: str) -> None:
        """Delete a finished sweep with its trials, its files and its model."""
        self._send("DELETE", f"/v1/sweeps/{sweep_id}")
