"""Keeps the web pages of other sites out. Requests carry no key, and a browser on this machine
sends whatever a page asks it to."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import Forbidden
from app.problems import problem_response

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# https://www.w3.org/TR/fetch-metadata/: where the page that sent the request came from.
OTHER_SITES = ("cross-site", "same-site")


class Guard:
    """ASGI middleware. `any_host`: the service is meant to be reached under other names.

    Starlette's TrustedHostMiddleware would answer with plain text.
    """

    def __init__(self, app: ASGIApp, any_host: bool) -> None:
        self._app = app
        self._any_host = any_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (reason := self._refusal(scope)) is not None:
            response = problem_response(Request(scope), Forbidden(reason))
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        # A page can give its own name this machine's address, and is then of the same site.
        host = headers.get("Host") or scope["server"][0]
        if not self._any_host and not _is_loopback(host):
            return (
                f"This server answers to localhost and 127.0.0.1, not to {host}: where others "
                "may reach it, set FOLDHOUSE_TRUSTED_NETWORK=true."
            )
        site = headers.get("Sec-Fetch-Site")
        if scope["method"] not in SAFE_METHODS and site in OTHER_SITES:
            return f"A web page of another site ({site}) may not send {scope['method']} here."
        return None


@lru_cache(maxsize=64)
def _is_loopback(host: str) -> bool:
    """Whether a Host header, a name or an address with or without a port, is this machine."""
    try:
        name = urlsplit(f"//{host}").hostname
        return name == "localhost" or ip_address(name or "").is_loopback
    except ValueError:
        return False
