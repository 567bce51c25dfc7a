"""Webhooks."""

from __future__ import annotations

from collections.abc import Sequence

from foldhouse_client.connection import Connection, Json
from foldhouse_client.predictions import given


class Webhooks(Connection):
    """Calls about webhooks."""

    def webhooks(self) -> list[Json]:
        """Addresses that get a message when a job ends."""
        return self._rows("/v1/webhooks")

    def add_webhook(self, url: str, events: Sequence[str] = ()) -> Json:
        """Create a webhook; its `secret` is only in this answer.

        Parameters
        ----------
        events: of `job.succeeded`, `job.failed`, `job.cancelled` and the same of `sweep.`; by
            default all.
        """
        return self._json("POST", "/v1/webhooks", json=given(url=url, events=list(events)))

    def delete_webhook(self, webhook_id: str) -> None:
        self._send("DELETE", f"/v1/webhooks/{webhook_id}")
