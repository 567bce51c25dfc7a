"""Request bodies: bounded while they arrive, in bytes and in time, and JSON that is JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json

from app.errors import TooLarge, TooSlow
from app.media import CSV, FORM, content_type

# Bytes of a spec: the names of two thousand columns fit. FastAPI checks it on the event loop, where
# a megabyte of mistakes would keep all other requests waiting for five seconds.
MAX_DOCUMENT = 256 * 1024


# A client that keeps a request open must send: so many bytes in every so many seconds. A modem is
# faster.
PATIENCE = 30.0  # s
LEAST = 32 * 1024  # bytes


async def bounded(
    body: AsyncIterator[bytes], limit: int, too_large: TooLarge
) -> AsyncGenerator[bytes, None]:
    """A body as it arrives, as long as it keeps within `limit` bytes and comes fast enough.

    Raises
    ------
    TooLarge, TooSlow
    """
    clock = asyncio.get_running_loop()
    size, due, deadline = 0, LEAST, clock.time() + PATIENCE
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                chunk = await anext(body, None)
        except TimeoutError:
            raise TooSlow(
                f"Of the body {size} bytes have come, and hardly any for {PATIENCE:g} seconds. "
                f"Send at least {LEAST} bytes in that time."
            ) from None
        if chunk is None:
            return
        size += len(chunk)
        if size >= due:
            due, deadline = size + LEAST, clock.time() + PATIENCE
        if size > limit:
            raise too_large
        yield chunk


class DocumentRequest(Request):
    """Its body is one JSON document, such as a spec."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        too_large = TooLarge(f"The body is larger than {MAX_DOCUMENT} bytes, the most for a spec.")
        async for chunk in bounded(super().stream(), MAX_DOCUMENT, too_large):
            yield chunk

    async def json(self) -> Any:
        """Stricter than the standard library: no NaN, no lone surrogates, bounded nesting."""
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from None


class RowsRequest(Request):
    """Its body holds rows to price: a document or tensors in memory, or a CSV that may be as large
    as an upload; whatever its Content-Length says."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        settings = self.app.state.resources.settings
        media_type, _ = content_type(self)
        name = "max_upload_bytes" if media_type in (CSV, FORM) else "max_body_bytes"
        limit = getattr(settings, name)
        too_large = TooLarge(f"The body is larger than {name}, {limit} bytes.")
        async for chunk in bounded(super().stream(), limit, too_large):
            yield chunk


class DocumentRoute(APIRoute):
    """An operation that takes a JSON document, or nothing."""

    request_class: type[Request] = DocumentRequest

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answer_bounded(request: Request) -> Response:
            return await answer(self.request_class(request.scope, request.receive))

        return answer_bounded


class RowsRoute(DocumentRoute):
    """An operation that takes rows."""

    request_class = RowsRequest
