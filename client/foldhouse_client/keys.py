"""API keys, quotas and the audit."""

from __future__ import annotations

from collections.abc import Iterator

from foldhouse_client.connection import Connection, Json
from foldhouse_client.predictions import given


class Keys(Connection):
    """Calls about keys, quotas and the audit; all but `whoami` need the role admin."""

    def whoami(self) -> Json:
        """The tenant and role of the key that this client sends, and the tenant's quotas with what
        is used of them."""
        return self._json("GET", "/v1/whoami")

    def keys(self) -> Iterator[Json]:
        """Newest first, with those that were revoked."""
        return self._pages("/v1/keys", {})

    def create_key(
        self, name: str, role: str, *, tenant: str | None = None, expires_at: str | None = None
    ) -> Json:
        """Make a key; its `secret` is only in this answer.

        Parameters
        ----------
        role: "predictor", "viewer", "editor" or "admin".
        tenant: whose data it sees; by default that of this client's own key.
        expires_at: a time with its zone, such as "2030-01-01T00:00:00Z"; by default never.
        """
        body = given(name=name, role=role, tenant=tenant, expires_at=expires_at)
        return self._json("POST", "/v1/keys", json=body)

    def rotate_key(self, key_id: str, *, grace_s: float | None = None) -> Json:
        """Make a second key like this one, whose `secret` is only in this answer; the old one works
        for `grace_s`, by default a day."""
        return self._json("POST", f"/v1/keys/{key_id}/rotate", json=given(grace_s=grace_s))

    def revoke_key(self, key_id: str) -> None:
        self._send("DELETE", f"/v1/keys/{key_id}")

    def quotas(self, tenant: str) -> Json:
        """What a tenant may use, and what it uses now."""
        return self._json("GET", f"/v1/quotas/{tenant}")

    def all_quotas(self) -> list[Json]:
        """Of each tenant that has its own."""
        found: list[Json] = self._json("GET", "/v1/quotas")["data"]
        return found

    def set_quotas(self, tenant: str, **quotas: int | None) -> Json:
        """Replace all of a tenant's own quotas; only admins of `local` may.

        Parameters
        ----------
        quotas: `stored_bytes`, `datasets`, `queued_jobs`, `running_jobs`, `device_seconds_per_day`
            and `predicted_rows_per_minute`. 0 is no limit; those left out have the defaults.
        """
        return self._json("PUT", f"/v1/quotas/{tenant}", json=quotas)

    def reset_quotas(self, tenant: str) -> None:
        """Give a tenant the defaults again."""
        self._send("DELETE", f"/v1/quotas/{tenant}")

    def audit(self, **wanted: str) -> Iterator[Json]:
        """What has written, and what was refused; newest first.

        Parameters
        ----------
        wanted: `since` and `until`, times with their zones, `tenant`, `key_id`, `subject` and
            `object_id`.
        """
        return self._pages("/v1/audit", wanted)
