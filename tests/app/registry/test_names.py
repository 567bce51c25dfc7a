"""What is remembered of the names that clients ask for."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from house_api import resources_of, train

from app.registry import names

ROWS = {"rows": [{"Area": 100, "Quality": 5, "Zone": "north"}]}


def test_names_are_bounded_and_those_that_lead_nowhere_are_not_kept(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "MOST_NAMES", 3)
    model = train(client, tmp_path)
    known = resources_of(client).names._known
    for number in range(20):
        assert client.post(f"/v1/predict?model=none{number}", json=ROWS).status_code == 404
    assert not known
    for number in range(10):
        client.put(f"/v1/aliases/a{number}", json={"model_id": model}).raise_for_status()
    for number in range(10):
        assert client.post(f"/v1/predict?model=a{number}", json=ROWS).status_code == 200
        assert 1 <= len(known) <= 3
