"""HEAD and OPTIONS for every path, so that no operation has to declare them."""

from __future__ import annotations

from fastapi import FastAPI, Response
from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
READING = ("GET", "HEAD")


def allowed(app: FastAPI, scope: Scope) -> list[str]:
    """The methods that a path allows, over all of its routes, sorted; [] for an unknown path."""
    # A folder of files sees its own part of the path.
    whole = {**scope, "root_path": scope.get("app_root_path", scope["root_path"])}
    found = {method for method in METHODS if _is_answered(app, whole, method)}
    if "GET" in found:
        found.add("HEAD")
    return sorted(found | {"OPTIONS"}) if found else []


def _is_answered(app: FastAPI, scope: Scope, method: str) -> bool:
    for route in app.routes:
        matches = route.matches({**scope, "method": method})[0] is Match.FULL
        # A folder of files matches any method, only to refuse it.
        if matches and (method in READING or not isinstance(route, Mount)):
            return True
    return False


class Methods:
    """ASGI middleware: HEAD is GET without the body, OPTIONS lists the methods of a path.

    A preflight from another origin (https://fetch.spec.whatwg.org/#cors-preflight-fetch) gets no
    CORS headers, so the browser does not send its request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope.get("method")  # only of http
        if method == "OPTIONS" and (methods := allowed(scope["app"], scope)):
            response = Response(status_code=204, headers={"Allow": ", ".join(methods)})
            await response(scope, receive, send)
        elif method == "HEAD":
            # Changed in place: outer middleware reads the matched route from the same scope.
            scope["method"] = "GET"
            try:
                await self._app(scope, receive, _head_only(send))
            finally:
                scope["method"] = method
        else:
            await self._app(scope, receive, send)


def _head_only(send: Send) -> Send:
    """Ends the answer at the first piece of its body. The server then cancels a streaming
    response that has already started, so that it closes its file."""
    has_ended = False

    async def send_head(message: Message) -> None:
        nonlocal has_ended
        if message["type"] == "http.response.start":
            await send(message)
        elif not has_ended:
            has_ended = True
            await send({"type": "http.response.body"})

    return send_head
