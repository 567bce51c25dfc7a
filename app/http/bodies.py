"""Request bodies: limited in bytes and in time while they arrive, and parsed as strict JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from starlette.types import Message, Receive

from app.errors import Busy, TooLarge, TooSlow
from app.http.json_document import Limits, load
from app.http.media import CSV, FORM, content_type, refuse_compressed
from app.http.parameters import StrictRoute

# Bytes of a spec: enough for the names of two thousand columns. FastAPI validates it on the event
# loop, where a megabyte of mistakes would block all other requests for five seconds.
MAX_DOCUMENT = 256 * 1024
# A spec names columns in a few of its fields. Each wrong value would be one more error to report.
DOCUMENT_LIMITS = Limits(
    containers=1_000,
    values=20_000,
    names=20_000,
    advice="which no spec needs: a spec names each column a few times at most",
)

EXACT = 2**53  # below it, floats represent every whole number exactly

# The slowest rate at which a client may send a body: LEAST bytes in PATIENCE seconds. A modem is
# faster.
PATIENCE = 30.0  # s
LEAST = 32 * 1024  # bytes

UNCOUNTED = 64 * 1024  # bytes of each body that do not count towards the bodies in flight


class Bounded:
    """A request's `receive` that fails once the body exceeds `limit` bytes or arrives too slowly.

    `hold`: the body's share of the bytes in flight, if it is kept in memory.

    Raises
    ------
    TooLarge, TooSlow, Busy
    """

    def __init__(
        self, receive: Receive, limit: int, too_large: TooLarge, hold: Hold | None = None
    ) -> None:
        self._receive = receive
        self._limit = limit
        self._too_large = too_large
        self._hold = hold
        self._size, self._due = 0, LEAST
        self._deadline: float | None = asyncio.get_running_loop().time() + PATIENCE

    async def __call__(self) -> Message:
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise _too_slow(self._size) from None
        if not message.get("more_body", False):
            self._deadline = None  # what is left to come is that the client goes
        self._size += len(message.get("body", b""))
        if self._size > self._limit:
            raise self._too_large
        if self._hold is not None:
            self._hold.grow(self._size)
        if self._deadline is not None and self._size >= self._due:
            self._due = self._size + LEAST
            self._deadline = asyncio.get_running_loop().time() + PATIENCE
        return message


async def in_time(receive: Receive) -> Message:
    """The first part of a body; raises TooSlow."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await receive()
    except TimeoutError:
        raise _too_slow(0) from None


def _too_slow(size: int) -> TooSlow:
    return TooSlow(
        f"The body arrived too slowly: {size} bytes so far, and fewer than {LEAST} in the last "
        f"{PATIENCE:g} seconds. Send it faster."
    )


class InFlight:
    """Bytes of all bodies that the process holds in memory. Only the event loop changes it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0


class Hold:
    """One body's share of the bytes in flight, until it is released."""

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight
        self._held = 0

    def grow(self, size: int) -> None:
        """Count a body that now has `size` bytes; raises Busy. Short bodies do not count, so that
        single rows are still predicted while long bodies are refused."""
        more = max(0, size - UNCOUNTED) - self._held
        if self._in_flight.held + more > self._in_flight.limit:
            raise Busy(
                "Requests in progress already hold max_inflight_body_bytes, "
                f"{self._in_flight.limit} bytes. Try again in a moment, or send a CSV."
            )
        self._held += more
        self._in_flight.held += more

    def release(self) -> None:
        self._in_flight.held -= self._held
        self._held = 0


class DocumentRequest(Request):
    """A request whose body is one JSON document, such as a spec."""

    async def json(self) -> Any:
        """Stricter than the standard library: no NaN, no lone surrogates, limited nesting, no
        duplicate names."""
        refuse_compressed(self)
        data = await self.body()
        try:
            return _whole(load(data, DOCUMENT_LIMITS, allow_inf_nan=False))
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from None


def _whole(value: Any) -> Any:
    """The same document with 1.0 as 1: JSON does not distinguish them, but strict checks do."""
    if isinstance(value, dict):
        return {name: _whole(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        return int(value)
    return value


class DocumentRoute(StrictRoute):
    """An operation that takes a JSON document or no body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answer_bounded(request: Request) -> Response:
            return await answer(self.bounded(request))

        return answer_bounded

    def bounded(self, request: Request) -> Request:
        """The request with its body limited, whatever its Content-Length says."""
        too_large = TooLarge(f"The body is larger than {MAX_DOCUMENT} bytes, the limit for a spec.")
        return DocumentRequest(request.scope, Bounded(request.receive, MAX_DOCUMENT, too_large))


class RowsRoute(StrictRoute):
    """An operation that takes rows: JSON or tensors in memory, or a CSV as large as an upload."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answer_bounded(request: Request) -> Response:
            resources = request.app.state.resources
            media_type, _ = content_type(request)
            is_table = media_type in (CSV, FORM)
            name = "max_upload_bytes" if is_table else "max_body_bytes"
            limit = getattr(resources.settings, name)
            too_large = TooLarge(f"The body is larger than {name}, {limit} bytes.")
            hold = Hold(resources[InFlight])
            receive = Bounded(request.receive, limit, too_large, None if is_table else hold)
            bounded = Request(request.scope, receive)
            try:
                return await answer(bounded)
            finally:
                hold.release()

        return answer_bounded
