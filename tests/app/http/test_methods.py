"""HEAD, OPTIONS and 405, and the headers that every answer has."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient
from house_api import train

READABLE = ["/healthz", "/docs", "/openapi.json", "/v1/jobs", "/v1/jobs/latest/oof", "/metrics"]
ALLOWED = {
    "/v1/jobs": "GET, HEAD, OPTIONS, POST",
    "/v1/jobs/latest/cancel": "OPTIONS, POST",
    "/v1/datasets/latest": "DELETE, GET, HEAD, OPTIONS",
    "/v1/aliases/champion": "DELETE, GET, HEAD, OPTIONS, PUT",
    "/docs": "GET, HEAD, OPTIONS",
    "/static-offline-docs/swagger-ui.css": "GET, HEAD, OPTIONS",
}
ANYWHERE = [*ALLOWED, "/", "/nobody/home", "/v1/jobs/", "/v1/jobs/job_none", "/v2/none"]


def test_head_is_get_without_its_body(client: TestClient, tmp_path: Path) -> None:
    train(client, tmp_path)
    for path in [*READABLE, "/v1/datasets/latest/content", "/v1/models/champion/export"]:
        read, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (200, b""), path
        for name in ("Content-Type", "Content-Disposition", "Vary"):
            assert head.headers.get(name) == read.headers.get(name)
    assert client.head("/v1/jobs/job_none").status_code == 404
    assert client.head("/v1/jobs/latest/cancel").status_code == 405
    counted = client.get("/metrics").text
    assert 'requests_total{method="HEAD",route="/v1/jobs",status="200"} 1.0' in counted


def test_options_and_405_name_the_methods(client: TestClient) -> None:
    preflight = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    for path, methods in ALLOWED.items():
        for headers in ({}, preflight):
            options = client.options(path, headers=headers)
            assert (options.status_code, options.headers["Allow"]) == (204, methods)
            assert not any(name.startswith("access-control") for name in options.headers)
        refused = client.patch(path)
        assert (refused.status_code, refused.headers["Allow"]) == (405, methods)
        assert methods in refused.json()["detail"]
    assert client.options("/nobody/home").status_code == 404


def test_every_answer_says_what_a_browser_may_do_with_it(client: TestClient) -> None:
    for method in ("GET", "POST", "OPTIONS", "BREW"):
        for path in ANYWHERE:
            answer = client.request(method, path, follow_redirects=False)

            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "same-origin"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            [policy] = answer.headers.get_list("Content-Security-Policy")
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            is_page = (path == "/" and method != "OPTIONS") or (path, method) == ("/docs", "GET")
            assert ("script-src" in policy) == is_page


def test_redirects_stay_at_the_host_that_was_asked(client: TestClient) -> None:
    answer = client.get("/v1/jobs/?limit=1", follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (307, "/v1/jobs?limit=1")
