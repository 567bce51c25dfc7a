"""Notes for the audit every request that writes, and every one that is refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.accounts.audit import REFUSED, Audit
from app.accounts.chain import Entry
from app.http.deps import SENDER, SIGNED_IN, Principal
from app.http.guard import SAFE_METHODS
from app.http.observe import CLIENT_GONE, METHODS
from app.logs import CONTEXT

# Predictions, checks that create nothing, and the way to the identity provider.
WRITES_NOTHING = re.compile(
    r"/v1/(predict|models/[^/]+/predict|jobs:validate)|/invocations|/v2/models/[^/]+/infer"
    r"|/sign-in/start"
)
LONGEST = 255  # characters, of a path or an id
LONGEST_ADDRESS = 64


class Audited:
    """ASGI middleware, around everything that refuses and everything that answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        writes = scope["method"] not in SAFE_METHODS and not WRITES_NOTHING.fullmatch(scope["path"])
        is_answered = False

        async def send_noting(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":  # before the client has it
                is_answered = True
                if writes or message["status"] in REFUSED:
                    headers = dict(message["headers"])
                    note(message["status"], headers.get(b"location", b"").decode("latin-1"))
            await send(message)

        def note(status: int, location: str = "") -> None:
            scope["app"].state.resources[Audit].note(_entry(scope, status, location))

        try:
            await self._app(scope, receive, send_noting)
        finally:
            if writes and not is_answered:
                note(CLIENT_GONE)


def _entry(scope: Scope, status: int, location: str) -> Entry:
    sender: Principal | None = scope.get(SIGNED_IN) or SENDER.get()
    client = scope["client"]
    route: str | None = getattr(scope.get("route"), "path", None)
    return Entry(
        at=datetime.now(UTC),
        tenant=sender.tenant if sender else None,
        key_id=sender.key_id if sender else None,
        role=sender.role if sender else None,
        method=scope["method"] if scope["method"] in METHODS else "other",
        route=_printable(route or scope["path"]),
        object_id=_object_id(scope, location),
        address=client[0][:LONGEST_ADDRESS] if client else "",
        request_id=CONTEXT.get().get("request_id") or "",
        status=status,
        subject=sender.subject if sender else None,
        subject_name=sender.subject_name if sender else None,
    )


def _object_id(scope: Scope, location: str) -> str | None:
    """What was created, or is where the answer points; else what the path names."""
    if location:
        return _printable(urlsplit(location).path.rpartition("/")[2])
    named = scope.get("path_params") or {}
    return _printable("/".join(map(str, named.values()))) or None


def _printable(text: str) -> str:
    """PostgreSQL refuses some characters, and a terminal obeys others."""
    shown = (one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text[:LONGEST])
    return "".join(shown)
