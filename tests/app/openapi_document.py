"""What the OpenAPI document says of operations, and how to send their examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

AMES = Path("examples/ames.csv")
METHODS = {"get", "post", "put", "delete", "patch"}


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """In the order in which Swagger UI shows them: tag by tag."""
    found = [
        (method.upper(), path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]
    tags = [tag["name"] for tag in document["tags"]]
    return sorted(found, key=lambda entry: tags.index(entry[2]["tags"][0]))


def example_of(operation: dict[str, Any], document: dict[str, Any], kind: str = "numbers") -> Any:
    """The body to send; `kind`: of job, where there are several."""
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" not in content:
        return None
    media = content["application/json"]
    if "examples" in media:
        return media["examples"][kind]["value"]
    schema = media["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return media.get("example") or schema.get("examples", [None])[0]
