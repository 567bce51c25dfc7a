"""Query parameters that an operation does not know, over all operations."""

from __future__ import annotations

import re

from fastapi.testclient import TestClient
from house_api import upload

PROTOCOLS = ("/invocations", "/ping", "/version", "/v2")


def test_every_operation_refuses_what_it_does_not_know(client: TestClient) -> None:
    for path, item in client.get("/openapi.json").json()["paths"].items():
        url = re.sub(r"{\w+}", "champion", path)
        for method in item.keys() & {"get", "post", "put", "delete"}:
            answer = client.request(method, url, params={"limits": "5"}, json={})
            expected = 400 if path.startswith(PROTOCOLS) else 422
            assert answer.status_code == expected, (method, path, answer.text)
            assert "limits" in answer.text, (method, path)


def test_the_error_names_the_parameter_that_was_meant(client: TestClient) -> None:
    answer = client.get("/v1/jobs", params={"statsu": "queued", "limit": 5})
    assert answer.json()["detail"] == (
        "query parameter 'statsu' is unknown: did you mean 'status'?."
    )


def test_one_that_comes_twice_is_refused(client: TestClient) -> None:
    upload(client)
    for query in ("limit=1&limit=2", "limit=1&limit=1", "status=queued&status=failed"):
        answer = client.get(f"/v1/jobs?{query}")
        assert answer.status_code == 422
        assert "must come once, got 2 values" in answer.json()["detail"]
    assert client.get("/v1/datasets?limit=1").status_code == 200
    assert client.post("/v1/datasets?name=a&name=b", content="a\n1\n").status_code == 422
