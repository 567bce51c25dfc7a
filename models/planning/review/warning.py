"""What a review finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SpecWarning:
    """Something that trains but may not be meant."""

    code: str
    detail: str
    column: str | None = None
