"""Rows for the protocols to predict, and what /v1/predict says of them."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

# A whole row, one that is odd in all its cells, and one with missing cells.
COLUMNS: dict[str, list[Any]] = {
    "Area": [100.125, 1e4, None],
    "Quality": [3, -1, None],
    "Zone": ["south", "west", None],
}
ROWS = [dict(zip(COLUMNS, cells, strict=True)) for cells in zip(*COLUMNS.values(), strict=True)]


def predict(client: TestClient, **params: Any) -> dict[str, list[Any]]:
    """The answer of /v1/predict, column by column."""
    return by_column(client.post("/v1/predict", json={"rows": ROWS}, params=params))


def by_column(response: Any) -> dict[str, list[Any]]:
    """A PredictionsOut as the protocols give it."""
    assert response.status_code == 200, response.text
    found = response.json()["predictions"]
    return {
        "value": [row["value"] for row in found],
        "low": [row["interval"]["low"] for row in found],
        "high": [row["interval"]["high"] for row in found],
        "warnings": [
            "; ".join(f"{odd['code']} {odd['column'] or ''}".rstrip() for odd in row["warnings"])
            for row in found
        ],
    }
