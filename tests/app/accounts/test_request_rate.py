"""The limit of requests: by key, exact under concurrency, shared through Redis."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
from fastapi.testclient import TestClient
from house_api import become, serving
from services import RedisServer

from app.settings import Settings

MOST = 7
PATH = "/v1/whoami"


def limited(folder: Path, database_url: str, broker_url: str = "") -> Settings:
    return Settings(
        data_dir=folder,
        database_url=database_url,
        broker_url=broker_url,
        max_requests_per_minute=MOST,
    )


def send(client: TestClient, count: int) -> list[int]:
    """The statuses of requests at the same time."""
    with ThreadPoolExecutor(count) as pool:
        return sorted(pool.map(lambda _: client.get(PATH).status_code, range(count)))


def told(response: httpx.Response) -> tuple[int, int]:
    """What is left, and the seconds until there is more."""
    assert response.headers["RateLimit-Policy"] == f'"minute";q={MOST};w=60'
    found = re.fullmatch(r'"minute";r=(\d+);t=(\d+)', response.headers["RateLimit"])
    assert found is not None
    return int(found[1]), int(found[2])


def test_each_key_has_its_own_limit(tmp_path: Path, sqlite_url: str) -> None:
    with serving(limited(tmp_path, sqlite_url)) as client:
        become(client, "a", "viewer")
        left = [told(client.get(PATH))[0] for _ in range(MOST)]
        assert left == [*range(MOST - 1, -1, -1)]
        refused = client.get(PATH)
        assert refused.status_code == 429
        assert refused.headers["content-type"] == "application/problem+json"
        assert "max_requests_per_minute" in refused.json()["detail"]
        assert told(refused) == (0, int(refused.headers["Retry-After"]))
        assert client.get("/healthz").status_code == 200
        become(client, "a", "viewer")
        assert told(client.get(PATH))[0] == MOST - 1


def test_without_keys_an_address_has_a_limit(tmp_path: Path, sqlite_url: str) -> None:
    with serving(limited(tmp_path, sqlite_url)) as client:
        assert send(client, 2 * MOST) == [200] * MOST + [429] * MOST


def test_processes_count_together_in_redis(
    tmp_path: Path, sqlite_url: str, redis_server: RedisServer
) -> None:
    settings = limited(tmp_path, sqlite_url, redis_server.url)
    with ExitStack() as stack:
        first, second = (stack.enter_context(serving(settings)) for _ in range(2))
        statuses = send(first, MOST - 2) + send(second, MOST)
        assert sorted(statuses) == [200] * MOST + [429] * (MOST - 2)
        redis_server.stop()
        assert send(second, MOST + 1) == [200] * MOST + [429]


def test_without_a_limit_nothing_is_told(client: TestClient) -> None:
    assert not any(name.startswith("ratelimit") for name in client.get(PATH).headers)
