"""The training spec of a trial, tried out field by field."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from models.planning.faults import SpecFault
from models.spec import EarlyStopping, TrainingSpec
from models.tables.wording import pointer_part

LONGEST_ECHO = 60  # characters of a wrong value that a fault repeats

Document = dict[str, Any]
Finding = Mapping[str, Any]  # of pydantic


def merged(base: Document, point: Mapping[str, Any]) -> Document:
    """The base with a point's values, by dotted name. The architecture comes first, so that its
    fields are set in it."""
    document = dict(base)
    for name in sorted(point, key=lambda name: (name != "architecture", name)):
        *parents, last = name.split(".")
        inner = document
        for parent in parents:
            own = inner.get(parent)
            inner[parent] = dict(own) if isinstance(own, dict) else {}
            inner = inner[parent]
        inner[last] = point[name]
    return document


def findings_of(document: Document) -> list[Finding]:
    """What pydantic finds wrong in a training spec."""
    try:
        TrainingSpec.model_validate(document)
    except ValidationError as error:
        return [dict(finding) for finding in error.errors(include_url=False)]
    return []


def spec_faults(document: Document, sent: Document) -> Iterator[SpecFault]:
    """All that is wrong in a sweep's `spec`, in the words of what was sent."""
    for finding in findings_of(document):
        yield SpecFault("/spec" + _inside(sent, finding["loc"]), _worded(finding))


def value_fault(base: Document, name: str, value: Any, host: Document) -> SpecFault | None:
    """What is wrong with one value of a searched field; the pointer leads into the value.

    host : the trial's architecture
    """
    document = merged(base, {"architecture": host, name: value})
    if findings := findings_of(document):
        path = len(name.split("."))
        return SpecFault(_inside(value, findings[0]["loc"][path:]), _worded(findings[0]))
    if name.startswith("early_stopping"):
        stopping = TrainingSpec.model_validate(document).early_stopping
        watched = (base.get("early_stopping") or {}).get("fraction", EarlyStopping().fraction)
        if stopping is not None and stopping.fraction != watched:
            return SpecFault(
                "/fraction",
                "all trials watch the same rows: set 'early_stopping.fraction' in 'spec'",
            )
    return None


def takes_whole_numbers_alone(base: Document, name: str, between: float, host: Document) -> bool:
    """Whether a field refuses a number with a fraction because of that."""
    findings = findings_of(merged(base, {"architecture": host, name: between}))
    return any(finding["type"] == "int_type" for finding in findings)


def _inside(value: Any, location: Sequence[int | str]) -> str:
    """A location as a JSON pointer into a value, without the tags of unions."""
    pointer = ""
    for part in location:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            continue
        pointer += f"/{pointer_part(str(part))}"
    return pointer


def _worded(finding: Finding) -> str:
    if finding["type"] == "value_error":
        return str(finding["ctx"]["error"])
    if finding["type"] == "extra_forbidden":
        return "unknown field"
    if finding["type"] == "missing":
        return f"'{finding['loc'][-1]}' is missing"
    text = str(finding["msg"]).replace("Input should be ", "must be ")
    value = finding["input"]
    if isinstance(value, dict | list) or value is None:
        return text
    got = json.dumps(value, ensure_ascii=False, default=str)
    return f"{text}, got {got[:LONGEST_ECHO] + '…' if len(got) > LONGEST_ECHO else got}"
