"""A long table as an answer, streamed as CSV or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter

from app.http.csv_text import Cell, csv_lines
from app.http.media import CSV, JSON, wants_csv

Batches = Iterable[Sequence[Sequence[Cell]]]


def table_response(
    accept: str | None, columns: Sequence[str], batches: Batches
) -> StreamingResponse:
    """`{"data": [{column: cell, …}, …]}`, or CSV where Accept asks for it."""
    headers = {"Vary": "Accept"}
    if wants_csv(accept, default=False):
        return StreamingResponse(csv_lines(columns, batches), media_type=CSV, headers=headers)
    return StreamingResponse(_json_lines(columns, batches), media_type=JSON, headers=headers)


def table_content(row: Any, header: str) -> dict[int | str, dict[str, Any]]:
    """The 200 response of such an operation, in both formats; `row`: the type of a row."""
    schema = {
        "type": "object",
        "required": ["data"],
        "properties": {"data": {"type": "array", "items": _without_references(row)}},
    }
    return {
        200: {
            "content": {
                JSON: {"schema": schema},
                CSV: {"schema": {"type": "string"}, "example": header},
            }
        }
    }


def _without_references(row: Any) -> Any:
    """The schema of a type, in which parts stand where they are used: `$defs` lead nowhere inside
    an OpenAPI document."""
    schema = TypeAdapter(row).json_schema()
    parts = schema.pop("$defs", {})

    def resolved(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolved(parts[node["$ref"].rpartition("/")[2]])
            return {name: resolved(value) for name, value in node.items()}
        return [resolved(value) for value in node] if isinstance(node, list) else node

    return resolved(schema)


def _json_lines(columns: Sequence[str], batches: Batches) -> Iterator[str]:
    separator = '{"data":['
    for rows in batches:
        if rows:
            objects = [dict(zip(columns, row, strict=True)) for row in rows]
            yield separator + json.dumps(objects, allow_nan=False, separators=(",", ":"))[1:-1]
            separator = ","
    yield "]}" if separator == "," else separator + "]}"
