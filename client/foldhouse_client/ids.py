"""What an id belongs to."""

from __future__ import annotations


def is_sweep(run_id: str) -> bool:
    """Whether an id is a sweep's and not a job's."""
    return run_id.startswith("swp_")
