"""Pydantic's errors about a request, in the words and locations of the request itself.

A location is a JSON pointer into the body as it was sent. It leaves out the union tags that
pydantic adds, and a field that was sent under its short name keeps that name.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter

from app.errors import Fault
from app.http.json_text import to_pointer
from models.spec import SHORT_NAMES
from models.tables.faults import TableError
from models.tables.wording import number_text

SHORT_FOR = {"learning_rate": "lr"} | {full: short for short, full in SHORT_NAMES.items()}
MOST_FAULTS = 100  # in one answer
LONGEST_ECHO = 60  # characters of a wrong value that an error repeats

MUST_BE, GOT = "must be ", ", got "

# JSON schema keyword to words.
BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}

Location = Sequence[int | str]
Schema = dict[str, Any]


def table_faults(error: TableError) -> list[Fault]:
    """The first faults of a table."""
    return [
        Fault(detail=fault.detail, row=fault.row, column=fault.column)
        for fault in error.faults[:MOST_FAULTS]
    ]


def not_json(error: RequestValidationError) -> str | None:
    """Why the body is not JSON, if that is the error."""
    for finding in error.errors():
        if finding["type"] == "json_invalid":
            return str(finding["ctx"]["error"])
    return None


def request_faults(request: Request, error: RequestValidationError) -> list[Fault]:
    """One fault for each of the first places, in order."""
    body_field = getattr(request.scope.get("route"), "body_field", None)
    root = _schema(body_field.field_info.annotation) if body_field else {}
    details: dict[tuple[str | None, str], list[str]] = {}
    for finding in error.errors():
        origin, *location = finding["loc"]
        if origin == "body":
            pointer = json_pointer(finding, location, error.body)
            name = ""
        else:
            pointer, name = None, f"{origin} parameter '{location[0]}' "
        if len(details) == MOST_FAULTS and (pointer, name) not in details:
            break
        detail = name + _explain(finding, list(_subschemas(root, root, location)), root, location)
        details.setdefault((pointer, name), []).append(detail)
    return [
        Fault(pointer=pointer, detail=_either([*dict.fromkeys(texts)]))
        for (pointer, _), texts in details.items()
    ]


def _either(texts: list[str]) -> str:
    """Join the errors of a union's branches: "must be a valid string or a valid number"."""
    if len(texts) == 1 or not all(text.startswith(MUST_BE) for text in texts):
        return "; or ".join(texts)
    *kinds, last = (text.removeprefix(MUST_BE) for text in texts)
    # All of them end with the same value.
    return MUST_BE + ", ".join(kind.partition(GOT)[0] for kind in kinds) + f" or {last}"


def json_pointer(finding: Any, location: Location, body: object) -> str:
    """The location of an error in a body, without union tags."""
    parts: list[int | str] = []
    node = body
    for place, part in enumerate(location):
        is_absent = finding["type"] == "missing" and place == len(location) - 1
        if isinstance(node, list) and isinstance(part, int):
            node = node[part] if part < len(node) else None
        elif isinstance(node, dict):
            if part not in node:
                part = SHORT_FOR.get(str(part), part)
            if part not in node and not is_absent:
                continue  # the tag of a union
            node = node.get(part)
        else:
            continue  # a branch of a union
        parts.append(part)
    if finding["type"] == "union_tag_invalid":
        parts.append(finding["ctx"]["discriminator"].strip("'"))
    return to_pointer(parts)


def _explain(finding: Any, schemas: list[Schema], root: Schema, location: Location) -> str:
    kind, context = finding["type"], finding.get("ctx", {})
    got = _got(finding["input"])
    if kind == "missing":
        return "is required" if location else "a JSON body is required"
    if kind in ("model_type", "model_attributes_type"):
        return "must be a JSON object" + _as_member(finding["input"], schemas, root, location)
    if kind == "union_tag_not_found":
        tags = dict.fromkeys(tag for schema in schemas for tag in _tags(schema))
        return "'type' is missing" + (f": it must be one of {', '.join(tags)}" if tags else "")
    if kind == "extra_forbidden":
        return _unknown(str(location[-1]), context.get("known"), root, location)
    if kind == "none_required":
        return "is not built into this version: leave it out"
    if kind == "literal_error":
        return f"must be {context['expected']}{got}"
    if kind == "union_tag_invalid":
        return f"must be one of {context['expected_tags']}, got '{context['tag']}'"
    if kind == "too_short":
        return f"must have at least {context['min_length']} item"
    if kind == "too_long":
        return f"must have at most {context['max_length']} items"
    if kind == "value_error":
        return str(context["error"])
    bounds = dict.fromkeys(  # the branches of a union may agree
        words.format(number_text(schema[keyword]))
        for schema in schemas
        for keyword, words in BOUNDS.items()
        if keyword in schema
    )
    if bounds and kind.startswith(("greater_than", "less_than")):
        return f"must be {' and '.join(bounds)}{got}"
    return str(finding["msg"]).replace("Input should be ", MUST_BE) + got


