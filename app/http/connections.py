"""Limits on connections, which cost a client nothing to keep open: deadlines, and which idle
connection is closed to make room."""

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

HEAD_PATIENCE = 10.0  # s for a whole request head, from the accept or the previous response
TAKE_PATIENCE = 30.0  # s in which a client must read some of a pending response
LAST_LOOK = 0.1  # s
LOG_INTERVAL = 60.0  # s between two log lines about a full process

MOST_CONNECTIONS = 2_000  # of one process; each may buffer 80 KiB
FILES_WANTED = 65_536
FILES_KEPT = 96  # descriptors for the database, uploads, models and table-reading processes
LEAST_CONNECTIONS = 16

# The lifespan's state has under this name what ends streams: they would outlast a stopping server.
END_STREAMS = "end_streams"


def raise_file_limit() -> None:
    """Raise the soft limit of descriptors, which shells often set to 1,024 or 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections() -> int:
    """The number of connections that leaves enough descriptors for other work."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(LEAST_CONNECTIONS, min(MOST_CONNECTIONS, soft - FILES_KEPT))


class Deadline:
    """Aborts a connection after some seconds unless cancelled; `at` is on the loop's clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    @property
    def at(self) -> float | None:
        return None if self._timer is None else self._timer.when()

    def start(self, transport: asyncio.Transport) -> None:
        """Start the timer; does nothing while it is running."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._look_once_more, transport)

    def _look_once_more(self, transport: asyncio.Transport) -> None:
        """Give a blocked loop time to read: its timers run before the data that has arrived."""
        self._timer = self._loop.call_later(LAST_LOOK, transport.abort)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Connection(H11Protocol):
    """uvicorn's h11 protocol with deadlines. An idle connection is closed to make room for a new
    one.

    h11 refuses headers above 16 KiB; httptools would collect them without limit.
    """

    _next_line: ClassVar[float] = 0.0  # the loop's time from which the next line may be logged

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._most = most_connections()
        self._head = Deadline(self.loop, HEAD_PATIENCE)
        self._taking = Deadline(self.loop, TAKE_PATIENCE)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._most and not self._make_room():
            self._refuse(Unavailable(f"All {self._most} connections are in use. Try again."))
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

    def shutdown(self) -> None:
        super().shutdown()
        self.app_state[END_STREAMS]()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._head.cancel()
        self._taking.cancel()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        self._refuse(Malformed("The request is not valid HTTP/1.1."))

    def _unsupported_upgrade_warning(self) -> None:
        """Does not log: a client that asks for unsupported protocols could fill the disk. It is
        answered in HTTP."""

    def _watch_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._head.cancel()
        else:
            self._head.start(self.transport)

    def _watch_taking(self) -> None:
        """`close` waits until the client has read what was written, possibly for ever."""
        self._taking.start(self.transport)

    def _make_room(self) -> bool:
        """Close the connection that has been idle longest, if there is one."""
        waiting = [
            (other._head.at, other)
            for other in self.connections
            if isinstance(other, Connection) and other._head.at is not None
        ]
        if self.loop.time() >= Connection._next_line:
            Connection._next_line = self.loop.time() + LOG_INTERVAL
            log.warning(
                "all %d connections are in use, %d of them idle; closing idle ones for new ones",
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
        """Answer without a valid request, and close the connection."""
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
