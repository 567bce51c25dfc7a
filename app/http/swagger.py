"""Swagger UI, in a page that may load and run only what this server serves."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

PATH = "/docs"
ASSETS = "/static-offline-docs"

# Swagger UI writes style attributes and draws its icons from data URLs.
POLICY = (
    "default-src 'none'; script-src 'self' 'sha256-{hash}'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def add_page(app: FastAPI, root: str) -> None:
    """fastapi-offline's page cannot have a header of its own."""
    page = get_swagger_ui_html(
        openapi_url=f"{root}{app.openapi_url}",
        title=f"{app.title} - Swagger UI",
        swagger_js_url=f"{root}{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{root}{ASSETS}/favicon.png",
    )
    text = bytes(page.body).decode()
    [script] = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    policy = POLICY.format(hash=b64encode(hashlib.sha256(script.encode()).digest()).decode())

    @app.get(PATH, include_in_schema=False)
    async def _docs() -> HTMLResponse:
        return HTMLResponse(text, headers={"Content-Security-Policy": policy})