def _unknown(name: str, known: Sequence[str] | None, root: Schema, location: Location) -> str:
    """The error for an unknown field or parameter: where it belongs, or how it is spelt."""
    if known is not None:
        return "is unknown" + _did_you_mean(name, known)
    beside = [
        field
        for schema in _subschemas(root, root, location[:-1])
        for field in schema.get("properties", {})
    ]
    if name in beside:
        return "unknown field for this 'type': another 'type' has it"
    homes = _homes(json.dumps(root))
    if name in homes:
        places = [f"'{home}'" if "." in home else "the top of the spec" for home in homes[name]]
        short = f", or '{SHORT_FOR[name]}' here" if len(location) == 1 and name in SHORT_FOR else ""
        return f"unknown field: it belongs to {' or '.join(places)}{short}"
    everywhere = [home for places in homes.values() for home in places]
    return "unknown field" + _did_you_mean(name, [*beside, *everywhere])


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    by_field = {path.rpartition(".")[2]: path for path in reversed(known)}
    close = difflib.get_close_matches(name, by_field, n=1)
    return f": did you mean '{by_field[close[0]]}'?" if close else ""


@lru_cache
def _homes(document: str) -> dict[str, list[str]]:
    """For each field of a schema (given as JSON), the dotted paths at which it occurs: in every
    spec, or else in some types of an object."""
    root = json.loads(document)
    always: dict[str, list[str]] = {}
    by_type: dict[str, list[str]] = {}

    def look(schema: Schema, path: str, seen: tuple[str, ...], found: dict[str, list[str]]) -> None:
        reference = schema.get("$ref")
        if reference in seen:
            return
        if reference:
            look(root["$defs"][reference.rpartition("/")[2]], path, (*seen, reference), found)
        for branch in schema.get("anyOf", ()):
            look(branch, path, seen, found)
        for branch in schema.get("oneOf", ()):
            look(branch, path, seen, by_type)
        for name, field in schema.get("properties", {}).items():
            places = found.setdefault(name, [])
            if path + name not in places:
                places.append(path + name)
            look(field, f"{path}{name}.", seen, found)

    look(root, "", (), always)
    return by_type | always


def _as_member(value: object, schemas: list[Schema], root: Schema, location: Location) -> str:
    """A hint at what a plain value was meant for: a member of the object, or a nearby field."""
    for schema in schemas:
        for name, field in schema.get("properties", {}).items():
            if isinstance(value, str) and value in (*field.get("enum", ()), field.get("const")):
                return f": {json.dumps({name: value})}"
    if location and type(value) in (int, float):
        for schema in _subschemas(root, root, location[:-1]):
            for name, field in schema.get("properties", {}).items():
                is_number = field.get("type") in ("integer", "number")
                if is_number and name.endswith(f"_{location[-1]}"):
                    return f": did you mean '{name}'?"
    return ""


def _tags(schema: Schema) -> list[str]:
    return [repr(tag) for tag in schema.get("discriminator", {}).get("mapping", {})]


def _got(value: object) -> str:
    if isinstance(value, dict | list) or value is None:
        return ""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) > LONGEST_ECHO:
        text = text[:LONGEST_ECHO] + "…"
    return GOT + text


@lru_cache
def _schema(annotation: Any) -> Schema:
    return TypeAdapter(annotation).json_schema()


def _subschemas(root: Schema, schema: Schema, location: Location) -> Iterator[Schema]:
    """Every schema that describes the value at a location."""
    if "$ref" in schema:
        yield from _subschemas(root, root["$defs"][schema["$ref"].rpartition("/")[2]], location)
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _subschemas(root, branch, location)
    if not location:
        yield schema
        return
    part, *rest = location
    if isinstance(part, int):
        if "items" in schema:
            yield from _subschemas(root, schema["items"], rest)
    elif part in schema.get("properties", {}):
        yield from _subschemas(root, schema["properties"][part], rest)
    elif "properties" in schema:  # a union's tag
        yield from _subschemas(root, schema, rest)
