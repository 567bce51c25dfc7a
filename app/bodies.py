"""Request bodies: bounded while they arrive, in bytes and in time, and JSON that is JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from pydantic_core import from_json
from starlette.types import Message, Receive

from app.errors import TooLarge, TooSlow
from app.json_text import count_names, refuse_repeated
from app.media import CSV, FORM, content_type, refuse_compressed
from app.parameters import StrictRoute

# Bytes of a spec: the names of two thousand columns fit. FastAPI checks it on the event loop, where
# a megabyte of mistakes would keep all other requests waiting for five seconds.
MAX_DOCUMENT = 256 * 1024


EXACT = 2**53  # below, a float is a whole number or it is not

# A client that keeps a request open must send: so many bytes in every so many seconds. A modem is
# faster.
PATIENCE = 30.0  # s
LEAST = 32 * 1024  # bytes


class Bounded:
    """A request's `receive`, as long as its body keeps within `limit` bytes and comes fast enough.

    Raises
    ------
    TooLarge, TooSlow
    """

    def __init__(self, receive: Receive, limit: int, too_large: TooLarge) -> None:
        self._receive = receive
        self._limit = limit
        self._too_large = too_large
        self._size, self._due = 0, LEAST
        self._deadline = asyncio.get_running_loop().time() + PATIENCE

    async def __call__(self) -> Message:
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise TooSlow(
                f"Of the body {self._size} bytes have come, and hardly any for {PATIENCE:g} "
                f"seconds. Send at least {LEAST} bytes in that time."
            ) from None
        self._size += len(message.get("body", b""))
        if self._size > self._limit:
            raise self._too_large
        if self._size >= self._due:
            self._due = self._size + LEAST
            self._deadline = asyncio.get_running_loop().time() + PATIENCE
        return message


class DocumentRequest(Request):
    """Its body is one JSON document, such as a spec."""

    async def json(self) -> Any:
        """Stricter than the standard library: no NaN, no lone surrogates, bounded nesting, no name
        twice."""
        refuse_compressed(self)
        data = await self.body()
        try:
            document = _whole(from_json(data, allow_inf_nan=False))
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from None
        refuse_repeated(data, count_names(document))
        return document


def _whole(value: Any) -> Any:
    """The same document: JSON makes no difference between 1.0 and 1, but strict checks do."""
    if isinstance(value, dict):
        return {name: _whole(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        return int(value)
    return value


class DocumentRoute(StrictRoute):
    """An operation that takes a JSON document, or nothing."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answer_bounded(request: Request) -> Response:
            return await answer(self.bounded(request))

        return answer_bounded

    def bounded(self, request: Request) -> Request:
        """The request with a limit to its body, whatever its Content-Length says."""
        too_large = TooLarge(f"The body is larger than {MAX_DOCUMENT} bytes, the most for a spec.")
        return DocumentRequest(request.scope, Bounded(request.receive, MAX_DOCUMENT, too_large))


class RowsRoute(DocumentRoute):
    """An operation that takes rows: a document or tensors in memory, or a CSV that may be as large
    as an upload."""

    def bounded(self, request: Request) -> Request:
        settings = request.app.state.resources.settings
        media_type, _ = content_type(request)
        name = "max_upload_bytes" if media_type in (CSV, FORM) else "max_body_bytes"
        limit = getattr(settings, name)
        too_large = TooLarge(f"The body is larger than {name}, {limit} bytes.")
        return Request(request.scope, Bounded(request.receive, limit, too_large))
