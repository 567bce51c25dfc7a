"""Refuses JSON objects with duplicate names. RFC 8259 lets a parser keep either member, and parsers
do so silently, so a prediction would use half of what was meant."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.errors import Fault, Invalid

PARTED = frozenset({dict, list})

Place = list[int | str]  # the way to a value: positions in lists, names in objects


def refuse_repeated(data: bytes, names: int, at: Place | None = None, item: int = 0) -> None:
    """Raises Invalid where an object of a JSON document has a name twice.

    Parameters
    ----------
    data : the document, or a part of one
    names : members of all its objects together, as it was parsed
    at, item : where the part stands, and the position of its first item in a list there
    """
    # A colon follows each name. Any more are inside strings or follow a duplicate name.
    if data.count(b":") > names and (place := _repeated(data)) is not None:
        first, *rest = place
        moved = first + item if isinstance(first, int) else first
        raise twice([*(at or []), moved, *rest])


def twice(place: Place) -> Invalid:
    """The error about a duplicate name."""
    pointer, detail = to_pointer(place), "occurs twice in its object: keep one of the two"
    return Invalid(f"{pointer} {detail}.", [Fault(pointer=pointer, detail=detail)])


def count_names(value: object) -> int:
    """Members of all objects in a parsed document."""
    if isinstance(value, dict):
        return len(value) + _names_inside(value.values())
    return _names_inside(value) if isinstance(value, list) else 0


def _names_inside(values: Iterable[object]) -> int:
    # Of most objects no member has members of its own, which a set finds without a call for each.
    if PARTED.isdisjoint(map(type, values)):
        return 0
    return sum(map(count_names, values))


def repeated(data: bytes) -> str | None:
    """A JSON pointer to the first duplicate name, if there is one."""
    place = _repeated(data)
    return None if place is None else to_pointer(place)


def _repeated(data: bytes) -> Place | None:
    # Numbers stay texts: Python refuses to read an integer of 5,000 digits.
    document = json.loads(
        data, object_pairs_hook=_object, parse_int=str, parse_float=str, parse_constant=str
    )
    return _place(document)


def to_pointer(place: Sequence[int | str]) -> str:
    """RFC 6901, for example `/optimizer/learning_rate`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)


@dataclass(frozen=True)
class _Twice:
    """An object has this name twice."""

    name: str


def _object(members: list[tuple[str, object]]) -> dict[str, object] | _Twice:
    seen: dict[str, object] = {}
    for name, value in members:
        if name in seen:
            return _Twice(name)
        seen[name] = value
    return seen


def _place(value: object) -> Place | None:
    """The path to the first `_Twice`."""
    if isinstance(value, _Twice):
        return [value.name]
    parts: Iterable[tuple[int | str, object]] = ()
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    for part, child in parts:
        rest = _place(child)
        if rest is not None:
            return [part, *rest]
    return None
