"""Serves the files that pages load. Their addresses change with their bytes."""

from __future__ import annotations

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.web.rendering import ASSETS

FOR_EVER = "public, max-age=31536000, immutable"


class Assets(StaticFiles):
    """The folder `assets`. Without the digest in the query a browser asks again."""

    def __init__(self) -> None:
        super().__init__(directory=ASSETS)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if scope["query_string"] and response.status_code == 200:
            response.headers["Cache-Control"] = FOR_EVER
        return response
