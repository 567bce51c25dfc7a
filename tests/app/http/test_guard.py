"""Which requests a browser could have been talked into."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from house_api import serving
from pydantic import ValidationError

from app.errors import PROBLEM_MEDIA_TYPE
from app.settings import Settings

HERE = [
    "localhost",
    "LOCALHOST:8000",
    "localhost.:8000",
    "127.0.0.1:8000",
    "127.0.0.2",
    "[::1]",
    "[::1]:8000",
    "[::ffff:127.0.0.1]",
]
ELSEWHERE = ["rebound.example", "rebound.example:8000", "192.0.2.1", "localhost.example", "[::2]"]
NO_HOSTS = ["", "a b", "localhost/", "me@localhost", "localhost:port", "[::1", "*", "a" * 254]

OWN = "http://houses.example:8000"
FOREIGN_PAGES = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": OWN},
    {"Origin": "http://evil.example"},
    {"Origin": "http://evil.example:8000"},
    {"Origin": "http://houses.example"},  # another port is another origin
    {"Origin": "http://houses.example:8001"},
    {"Origin": "http://houses.example.evil.example:8000"},
    {"Origin": "http://houses.example:8000@evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "file://"},
    {"Origin": f"{OWN} http://evil.example"},
    {"Origin": "http://evil.example", "Referer": f"{OWN}/docs"},
    {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
    {"Referer": "http://evil.example/houses.example:8000"},
    {"Referer": "about:blank"},
]
OWN_PAGES = [
    {},  # no browser
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": OWN},
    {"Origin": "HTTP://Houses.Example:8000"},
    {"Referer": f"{OWN}/docs"},
    {"Origin": OWN, "Referer": f"{OWN}/docs", "Sec-Fetch-Site": "same-origin"},
]


@pytest.fixture
def named(settings: Settings) -> Iterator[TestClient]:
    """A service that is reached under names of its own, and listens to a trusted network."""
    hosts = " houses.example , Other.Example,192.0.2.7"
    given = settings.model_dump() | {"allowed_hosts": hosts, "trusted_network": True}
    with serving(Settings(**given)) as client:
        yield client


def test_only_loopback_and_allowed_names_are_answered(named: TestClient) -> None:
    for host in [*HERE, "houses.example", "OTHER.example:81", "192.0.2.7:8000"]:
        assert named.get("/v1/jobs", headers={"Host": host}).status_code == 200, host
    for host in ELSEWHERE:
        refused = named.get("/v1/jobs", headers={"Host": host})
        name = host.removesuffix(":8000").strip("[]")
        assert refused.status_code == 403
        assert refused.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
        assert f"FOLDHOUSE_ALLOWED_HOSTS={name} " in refused.json()["detail"]
    for host in NO_HOSTS:
        assert named.get("/v1/jobs", headers={"Host": host}).status_code == 403, host
    twice = [("Host", "localhost"), ("Host", "houses.example")]
    assert named.get("/v1/jobs", headers=twice).status_code == 403


@pytest.mark.parametrize("hosts", ["*", "http://houses.example", "houses.example:8000", "a b", "/"])
def test_a_setting_that_could_match_no_host_is_refused(hosts: str) -> None:
    with pytest.raises(ValidationError, match="without scheme and port"):
        Settings(allowed_hosts=f"houses.example,{hosts}")


def test_pages_of_other_sites_change_nothing(named: TestClient) -> None:
    for page in FOREIGN_PAGES:
        headers = {"Host": "houses.example:8000", **page}
        for method in ("POST", "PUT", "DELETE", "PATCH", "QUERY"):
            changed = named.request(method, "/v1/aliases/champion", headers=headers)
            assert changed.status_code == 403, (method, page)
            assert changed.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
        assert named.get("/v1/jobs", headers=headers).status_code == 200


def test_own_pages_and_programs_may_write(named: TestClient) -> None:
    for page in OWN_PAGES:
        headers = {"Host": "houses.example:8000", **page}
        assert named.post("/v1/jobs/latest/cancel", headers=headers).status_code == 404, page
    for host in ("houses.example", "houses.example:443"):  # a proxy's own, for https
        headers = {"Host": host, "Origin": "https://houses.example"}
        assert named.post("/v1/jobs/latest/cancel", headers=headers).status_code == 404
