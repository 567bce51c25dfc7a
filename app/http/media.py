"""The media type of a body, and the choice between CSV and JSON for an answer."""

from __future__ import annotations

from functools import lru_cache

from fastapi import Request
from python_multipart.multipart import parse_options_header

from app.errors import UnsupportedMedia

CSV = "text/csv"
JSON = "application/json"
FORM = "multipart/form-data"
BINARY = "application/octet-stream"


def content_type(request: Request) -> tuple[str, dict[bytes, bytes]]:
    """The media type in a request's Content-Type, "" if there is none, and its options."""
    return parsed(request.headers.get("Content-Type"))


@lru_cache(maxsize=64)
def parsed(header: str | bytes | None) -> tuple[str, dict[bytes, bytes]]:
    """The media type in such a header, and its options."""
    media_type, options = parse_options_header(header)
    return media_type.decode("latin-1"), options


def refuse_compressed(request: Request) -> None:
    """Raises UnsupportedMedia: a few compressed kilobytes could expand to fill a disk."""
    encoding = ", ".join(request.headers.getlist("Content-Encoding"))
    if encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedMedia(
            f"Content-Encoding is {encoding}, and bodies are read as they come: send it "
            "uncompressed."
        )


def wants_csv(accept: str | None, default: bool) -> bool:
    """Whether the Accept header prefers CSV to JSON; `default` where it does not say.

    >>> wants_csv("text/csv", default=False), wants_csv("*/*", default=False)
    (True, False)
    >>> wants_csv("application/json;q=0.5, text/*", default=False)
    True
    """
    if not accept:
        return default
    weights = _weights(accept)
    csv, json = _quality(weights, CSV), _quality(weights, JSON)
    return default if csv == json else csv > json


def _weights(accept: str) -> dict[str, float]:
    weights = {}
    for part in accept.split(","):
        media_type, *parameters = (text.strip().lower() for text in part.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            weights[media_type] = float(quality)
        except ValueError:
            weights[media_type] = 0.0
    return weights


def _quality(weights: dict[str, float], media_type: str) -> float:
    main = media_type.split("/")[0]
    for pattern in (media_type, f"{main}/*", "*/*"):
        if pattern in weights:
            return weights[pattern]
    return 0.0
