"""Which requests a browser could have been talked into."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from house_api import serving

from app.errors import PROBLEM_MEDIA_TYPE
from app.settings import Settings

HERE = ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "127.0.0.2", "[::1]", "[::1]:8000"]
ELSEWHERE = ["rebound.example", "rebound.example:8000", "192.0.2.1", "localhost.example", "[::2]"]


@pytest.mark.parametrize("host", HERE)
def test_loopback_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/v1/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ELSEWHERE)
def test_other_names_are_answered_on_a_trusted_network_alone(
    client: TestClient, settings: Settings, host: str
) -> None:
    refused = client.get("/v1/jobs", headers={"Host": host})
    with serving(settings.model_copy(update={"trusted_network": True})) as trusting:
        answered = trusting.get("/v1/jobs", headers={"Host": host})

    assert refused.status_code == 403
    assert refused.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
    assert "FOLDHOUSE_TRUSTED_NETWORK" in refused.json()["detail"]
    assert answered.status_code == 200


@pytest.mark.parametrize(
    ("site", "status"),
    [("cross-site", 403), ("same-site", 403), ("same-origin", 404), ("none", 404), (None, 404)],
)
@pytest.mark.parametrize("trusted_network", [False, True])
def test_pages_of_other_sites_change_nothing(
    settings: Settings, site: str | None, status: int, trusted_network: bool
) -> None:
    headers = {"Sec-Fetch-Site": site} if site else {}
    with serving(settings.model_copy(update={"trusted_network": trusted_network})) as client:
        changed = client.post("/v1/jobs/latest/cancel", headers=headers)
        read = client.get("/v1/jobs", headers=headers)

    assert changed.status_code == status
    assert changed.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
    assert read.status_code == 200
