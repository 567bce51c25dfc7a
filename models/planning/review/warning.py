"""A warning of a review."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SpecWarning:
    """A setting that trains but is probably not intended."""

    code: str
    detail: str
    column: str | None = None
