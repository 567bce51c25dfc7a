"""Request bodies: bounded while they arrive, and JSON that is JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json

from app.errors import TooLarge

# Bytes of a spec: the names of two thousand columns fit. FastAPI checks it on the event loop, where
# a megabyte of mistakes would keep all other requests waiting for five seconds.
MAX_DOCUMENT = 256 * 1024


class BoundedRequest(Request):
    """Refuses a body above `max_body_bytes`, whatever its Content-Length says."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        limit = self.app.state.resources.settings.max_body_bytes
        size = 0
        async for chunk in super().stream():
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"The body is larger than max_body_bytes, {limit} bytes.")
            yield chunk

    async def json(self) -> Any:
        """Stricter than the standard library: no NaN, no lone surrogates, bounded nesting."""
        body = await self.body()
        if len(body) > MAX_DOCUMENT:
            raise TooLarge(f"The body is larger than {MAX_DOCUMENT} bytes, the most for a spec.")
        try:
            return from_json(body, allow_inf_nan=False)
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from None


class BoundedRoute(APIRoute):
    """An operation whose body fits into memory: every one but the upload of a table."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            return await answer(BoundedRequest(request.scope, request.receive))

        return bounded
