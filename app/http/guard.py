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
from app.http.problems import problem_response
from app.settings import host_name

Authority = tuple[str, int | None]

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# https://www.w3.org/TR/fetch-metadata/: where the page that sent the request came from. Browsers
# send it to https and to localhost only, and some not at all; `Origin` came years earlier.
OWN_SITE = ("same-origin", "none")
DEFAULT_PORTS = {"http": 80, "https": 443}


class Guard:
    """ASGI middleware. `allowed_hosts`: names that the service is reached under, beside loopback.

    Starlette's TrustedHostMiddleware would answer with plain text.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: frozenset[str]) -> None:
        self._app = app
        self._allowed_hosts = allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (reason := self._refusal(scope)) is not None:
            response = problem_response(Request(scope), Forbidden(reason))
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        # Only HTTP/1.0 may leave it out, which no browser speaks.
        sent = headers.getlist("Host") or [scope["server"][0]]
        try:
            [own] = map(authority, sent)
        except ValueError:
            return "Host must be one name or address, with or without a port."
        # A page can give its own name this machine's address, and is then of the same origin.
        if not is_loopback(own[0]) and own[0] not in self._allowed_hosts:
            return (
                f"This server does not answer to the name {own[0]}. If it is yours, set "
                f"FOLDHOUSE_ALLOWED_HOSTS={own[0]} where the server is started; commas separate "
                "several names."
            )
        if scope["method"] not in SAFE_METHODS and (page := _page_elsewhere(headers, own)):
            return f"A web page of another site ({page}) may not send {scope['method']} here."
        return None


def _page_elsewhere(headers: Headers, own: Authority) -> str | None:
    """What the request says of a page that sent it, unless that is a page of this server."""
    for site in headers.getlist("Sec-Fetch-Site"):
        if site not in OWN_SITE:
            return f"Sec-Fetch-Site: {site}"
    for name in ("Origin", "Referer"):
        if pages := headers.getlist(name):
            foreign = next((page for page in pages if not _is_of(page, own)), None)
            return None if foreign is None else f"{name}: {foreign}"
    return None


def _is_of(page: str, own: Authority) -> bool:
    """Whether the address of a page has this host and port. `null`, which a browser sends for a
    page that it gives no origin, has none."""
    try:
        parts = urlsplit(page)
        name, port = authority(parts.netloc)
    except ValueError:
        return False
    default = DEFAULT_PORTS.get(parts.scheme)
    # Behind a proxy only the page knows whether the port left out is that of https.
    return default is not None and (name, port or default) == (own[0], own[1] or default)


@lru_cache(maxsize=64)
def authority(text: str) -> Authority:
    """The name and the port of `name`, `name:port` or `[address]:port`; raises ValueError.

    >>> authority("Localhost:8000"), authority("[::1]"), authority("houses.example.")
    (('localhost', 8000), ('::1', None), ('houses.example', None))
    """
    parts = urlsplit(f"//{text}")
    if parts.netloc != text or "@" in text or parts.hostname is None:
        raise ValueError(f"must be a host's name or address, got {text!r}")
    return host_name(parts.hostname), parts.port


@lru_cache(maxsize=64)
def is_loopback(name: str) -> bool:
    """Whether a name in the spelling of `host_name` is this machine's own."""
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
