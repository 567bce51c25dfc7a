"""What all parts of a spec have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class SpecModel(BaseModel):
    """Refuses unknown fields, NaN, infinity, and texts or booleans instead of numbers."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


def rename(data: Any, names: dict[str, str]) -> Any:
    """Replace short field names by the full ones, refusing a field given under both."""
    if not isinstance(data, dict):
        return data
    renamed = dict(data)
    for short, full in names.items():
        if short in renamed:
            if full in renamed:
                raise ValueError(f"'{short}' is short for '{full}': give one of them, not both")
            renamed[full] = renamed.pop(short)
    return renamed
