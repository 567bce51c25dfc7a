"""Answers that are read from open files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class Closable(Protocol):
    def close(self) -> None: ...


class SentFiles(StreamingResponse):
    """Sends pieces of open files, and closes these however the answer ends. After a HEAD nothing
    has begun to read, so the iterator that reads could not close them."""

    def __init__(self, pieces: Iterable[bytes], files: Sequence[Closable], **options: Any) -> None:
        super().__init__(pieces, **options)
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            for file in self._files:
                file.close()
