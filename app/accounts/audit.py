"""Notes requests for the audit, and a thread that stores them.

A request only puts its entry aside, so no answer waits for the database. Refused attempts of one
address, sender and status are counted together for a minute, so that a flood of them fills
nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import replace
from itertools import islice

from app.accounts import chain
from app.accounts.chain import Entry
from app.storage.database import Database

logger = logging.getLogger(__name__)

REFUSED = (401, 403, 429)
COUNTED = 60.0  # s that refused attempts are counted together
MOST_COUNTED = 1_000  # at a time; of further ones a sender's addresses are counted as one
OTHERS = "others"  # the address of those
MOST_WAITING = 10_000  # entries while the database is away
TOGETHER = 500  # entries that are stored in a transaction
# s that the first entry waits for others: on SQLite each transaction holds up all other writers.
GATHERED = 0.25
INTERVAL = 5.0  # s between two looks at what was counted
PATIENCE = 5.0  # s for which a process that stops tries to store what is left
PAUSE = 1.0  # s after a failure
REMOVAL_INTERVAL = 3600.0  # s

Kind = tuple[str, str | None, str | None, str | None, int]


class Audit:
    """One for all threads of the process. `days`: how long rows are kept, 0 for ever."""

    def __init__(self, database: Database, days: int) -> None:
        self._database = database
        self._days = days
        self._lock = threading.Lock()
        self._storing = threading.Lock()
        self._waiting: deque[Entry] = deque()
        self._refused: dict[Kind, tuple[float, Entry]] = {}  # when the first came
        self._due = threading.Event()  # set when an entry waits, or to stop
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_storing, name="audit", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Store what is left."""
        self._stopping.set()
        self._due.set()
        self._thread.join()

    def note(self, entry: Entry) -> None:
        with self._lock:
            if entry.status in REFUSED:
                self._count(entry)
            elif len(self._waiting) < MOST_WAITING:
                self._waiting.append(entry)
                self._due.set()
            else:
                logger.error("the audit is full and cannot be stored, so it lacks %s", entry)

    def store(self, *, counted: bool = True) -> bool:
        """Store what waits, and if `counted` also what is still counted; False if it failed, and
        waits on."""
        with self._storing:
            self._take_counted(all_of_them=counted)
            while entries := self._first():
                try:
                    with self._database.writing() as session:
                        chain.append(session, entries)
                except Exception as error:  # whatever it is, the thread must go on
                    logger.warning("the audit could not be stored, will try again: %s", error)
                    return False
                with self._lock:
                    for _ in entries:
                        self._waiting.popleft()
            return True

    def _first(self) -> list[Entry]:
        with self._lock:
            return [*islice(self._waiting, TOGETHER)]

    def _count(self, entry: Entry) -> None:
        kind = (entry.address, entry.tenant, entry.key_id, entry.subject, entry.status)
        if kind not in self._refused and len(self._refused) >= MOST_COUNTED:
            entry = replace(entry, address=OTHERS)
            kind = (OTHERS, *kind[1:])  # of which there are as many as keys and people
        since, first = self._refused.get(kind, (time.monotonic(), replace(entry, count=0)))
        self._refused[kind] = since, replace(first, count=first.count + 1)

    def _take_counted(self, *, all_of_them: bool) -> None:
        """Put aside what has been counted for long enough."""
        until = time.monotonic() - COUNTED
        with self._lock:
            if len(self._waiting) >= MOST_WAITING and not all_of_them:
                return  # it can be counted on
            for kind, (since, entry) in [*self._refused.items()]:
                if all_of_them or since <= until:
                    self._waiting.append(entry)
                    del self._refused[kind]

    def _keep_storing(self) -> None:
        removal_at = time.monotonic()
        while not self._stopping.is_set():
            if self._days and time.monotonic() >= removal_at:
                self._remove_older()
                removal_at = time.monotonic() + REMOVAL_INTERVAL
            if self._due.wait(INTERVAL):
                self._stopping.wait(GATHERED)
            self._due.clear()
            if not self.store(counted=False):
                self._stopping.wait(PAUSE)
                self._due.set()
        give_up = time.monotonic() + PATIENCE
        while not self.store():
            if time.monotonic() >= give_up:
                for entry in self._waiting:
                    logger.error("the audit could not be stored, so it lacks %s", entry)
                return
            time.sleep(PAUSE)

    def _remove_older(self) -> None:
        try:
            with self._database.writing() as session:
                chain.remove_older(session, self._days)
        except Exception as error:
            logger.warning("old rows of the audit could not be removed: %s", error)
