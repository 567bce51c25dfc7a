"""The cache of parsed profiles."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy.orm import Session

from app.datasets import profiles
from app.datasets.profiles import COLUMN_BYTES, Profiles
from app.errors import NotFound
from models.tables.profile import profile
from models.tables.table import TypedTable


class Documents(Session):
    """One document a query, and None after the last."""

    def __init__(self, *columns: int) -> None:
        """How many columns each profile has."""
        self.left = [
            profile(TypedTable(pa.table({f"c{c}": [1.0, 2.0] for c in range(n)}), [], {}))
            for n in columns
        ]

    def scalar(self, *_: Any, **__: Any) -> Any:
        return self.left.pop(0).model_dump(mode="json") if self.left else None


def test_the_least_recently_used_makes_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "CAPACITY", 3 * COLUMN_BYTES)
    cache, documents = Profiles(), Documents(1, 2, 1)

    first, second = (cache.get(documents, name) for name in ("ds_1", "ds_2"))
    assert cache.get(documents, "ds_1") is first
    third = cache.get(documents, "ds_3")
    assert cache.get(documents, "ds_1") is first
    assert cache.get(documents, "ds_3") is third
    assert len(second.columns) == 2
    with pytest.raises(NotFound, match="no dataset ds_2"):
        cache.get(documents, "ds_2")


def test_one_larger_than_the_cache_is_kept_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "CAPACITY", 3 * COLUMN_BYTES)
    cache, documents = Profiles(), Documents(1, 4)

    cache.get(documents, "ds_1")
    large = cache.get(documents, "ds_2")
    assert cache.get(documents, "ds_2") is large
    with pytest.raises(NotFound):
        cache.get(documents, "ds_1")
