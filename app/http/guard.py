"""Refuses requests from web pages of other sites. A browser on this machine sends whatever a
page asks it to, also where no key is needed."""

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
# https://www.w3.org/TR/fetch-metadata/: the site of the page that sent the request. Browsers send
# it only to https and localhost, and some never do; `Origin` is years older.
OWN_SITE = ("same-origin", "none")
DEFAULT_PORTS = {"http": 80, "https": 443}


class Guard:
    """ASGI middleware. `allowed_hosts`: the names under which the service is reached, besides
    loopback.

    Starlette's TrustedHostMiddleware would answer in plain text.
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
        # Only HTTP/1.0 may omit it, and no browser uses HTTP/1.0.
        sent = headers.getlist("Host") or [scope["server"][0]]
        try:
            [own] = map(authority, sent)
        except ValueError:
            return "The Host header must be one name or address, with or without a port."
        # DNS rebinding: a site can resolve its own name to this machine, and is then same-origin.
        if not is_loopback(own[0]) and own[0] not in self._allowed_hosts:
            return (
                f"The host name {own[0]} is not allowed. If it is yours, set "
                f"FOLDHOUSE_ALLOWED_HOSTS={own[0]} where you start the server. Commas separate "
                "several names."
            )
        if scope["method"] not in SAFE_METHODS and (page := _page_elsewhere(headers, own)):
            return f"Web pages of other sites ({page}) may not send {scope['method']} requests."
        return None


def _page_elsewhere(headers: Headers, own: Authority) -> str | None:
    """The header that names the sending page, unless it is a page of this server."""
    for site in headers.getlist("Sec-Fetch-Site"):
        if site not in OWN_SITE:
            return f"Sec-Fetch-Site: {site}"
    for name in ("Origin", "Referer"):
        if pages := headers.getlist(name):
            foreign = next((page for page in pages if not _is_of(page, own)), None)
            return None if foreign is None else f"{name}: {foreign}"
    return None


def _is_of(page: str, own: Authority) -> bool:
    """Whether a page's address has this host and port. `null`, which browsers send for a page
    without an origin, has neither."""
    try:
        parts = urlsplit(page)
        name, port = authority(parts.netloc)
    except ValueError:
        return False
    default = DEFAULT_PORTS.get(parts.scheme)
    # Behind a proxy only the page's scheme says which default port a name without a port means.
    return default is not None and (name, port or default) == (own[0], own[1] or default)


@lru_cache(maxsize=64)
def authority(text: str) -> Authority:
    """The name and port of `name`, `name:port` or `[address]:port`; raises ValueError.

    >>> authority("Localhost:8000"), authority("[::1]"), authority("houses.example.")
    (('localhost', 8000), ('::1', None), ('houses.example', None))
    """
    parts = urlsplit(f"//{text}")
    if parts.netloc != text or "@" in text or parts.hostname is None:
        raise ValueError(f"must be a host's name or address, got {text!r}")
    return host_name(parts.hostname), parts.port


@lru_cache(maxsize=64)
def is_loopback(name: str) -> bool:
    """Whether a name, in the spelling of `host_name`, means this machine."""
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
