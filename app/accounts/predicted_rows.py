"""Counts the rows that one process has predicted for each tenant in the last minute."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from functools import partial

from app.accounts import quotas
from app.accounts.quotas import Limits
from app.errors import OverQuota
from app.storage.database import Database
from app.storage.recent import Recent

FRESH = 0.5  # s that a tenant's quota is kept
MOST_TENANTS = 10_000
WINDOW = 60  # s


class PredictedRows:
    """One for all threads of the process. Rows are counted by the second, so that a tenant takes a
    few hundred bytes."""

    def __init__(self, database: Database, default: Limits) -> None:
        self._database = database
        self._default = default
        self._lock = threading.Lock()
        self._known: Recent[str, Limits] = Recent(FRESH, MOST_TENANTS)
        self._seconds: defaultdict[str, Counter[int]] = defaultdict(Counter)

    def is_known(self, tenant: str) -> bool:
        """Whether `take` needs no database look-up."""
        return self._known.known(tenant) is not None

    def take(self, tenant: str, rows: int) -> None:
        """Count rows that are about to be predicted; raises OverQuota."""
        most = self._known.get(tenant, partial(self._look_up, tenant)).predicted_rows_per_minute
        if most is None:
            return
        now = int(time.monotonic())
        with self._lock:
            seconds = self._last_minute(tenant, now)
            before = seconds.total()
            if before + rows > most:
                raise OverQuota(
                    f"The tenant {tenant} has predicted {before:,} rows in the last minute, and "
                    f"with these {rows:,} it would exceed its quota `predicted_rows_per_minute`, "
                    f"{most:,}. Send fewer, or send them later."
                )
            seconds[now] += rows

    def used(self, tenant: str) -> int:
        with self._lock:
            return self._last_minute(tenant, int(time.monotonic())).total()

    def forget(self) -> None:
        """Empty the cache after this process has changed a quota."""
        self._known.forget()

    def _last_minute(self, tenant: str, now: int) -> Counter[int]:
        """Rows by second."""
        seconds = self._seconds[tenant]
        for second in [old for old in seconds if old <= now - WINDOW]:
            del seconds[second]
        return seconds

    def _look_up(self, tenant: str) -> Limits:
        with self._database.reading() as session:
            return quotas.limits(session, tenant, self._default)
