"""If-None-Match: a client that kept an answer asks whether it is still right."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header, Response

from app.http.parameters import PRINTABLE

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "It still is what If-None-Match names."}
}

IfNoneMatchHeader = Annotated[
    str | None,
    Header(
        alias="If-None-Match",
        min_length=1,
        max_length=255,
        pattern=PRINTABLE,
        description="ETags of what you have. If one of them is still right, the answer is 304.",
    ),
]


def is_unchanged(sha256: str, if_none_match: str | None) -> bool:
    """Whether If-None-Match names what has this digest (RFC 9110, 13.1.2). The comparison is weak:
    `W/` in front makes no difference."""
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return "*" in tags or f'"{sha256}"' in tags


def not_modified(sha256: str) -> Response:
    return Response(status_code=304, headers={"ETag": etag(sha256)})


def etag(sha256: str) -> str:
    """Weak, because an answer that is compressed has other bytes."""
    return f'W/"{sha256}"'
