"""Identifiers: a prefix that names the kind, and a ULID, so that ids sort by creation."""

from __future__ import annotations

from typing import Literal

from ulid import ULID

Prefix = Literal["ds", "job", "mdl", "shd", "wrk", "key", "api", "whk", "msg", "les", "swp"]


def new_id(prefix: Prefix) -> str:
    return f"{prefix}_{str(ULID()).lower()}"


def is_sweep(job_id: str) -> bool:
    """Whether what trained a model was a sweep."""
    return job_id.startswith("swp_")
