"""Identifiers: a prefix that names the kind, and a ULID, so that ids sort by creation."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from ulid import ULID

Prefix = Literal["ds", "job", "mdl", "shd", "wrk", "key", "api", "whk", "msg", "les", "swp"]


def new_id(prefix: Prefix) -> str:
    return f"{prefix}_{str(ULID()).lower()}"


def id_of(prefix: Prefix, moment: datetime) -> str:
    """One that sorts after those of earlier moments."""
    return f"{prefix}_{str(ULID.from_datetime(moment)).lower()}"


def is_sweep(job_id: str) -> bool:
    """Whether what trained a model was a sweep."""
    return job_id.startswith("swp_")
