"""The service under a path of a reverse proxy, `FOLDHOUSE_ROOT_PATH`. In here no path has that
prefix, so that routes, roles and the audit know one spelling. Each address that leaves gets it:
`Location` in `app.http.observe`, pages' links by `root()`, scripts' by `address` of api.js."""

from __future__ import annotations

from contextvars import ContextVar

from starlette.types import ASGIApp, Receive, Scope, Send

ROOT: ContextVar[str] = ContextVar("root", default="")


class Prefix:
    """ASGI middleware, around everything else. Some proxies strip the prefix, others pass it on.

    Starlette's `root_path` would need it in every path that the middleware here compares, and finds
    no mounted file without it.
    """

    def __init__(self, app: ASGIApp, root: str) -> None:
        self._app = app
        self._root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            ROOT.set(self._root)
            if f"{scope['path']}/".startswith(f"{self._root}/"):
                scope["path"] = scope["path"].removeprefix(self._root) or "/"
        await self._app(scope, receive, send)
