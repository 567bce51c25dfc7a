"""Renders pages, and problems as pages."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from app.errors import ProblemDocument
from app.http.compressed import CompressedRoute
from app.http.deps import SENDER
from app.http.prefix import ROOT
from app.web import formats

ASSETS = Path(__file__).parent / "assets"
ASSETS_PATH = "/assets"

# Vega writes style attributes. Its expressions run in its interpreter, so no script is evaluated.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store", "Vary": "Accept"}

markdown = MarkdownIt("commonmark", {"html": False}).enable("table")


class PageRoute(CompressedRoute):
    """A page's route: its problems are pages too."""

    def write_problem(self, document: ProblemDocument, headers: dict[str, str]) -> Response:
        return problem_page(document, headers)


def page(template: str, **context: Any) -> HTMLResponse:
    """A page. `section`, one of the context, is the part of the navigation that it belongs to."""
    text = environment().get_template(template).render(**context)
    return HTMLResponse(text, headers=HEADERS)


def problem_page(document: ProblemDocument, headers: dict[str, str]) -> Response:
    text = environment().get_template("problem.html").render(problem=document, section=None)
    return HTMLResponse(text, document.status, {**headers, **HEADERS})


@cache
def environment() -> Environment:
    found = Environment(
        loader=PackageLoader("app.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(formats.FILTERS)
    found.filters["markdown"] = lambda text: Markup(markdown.render(text))
    found.globals |= {
        "asset": lambda name: ROOT.get() + asset(name),
        "integrity": integrity,
        "root": ROOT.get,
        "sender": SENDER.get,
    }
    return found


@cache
def asset(name: str) -> str:
    """The path of a file in `assets`, which changes with its bytes, so that browsers may keep
    it for ever."""
    digest = hashlib.sha256((ASSETS / name).read_bytes()).hexdigest()[:12]
    return f"{ASSETS_PATH}/{name}?{digest}"


@cache
def integrity(file: str) -> str:
    """The digest of a library's file, by which browsers check it."""
    known = json.loads((ASSETS / "vendor" / "vendor.json").read_text())
    return next(str(each["integrity"]) for each in known if each["file"] == file)
