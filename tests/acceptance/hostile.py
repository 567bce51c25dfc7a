"""Hostile requests to a real API: how each must be refused, and that the process outlives them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx
from polling import wait_until
from sqlalchemy import func, select
from stack import Stack, embedded, resident_bytes, running

from app.errors import PROBLEM_MEDIA_TYPE
from app.storage.tables import Dataset

MIB = 1024 * 1024
GROWTH = 64 * MIB  # that the API may keep of all requests of a module
SETTLE_SECONDS = 20.0
ANSWER_SECONDS = 15.0  # for a core that others share; alone the slowest takes two

CSV = {"Content-Type": "text/csv"}
JSON = {"Content-Type": "application/json"}


class Bad(NamedTuple):
    """A body, what the answer must say of it, and the place that it must name."""

    body: Any
    says: str
    place: Mapping[str, Any] = MappingProxyType({})
    status: int = 422


@contextmanager
def besieged(folder: Path, prepare: Callable[[Stack], object], **settings: Any) -> Iterator[Stack]:
    """A stack on SQLite; in the end its API process still answers and has kept little memory.

    `prepare` brings it to the state from which growth counts, with a good request of each kind.
    """
    with running(embedded(folder, **settings)) as stack:
        stack.http.timeout = httpx.Timeout(ANSWER_SECONDS)
        prepare(stack)
        pid, before = stack.api.pid, resident_bytes(stack.api.pid)
        yield stack
        no_orphans(stack)

        def memory_has_settled() -> bool:
            # Small requests go on meanwhile, so that what is garbage is collected.
            return stack.answers() and resident_bytes(pid) < before + GROWTH

        wait_until(memory_has_settled, SETTLE_SECONDS)
        assert_lives(stack)


def assert_lives(stack: Stack) -> None:
    assert stack.api.poll() is None
    assert stack.answers()


def assert_refused(
    stack: Stack, answer: httpx.Response, says: str, status: int = 422, **place: Any
) -> None:
    """A problem document of that status, which says it and names the place; the API lives on."""
    assert answer.status_code == status, answer.text[:2000]
    assert answer.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
    problem = answer.json()
    assert problem["status"] == status
    faults = problem["errors"]
    texts = [problem["detail"], *(fault["detail"] for fault in faults)]
    assert any(says in text for text in texts), problem
    assert not any("Traceback" in text or 'File "' in text for text in texts), problem
    if place:
        assert any(place.items() <= fault.items() for fault in faults), problem
    assert_lives(stack)


def datasets(stack: Stack) -> int:
    with stack.database.reading() as session:
        return session.scalar(select(func.count()).select_from(Dataset)) or 0


def orphans(stack: Stack) -> list[str]:
    """Files of uploads that belong to no dataset."""
    with stack.database.reading() as session:
        named = set(session.scalars(select(Dataset.id)))
    root = stack.settings.root
    files = [
        path.relative_to(root)
        for folder in (root / "tmp", root / "storage" / "datasets")
        for path in folder.rglob("*")
        if path.is_file()
    ]
    return [str(path) for path in files if not any(id_ in str(path) for id_ in named)]


def no_orphans(stack: Stack) -> None:
    wait_until(lambda: not orphans(stack), SETTLE_SECONDS)


# What a client that keeps to no protocol does.


def connected(stack: Stack) -> socket.socket:
    return socket.create_connection(("127.0.0.1", stack.port), timeout=ANSWER_SECONDS)


def head(path: str, **headers: str) -> bytes:
    """`POST path`, with `content_length="5"` for `Content-Length: 5`."""
    given = {"Host": "127.0.0.1", "Content-Type": "text/csv"}
    given |= {name.replace("_", "-").title(): value for name, value in headers.items()}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def answer_on(connection: socket.socket) -> httpx.Response:
    """The next answer that comes."""
    answer = HTTPResponse(connection)
    answer.begin()
    return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())


def is_closed(connection: socket.socket) -> bool:
    """Whether the server hangs up, whatever it still says before."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    return True


def reset(connection: socket.socket) -> None:
    """Vanish: the server gets a reset and no end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def sent_until_answered(connection: socket.socket, parts: Iterable[bytes]) -> int:
    """Send at full speed until the server says something or hangs up; bytes that were sent."""
    sent = 0
    for part in parts:
        try:
            connection.sendall(part)
        except ConnectionError:
            break
        sent += len(part)
        connection.setblocking(False)
        try:
            if connection.recv(1, socket.MSG_PEEK):
                break
        except BlockingIOError:
            continue
        finally:
            connection.settimeout(ANSWER_SECONDS)
    return sent
