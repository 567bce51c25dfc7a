"""Uploading tables, and finding what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from foldhouse_client.cells import csv_bytes, is_frame
from foldhouse_client.connection import CSV, Connection, Json

SUMMED = ("data", "examined", "unread")  # over the pages of what `find` answers


class Datasets(Connection):
    """Calls about tables."""

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

    def find(self, column: str, value: str) -> Json:
        """Which datasets have a value in a column, and which jobs and models learnt from them."""
        sought = {"column": column, "value": value}
        found = page = self._json("POST", "/v1/datasets:find", json=sought)
        while page["has_more"]:
            after = {"after": page["next"]}
            page = self._json("POST", "/v1/datasets:find", params=after, json=sought)
            found = {**page, **{name: found[name] + page[name] for name in SUMMED}}
        return found

    def delete_dataset(self, dataset_id: str) -> None:
        """Delete a dataset. Jobs that used it must be deleted first."""
        self._send("DELETE", f"/v1/datasets/{dataset_id}")

    def _upload(self, content: bytes | BinaryIO, params: dict[str, str]) -> Json:
        return self._json(
            "POST",
            "/v1/datasets",
            params=params,
            content=content,
            headers={"Content-Type": CSV},
        )
