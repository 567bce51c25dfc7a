"""Connections that cost a client nothing to hold: when each ends, and which makes room."""

from __future__ import annotations

import asyncio
import logging
import resource
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from app.errors import PROBLEM_MEDIA_TYPE, Malformed, Problem, Unavailable
from app.http.observe import secured

log = logging.getLogger(__name__)

HEAD_PATIENCE = 10.0  # s for the whole head of a request, from the accept or the answer before
TAKE_PATIENCE = 30.0  # s in which a client must take something of an answer that waits for it
LAST_LOOK = 0.1  # s
LOG_INTERVAL = 60.0  # s between two lines about a process that is full

MOST_CONNECTIONS = 2_000  # of one process; each may keep 80 KiB waiting
FILES_WANTED = 65_536
FILES_KEPT = 96  # descriptors for the database, uploads, models and processes that read tables
LEAST_CONNECTIONS = 16


def raise_file_limit() -> None:
    """A shell's limit of 1,024 descriptors, or 256, is one that a process may raise itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections() -> int:
    """So many that this process has descriptors left for its work."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(LEAST_CONNECTIONS, min(MOST_CONNECTIONS, soft - FILES_KEPT))


class Deadline:
    """When a connection breaks, unless it is called off before; `at` on the loop's clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    @property
    def at(self) -> float | None:
        return None if self._timer is None else self._timer.when()

    def start(self, transport: asyncio.Transport) -> None:
        """One that runs already goes on."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._look_once_more, transport)

    def _look_once_more(self, transport: asyncio.Transport) -> None:
        """A loop that was held up finds its timers due before it reads what came meanwhile."""
        self._timer = self._loop.call_later(LAST_LOOK, transport.abort)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Connection(H11Protocol):
    """uvicorn's, with deadlines; one that is idle makes room for a new one.

    Not httptools', which would collect the headers of a request for as long as they come: h11
    stops at 16 KiB.
    """

    _next_line: ClassVar[float] = 0.0  # the loop's time from which the log may have another line

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._most = most_connections()
        self._head = Deadline(self.loop, HEAD_PATIENCE)
        self._taking = Deadline(self.loop, TAKE_PATIENCE)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._most and not self._make_room():
            self._refuse(Unavailable(f"All {self._most} connections are in use; try again."))
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_head()
        if self.transport.is_closing():
            self._watch_taking()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_taking()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_taking()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taking.cancel()
        if self.transport.is_closing():
            self._watch_taking()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._head.cancel()
        self._taking.cancel()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        self._refuse(Malformed("What came is not an HTTP/1.1 request."))

    def _unsupported_upgrade_warning(self) -> None:
        """Whoever asks for a protocol that is not spoken here is answered in HTTP, and not logged:
        he could fill the disk."""

    def _watch_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._head.cancel()
        else:
            self._head.start(self.transport)

    def _watch_taking(self) -> None:
        """`close` waits until the client has taken what was written, for ever if he takes none."""
        self._taking.start(self.transport)

    def _make_room(self) -> bool:
        """End the connection that has waited longest for a request, if one waits."""
        waiting = [
            (other._head.at, other)
            for other in self.connections
            if isinstance(other, Connection) and other._head.at is not None
        ]
        if self.loop.time() >= Connection._next_line:
            Connection._next_line = self.loop.time() + LOG_INTERVAL
            log.warning(
                "all %d connections are in use, %d of them idle: idle ones are closed for new ones",
                self._most,
                len(waiting),
            )
        if not waiting:
            return False
        _, longest = min(waiting, key=lambda entry: entry[0])
        self.connections.discard(longest)
        longest.transport.abort()
        return True

    def _refuse(self, problem: Problem) -> None:
        """Answer what is no request, or before one has come, and end the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = problem.document().model_dump_json(exclude_none=True).encode()
            headers = [
                (b"content-type", PROBLEM_MEDIA_TYPE.encode()),
                (b"content-length", str(len(body)).encode()),
                *((name.lower().encode(), text.encode()) for name, text in problem.headers.items()),
                CLOSE_HEADER,
            ]
            response = h11.Response(
                status_code=problem.status,
                headers=secured(headers),
                reason=STATUS_PHRASES[problem.status],
            )
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        self._watch_taking()
