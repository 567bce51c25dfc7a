"""Parameters that several operations take."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header, Path

# Stands for the dataset that was uploaded last, the newest job or the newest model.
LATEST = "latest"

# PostgreSQL refuses NUL in text.
ID_PATTERN = r"^[A-Za-z0-9_.-]{1,64}$"
PRINTABLE = r"^[^\x00-\x1f]*$"

# Operations that answer in two formats tell so in their responses.
Accept = Annotated[str | None, Header(include_in_schema=False)]

IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=PRINTABLE,
        description="A text of the client's own, such as a UUID: a repeated request with the same "
        "key and body answers the same and creates nothing.",
    ),
]


def name_path(example: str, description: str, pattern: str = ID_PATTERN) -> Any:
    """A path parameter that names something; Swagger UI fills in the example."""
    return Path(
        pattern=pattern, description=description, openapi_examples={example: {"value": example}}
    )
