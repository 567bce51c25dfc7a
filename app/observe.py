"""Around every request: its id, its numbers, and an answer when something unforeseen happens."""

from __future__ import annotations

import logging
import time

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from app.operations.metrics import Metrics
from app.problems import internal_error

log = logging.getLogger(__name__)

NO_SNIFFING = (b"x-content-type-options", b"nosniff")
CLIENT_GONE = 499  # as nginx writes it down: nobody is there to answer


class Observe:
    """ASGI middleware, outside everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = str(ULID()).lower()
        status = 0

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = (b"x-request-id", request_id.encode())
                message["headers"] = [*message["headers"], own, NO_SNIFFING]
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        except ClientDisconnect:
            status = CLIENT_GONE
        except Exception:
            log.exception("request %s: %s %s", request_id, scope["method"], scope["path"])
            if status:
                raise  # half an answer has left: the connection must break
            response = internal_error(Request(scope), request_id)
            await response(scope, receive, send_noting)
        finally:
            # Not the path: a client could make up any number of them.
            route = getattr(scope.get("route"), "path", "unknown")
            metrics: Metrics = scope["app"].state.resources.metrics
            metrics.requests.labels(scope["method"], route, status).inc()
            metrics.seconds.labels(scope["method"], route).observe(time.perf_counter() - began)
