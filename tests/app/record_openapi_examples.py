"""Writes `app/http/openapi_examples.json`: what each operation answers to its own example request.

    make openapi-examples

starts a service, sends the requests of the OpenAPI document in order, trains the job and the sweep
that they submit, and keeps the answers with their long lists cut. Then it trains the example job of
classes, and keeps the answers that differ in what they hold.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "app")]

from openapi_document import AMES, example_of, operations  # noqa: E402
from test_serve import serving  # noqa: E402

from app.accounts.secrets import is_key  # noqa: E402

TARGET = ROOT / "app" / "http" / "openapi_examples.json"
LONGEST_LIST = 3  # items of an example
LONGEST_OBJECT = 30  # members of an object that maps names of columns
TEXT_LINES = 4  # of a CSV
STREAM_LINES = 10  # of events: two of them
FINISHED = ("succeeded", "failed", "cancelled")
OF_CLASSES = (
    "POST /v1/jobs:validate",
    "GET /v1/jobs/{job_id}",
    "GET /v1/jobs/{job_id}/oof",
    "GET /v1/models/{model_id}",
    "POST /v1/predict",
    "POST /v1/models/{model_id}/predict",
    "GET /v1/models/{model_id}/monitoring",
    "POST /invocations",
    "GET /v2/models/{name}",
    "POST /v2/models/{name}/infer",
)

Examples = dict[str, dict[str, Any]]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "data") as (_, url):
        with httpx.Client(base_url=url, timeout=120) as client:
            own = {"name": "recorder", "role": "admin"}
            key = client.post("/v1/keys", json=own).raise_for_status().json()["secret"]
            client.headers["Authorization"] = f"Bearer {key}"
            examples = {"numbers": record(client), "classes": record_classes(client)}
    TARGET.write_text(json.dumps(examples, indent=1, ensure_ascii=False) + "\n")


def record(client: httpx.Client) -> Examples:
    """Answers by operation and media type."""
    document = client.get("/openapi.json").json()
    examples: Examples = {}
    for method, path, operation in operations(document):
        name = f"{method} {path}"
        url = address_of(path, operation)
        if name == "POST /v1/jobs/{job_id}/cancel":
            client.post("/v1/jobs/latest/retry")  # a finished one cannot be cancelled
        if name == "POST /v1/sweeps/{sweep_id}/cancel":
            submitting = document["paths"]["/v1/sweeps"]["post"]
            client.post("/v1/sweeps", json=example_of(submitting, document))
        if name == "POST /v1/jobs/{job_id}/reproduce":
            wait(client, "latest")  # the one that was retried
        if name == "POST /v1/aliases/{alias}/rollback":  # to another model
            wait(client, client.post("/v1/jobs/latest/retry").json()["id"])
            client.put(url.removesuffix("/rollback"), json={"model_id": "latest"})
        for media_type in success_types(operation):
            body = example_of(operation, document)
            if name == "POST /v1/reproductions":  # of this service's own job
                body = client.get("/v1/jobs/latest").json()
            answer = send(client, method, url, body, media_type)
            if answer.is_success and answer.content:
                kept = shortened(answer, media_type)
                examples.setdefault(name, {})[media_type] = kept
        if name in (
            "POST /v1/jobs",
            "POST /v1/jobs/{job_id}/reproduce",
            "POST /v1/reproductions",
        ):
            wait(client, answer.json()["id"])
        if name == "POST /v1/sweeps":
            wait(client, answer.json()["id"], "sweeps")
        if name == "POST /v1/sweeps/{sweep_id}/cancel":  # the job's model is the newest again
            wait(client, client.post("/v1/jobs/latest/retry").json()["id"])
        if name == "POST /v1/lessons/{name}":
            while client.get("/v1/lesson-runs/latest").json()["status"] not in FINISHED:
                time.sleep(0.5)
    return examples


def record_classes(client: httpx.Client) -> Examples:
    """The same for the example job of classes, whose model becomes the champion."""
    document = client.get("/openapi.json").json()
    found = {f"{method} {path}": one for method, path, one in operations(document)}
    body = example_of(found["POST /v1/jobs"], document, "classes")
    wait(client, client.post("/v1/jobs", json=body).json()["id"])
    promoted = {"model_id": "latest", "force": True}
    client.put("/v1/aliases/champion", json=promoted).raise_for_status()
    examples: Examples = {}
    for name in OF_CLASSES:
        method, path = name.split(" ")
        operation = found[name]
        for media_type in success_types(operation):
            body = example_of(operation, document, "classes")
            answer = send(client, method, address_of(path, operation), body, media_type)
            answer.raise_for_status()
            examples.setdefault(name, {})[media_type] = shortened(answer, media_type)
    return examples


def address_of(path: str, operation: dict[str, Any]) -> str:
    """With the examples of its parameters."""
    return path.format(
        **{
            parameter["name"]: next(iter(parameter["examples"].values()))["value"]
            for parameter in operation.get("parameters", [])
            if parameter["in"] == "path"
        }
    )


def send(
    client: httpx.Client,
    method: str,
    url: str,
    body: Any,
    media_type: str,
) -> httpx.Response:
    headers = {"Accept": media_type}
    if (method, url) == ("POST", "/v1/datasets"):
        file = {"file": ("ames.csv", AMES.read_bytes())}
        return client.request(method, url, files=file, headers=headers)
    return client.request(method, url, json=body, headers=headers)


def success_types(operation: dict[str, Any]) -> list[str]:
    """The media types of what an operation answers, files aside."""
    return [
        media_type
        for status, response in operation["responses"].items()
        if status.startswith("2")
        for media_type, content in response.get("content", {}).items()
        if content.get("schema", {}).get("format") != "binary"
    ]


def shortened(answer: httpx.Response, media_type: str) -> Any:
    if media_type.endswith("json"):
        return cut(answer.json())
    lines = STREAM_LINES if media_type == "text/event-stream" else TEXT_LINES
    return "".join(answer.text.splitlines(keepends=True)[:lines])


def cut(node: Any) -> Any:
    """The same with the first items of each list and of each large object."""
    if isinstance(node, dict):
        kept = {name: cut(value) for name, value in list(node.items())[:LONGEST_OBJECT]}
        # A key in the source would be found by everyone who looks for leaked ones.
        return kept | ({"secret": "fh_e…"} if is_key(str(kept.get("secret"))) else {})
    if isinstance(node, list):
        return [cut(item) for item in node[:LONGEST_LIST]]
    return node


def wait(client: httpx.Client, job_id: str, noun: str = "jobs") -> None:
    while client.get(f"/v1/{noun}/{job_id}").json()["status"] not in FINISHED:
        time.sleep(0.5)


if __name__ == "__main__":
    main()
