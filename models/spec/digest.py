"""The SHA-256 by which a receipt names its spec."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def sha256_of(spec: dict[str, Any]) -> str:
    """Of a spec's document, whatever the order of its fields."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
