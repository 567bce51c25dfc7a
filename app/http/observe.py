"""Around every request: its id, its metrics, and an answer to unexpected errors."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from secrets import token_hex
from urllib.parse import urlsplit, urlunsplit

from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.deps import SENDER
from app.http.prefix import ROOT
from app.http.problems import internal_error
from app.logs import CONTEXT, facts

log = logging.getLogger(__name__)
requests = logging.getLogger("foldhouse.requests")

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
# What a log line holds of a client's own id, and the trace of https://www.w3.org/TR/trace-context/.
REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
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
        request_id, trace_id = _ids(scope["headers"])
        CONTEXT.set({"request_id": request_id, "trace_id": trace_id})
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
            log.exception("%s %s failed", scope["method"], scope["path"])
            if status:
                raise  # part of the answer is sent, so the connection must break
            response = internal_error(Request(scope), request_id)
            await response(scope, receive, send_noting)
        finally:
            # Not the path: clients could invent any number of them.
            route = getattr(scope.get("route"), "path", "unknown")
            metrics: RequestMetrics = scope["app"].state.resources[RequestMetrics]
            seconds = time.perf_counter() - began
            metrics.requests.labels(method, route, status).inc()
            if not is_stream:
                metrics.seconds.labels(method, route).observe(seconds)
            if requests.isEnabledFor(logging.INFO):
                _log(scope, method, route, status, seconds)


def _ids(headers: Iterable[Header]) -> tuple[str, str | None]:
    """The request's id, the client's own if it sent one that a log can hold, and the id of the
    trace that it belongs to."""
    request_id, trace_id = None, None
    for name, value in headers:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            request_id = value.decode()
        elif name == b"traceparent" and (found := TRACEPARENT.fullmatch(value)):
            trace_id = found.group(1).decode()
    return request_id or token_hex(16), trace_id


def _log(scope: Scope, method: str, route: str, status: int, seconds: float) -> None:
    """One line for each request. The path itself may hold names that are nobody else's business."""
    sender = SENDER.get()
    requests.info(
        "%s %s %d",
        method,
        route,
        status,
        extra=facts(
            method=method,
            route=route,
            status=status,
            seconds=round(seconds, 6),
            tenant=None if sender is None else sender.tenant,
            key=None if sender is None else sender.key_id,
            subject=None if sender is None else sender.subject,
            client=scope["client"][0] if scope["client"] else None,
        ),
    )


def secured(headers: Iterable[Header]) -> list[Header]:
    """The headers of an answer, with the security headers for browsers."""
    found = [(name, _relative(value) if name == b"location" else value) for name, value in headers]
    if not any(name == POLICY for name, _ in found):
        found.append(DEFAULT_POLICY)
    return [*found, *SECURITY_HEADERS]


def _relative(location: bytes) -> bytes:
    """A Location without scheme and host. Starlette takes them from the request, but clients may
    reach a proxy under others, and with a prefix."""
    parts = urlsplit(location)
    # Two slashes in front would be a host again.
    path = ROOT.get().encode() + b"/" + parts.path.lstrip(b"/")
    return urlunsplit((b"", b"", path, parts.query, b""))
