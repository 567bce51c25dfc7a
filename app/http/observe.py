"""Around every request: its id, its metrics, and an answer to unexpected errors."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from app.http.problems import internal_error

log = logging.getLogger(__name__)

Header = tuple[bytes, bytes]

POLICY = b"content-security-policy"
# No answer can be framed or embedded by another site's page, or leak its address in a Referer. With
# `no-referrer` a browser would send `Origin: null` with the forms of this server's own pages.
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
# A page that needs more sets its own policy.
DEFAULT_POLICY = (POLICY, b"default-src 'none'; frame-ancestors 'none'")
# https://www.rfc-editor.org/rfc/rfc9110#name-methods and PATCH. A client could make up others.
METHODS = frozenset("CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT TRACE".split())
CLIENT_GONE = 499  # nginx's status for a client that has gone
# Streams last as long as a job, which says nothing of how quickly requests are answered.
STREAM = b"text/event-stream"


class RequestMetrics:
    """The request metrics of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "foldhouse_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "foldhouse_http_request_duration_seconds",
            "From the request's head to the end of the answer; without streams of events.",
            ["method", "route"],
            registry=registry,
        )


class Observe:
    """ASGI middleware around everything that answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = str(ULID()).lower()
        method = scope["method"] if scope["method"] in METHODS else "other"
        status, is_stream = 0, False

        async def send_noting(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                is_stream = any(value.startswith(STREAM) for _, value in message["headers"])
                own = (b"x-request-id", request_id.encode())
                message["headers"] = [*secured(message["headers"]), own]
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        except ClientDisconnect:
            status = CLIENT_GONE
        except Exception:
            log.exception("request %s: %s %s", request_id, scope["method"], scope["path"])
            if status:
                raise  # part of the answer is sent, so the connection must break
            response = internal_error(Request(scope), request_id)
            await response(scope, receive, send_noting)
        finally:
            # Not the path: clients could invent any number of them.
            route = getattr(scope.get("route"), "path", "unknown")
            metrics: RequestMetrics = scope["app"].state.resources[RequestMetrics]
            metrics.requests.labels(method, route, status).inc()
            if not is_stream:
                metrics.seconds.labels(method, route).observe(time.perf_counter() - began)


def secured(headers: Iterable[Header]) -> list[Header]:
    """The headers of an answer, with the security headers for browsers."""
    found = [(name, _relative(value) if name == b"location" else value) for name, value in headers]
    if not any(name == POLICY for name, _ in found):
        found.append(DEFAULT_POLICY)
    return [*found, *SECURITY_HEADERS]


def _relative(location: bytes) -> bytes:
    """A Location without scheme and host. Starlette takes them from the request, but clients may
    reach a proxy under others."""
    parts = urlsplit(location)
    # Two slashes in front would be a host again.
    return urlunsplit((b"", b"", b"/" + parts.path.lstrip(b"/"), parts.query, b""))
