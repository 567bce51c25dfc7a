"""The parts of the OpenAPI document that FastAPI does not write by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from app.errors import PROBLEM_MEDIA_TYPE, Problem, ProblemDocument

RECORDED = resources.files("app.http") / "openapi_examples.json"
# Examples for two kinds of jobs: the first for all operations, the second where it differs.
NUMBERS, CLASSES = "numbers", "classes"
REF = "#/components/schemas/{model}"

KEY = "key"
KEY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key, `fh_…`, or an access token of the identity provider, where there "
    "is one. A service that has neither keys nor a provider needs none.",
}

# Operations that remove something come last, so that the examples work when clicked in order.
TAGS = [
    {"name": "datasets", "description": "Upload a CSV and see what its columns hold."},
    {
        "name": "jobs",
        "description": "Train a cross-validated network, follow it, and read its metrics.",
    },
    {
        "name": "sweeps",
        "description": "Train many specs on the same folds, and keep the best or a blend.",
    },
    {"name": "models", "description": "Registered models, and aliases that point at them."},
    {"name": "predictions", "description": "Predict rows, as JSON or as CSV."},
    {
        "name": "other protocols",
        "description": "Predict rows with clients of MLflow, KServe or Triton, unchanged.",
    },
    {"name": "lessons", "description": "Deep learning with tables, in lessons that run."},
    {"name": "webhooks", "description": "Addresses that get a message when a job ends."},
    {"name": "accounts", "description": "Keys, quotas and the audit: who may do what, and did."},
    {"name": "operations", "description": "Health probes and metrics."},
    {"name": "removal", "description": "Delete what nothing refers to."},
]


def problems(*kinds: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """An operation's error responses, one for each status."""
    by_status: dict[int | str, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(f"`{kind.slug}`: {kind.title}.")
    schema = {"$ref": REF.format(model=ProblemDocument.__name__)}
    return {
        status: {
            "description": " ".join(texts),
            "content": {PROBLEM_MEDIA_TYPE: {"schema": schema}},
        }
        for status, texts in by_status.items()
    }


def is_none(value: object) -> bool:
    """For `exclude_if`: some answers do not have the member."""
    return value is None


def complete(app: FastAPI, *models: type[BaseModel], is_public: Callable[[str, str], bool]) -> None:
    """Add the models that operations refer to by name and FastAPI does not see in their signatures,
    an example of each answer, and which operations take a key: of a method and a path, whether all
    may ask for it."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document["components"]["schemas"]
        for model in models:
            schema = model.model_json_schema(ref_template=REF, mode="validation")
            schemas |= schema.pop("$defs", {}) | {model.__name__: schema}
        _add_examples(document)
        document["components"]["securitySchemes"] = {KEY: KEY_SCHEME}
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if not is_public(method.upper(), path):
                    operation["security"] = [{KEY: []}, {}]  # none while the service has no keys
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _add_examples(document: dict[str, Any]) -> None:
    """Answers recorded from a real service; `make openapi-examples` records them again."""
    recorded = json.loads(RECORDED.read_text())
    for operation, answers in recorded[NUMBERS].items():
        method, path = operation.split(" ")
        of_classes = recorded[CLASSES].get(operation, {})
        responses = document["paths"][path][method.lower()]["responses"]
        for status, response in responses.items():
            for media_type, content in response.get("content", {}).items():
                if not status.startswith("2") or media_type not in answers:
                    continue
                content.pop("example", None)
                content["examples"] = {NUMBERS: {"value": answers[media_type]}}
                if media_type in of_classes:
                    content["examples"][CLASSES] = {"value": of_classes[media_type]}
