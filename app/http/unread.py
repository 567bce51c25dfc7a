"""Request bodies that are not read to the end, because the request was refused."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER = 5.0  # s
CLOSE = (b"connection", b"close")


class Unread:
    """ASGI middleware: closes a connection whose answer was sent before the whole body arrived.

    Otherwise a client could keep the connection for ever by sending a byte now and then. Closing a
    socket while bytes still arrive resets the connection, and the client may never see the answer
    (RFC 9112, 9.6). So what arrives within a few seconds is read and discarded first.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        is_whole = is_early = False

        async def receive_noting() -> Message:
            nonlocal is_whole
            message = await receive()
            is_whole = is_whole or not message.get("more_body", False)
            return message

        async def send_closing(message: Message) -> None:
            nonlocal is_early
            if message["type"] == "http.response.start" and not is_whole:
                is_early = True
                message["headers"] = [*message["headers"], CLOSE]
            elif is_early and not message.get("more_body", False):
                # With a Content-Length the client has all of the answer now.
                await send({**message, "more_body": True})
                await discard()
                message = {"type": "http.response.body"}
            await send(message)

        async def discard() -> None:
            try:
                async with asyncio.timeout(LINGER):
                    while not is_whole:
                        await receive_noting()
            except TimeoutError:
                pass

        await self._app(scope, receive_noting, send_closing)


def _has_body(scope: Scope) -> bool:
    return any(
        (name == b"content-length" and length != b"0") or name == b"transfer-encoding"
        for name, length in scope["headers"]
    )
