"""Parses JSON safely. The structure is counted in the bytes before any object is built. A long
document is parsed in pieces, so that other threads get Python's lock in between.

An empty list of two bytes takes three hundred while it is parsed, and four megabytes of them
blocked all other requests for a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from app.errors import TooLarge
from app.http.json_text import Place, count_names, refuse_repeated, twice

BOM = b"\xef\xbb\xbf"
SHORT_BYTES = 16 * 1024  # a shorter document is parsed at once, in a few milliseconds at worst
PIECE_BYTES = 64 * 1024
SCANNED_BYTES = 256 * 1024  # at a time: they stay in the cache
MOST_LEVELS = 64  # of lists and objects in each other
TOO_DEEP = f"recursion limit exceeded: at most {MOST_LEVELS} levels are allowed"

QUOTE, BACKSLASH = b'"\\'
OPEN, CLOSE, COMMA, COLON = 1, 2, 3, 4
KINDS = np.zeros(256, np.uint8)
KINDS[[*b"[{"]], KINDS[[*b"]}"]], KINDS[[*b","]], KINDS[[*b":"]] = OPEN, CLOSE, COMMA, COLON
LIST = ord("[")
CLOSING = {ord("["): ord("]"), ord("{"): ord("}")}
AT = re.compile(r"at line (\d+) column (\d+)")


@dataclass(frozen=True)
class Limits:
    """The most containers and values of a document, and the most names of one object, which is
    checked in one call. `advice` ends the error message, after a comma."""

    containers: int
    values: int
    names: int
    advice: str


def load(data: bytes, limits: Limits, *, allow_inf_nan: bool = True) -> Any:
    """Parse a document, with or without a byte order mark.

    Raises
    ------
    ValueError : it is not JSON
    TooLarge : more structure than `limits` allow
    Invalid : an object has a name twice
    """
    if data.startswith(BOM):
        data = data[len(BOM) :]
    if len(data) > SHORT_BYTES:
        return _Pieces(data, *_scan(data, limits), limits.names, allow_inf_nan).document()
    document = from_json(data, allow_inf_nan=allow_inf_nan)
    refuse_repeated(data, count_names(document))
    return document


def _scan(data: bytes, limits: Limits) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The positions of brackets, commas and colons outside strings, and which they are."""
    places, kinds = [], []
    containers = values = level = 0
    in_text = escaping = 0  # whether a text goes on; backslashes before the next character
    for start in range(0, len(data), SCANNED_BYTES):
        part = np.frombuffer(data[start : start + SCANNED_BYTES], np.uint8)
        quotes = part == QUOTE
        slashes = part == BACKSLASH
        if escaping or slashes.any():
            here = np.arange(len(part))
            before = np.maximum.accumulate(np.where(slashes, -1 - escaping, here))
            runs = np.concatenate([[escaping], here - before])  # of backslashes up to there
            quotes &= runs[:-1] % 2 == 0
            escaping = int(runs[-1])
        inside = np.cumsum(quotes) + in_text
        in_text = int(inside[-1]) % 2
        found = np.where(inside % 2, 0, KINDS[part])
        where = np.flatnonzero(found)
        places.append(where + start)
        kinds.append(found[where].astype(np.uint8))
        counts = np.bincount(kinds[-1], minlength=5)
        level += int(counts[OPEN] - counts[CLOSE])
        if level > MOST_LEVELS:
            raise ValueError(TOO_DEEP)
        containers += int(counts[OPEN])
        values += int(counts[COMMA])
        if containers > limits.containers or values > limits.values:
            raise TooLarge(
                f"The JSON has more than {limits.containers:,} lists and objects, or more than "
                f"{limits.values:,} values, {limits.advice}."
            )
    return np.concatenate(places), np.concatenate(kinds)


@dataclass(frozen=True)
class _Pieces:
    """A long document, with its structure as `_scan` found it."""

    data: bytes
    places: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    most_names: int
    allow_inf_nan: bool

    def document(self) -> Any:
        levels = np.cumsum((self.kinds == OPEN).astype(np.int64) - (self.kinds == CLOSE))
        if len(levels) and levels.max() > MOST_LEVELS:
            raise ValueError(TOO_DEEP)
        return self._value(levels, 0, len(self.data), 0, len(self.places), [])

    def _value(
        self, levels: NDArray[np.int64], start: int, stop: int, first: int, last: int, at: Place
    ) -> Any:
        """The value at `at` in data[start:stop], whose structure is places[first:last]."""
        if stop - start <= PIECE_BYTES or first == last:
            return self._parsed(b"", start, stop, b"", None, at, 0)
        self._check_brackets(levels, start, stop, first, last)
        inner = np.s_[first + 1 : last - 1]
        commas = (self.kinds[inner] == COMMA) & (levels[inner] == levels[first])
        ends = [*(np.flatnonzero(commas) + first + 1).tolist(), last - 1]
        starts = [first, *ends[:-1]]
        stops = self.places[ends]
        is_list = self.data[self.places[first]] == LIST
        items: list[Any] = []
        members: dict[str, Any] = {}
        item = 0
        if len(ends) == 1 and not self.data[self.places[first] + 1 : self.places[last - 1]].strip():
            item = 1  # it is empty, but for spaces
        while item < len(ends):
            begin = int(self.places[starts[item]]) + 1
            after = max(item + 1, int(np.searchsorted(stops, begin + PIECE_BYTES, "right")))
            end = int(stops[after - 1])
            if end - begin > PIECE_BYTES:  # one that is long itself
                inside = starts[item] + 1
                if is_list:
                    items.append(self._value(levels, begin, end, inside, ends[item], [*at, item]))
                else:
                    name, colon = self._name(begin, inside)
                    _refuse_twice(members, [name], at)
                    members[name] = self._value(
                        levels, colon + 1, end, inside + 1, ends[item], [*at, name]
                    )
            elif is_list:
                items += self._parsed(b"[", begin, end, b"]", after - item, at, item)
            else:
                part = self._parsed(b"{", begin, end, b"}", after - item, at, 0)
                _refuse_twice(members, part, at)
                members |= part
                if len(members) > self.most_names:
                    raise TooLarge(f"An object has more than {self.most_names:,} names.")
            item = after
        return items if is_list else members

    def _check_brackets(
        self, levels: NDArray[np.int64], start: int, stop: int, first: int, last: int
    ) -> None:
        """Raises ValueError unless the document is exactly one list or object."""
        opening, closing = int(self.places[first]), int(self.places[last - 1])
        if (
            self.data[opening] not in CLOSING
            or self.data[closing] != CLOSING[self.data[opening]]
            or levels[first : last - 1].min() < levels[first]
            or levels[last - 1] != levels[first] - 1
            or self.data[start:opening].strip()
            or self.data[closing + 1 : stop].strip()
        ):
            raise ValueError(f"brackets do not match from {self._line_and_column(opening)} on")

    def _name(self, start: int, first: int) -> tuple[str, int]:
        """The name of a long member that begins at `start`, and where its colon stands."""
        if self.kinds[first] != COLON:
            raise ValueError(f"expected a name and a colon at {self._line_and_column(start)}")
        colon = int(self.places[first])
        ((name, _),) = self._parsed(b"{", start, colon, b":0}", 1, [], 0).items()
        return name, colon

    def _parsed(
        self,
        opening: bytes,
        start: int,
        stop: int,
        closing: bytes,
        count: int | None,
        at: Place,
        item: int,
    ) -> Any:
        """A value; or `count` items or members, as a list or object of their own, `item` being
        the first's place."""
        text = opening + self.data[start:stop] + closing
        try:
            parsed = from_json(text, allow_inf_nan=self.allow_inf_nan)
        except ValueError as error:
            raise ValueError(self._moved(str(error), start, len(opening))) from None
        refuse_repeated(text, count_names(parsed), at, item)
        if count is not None and len(parsed) != count:
            raise ValueError(f"expected a value at {self._line_and_column(start)}")
        return parsed

    def _moved(self, message: str, start: int, added: int) -> str:
        """An error about a piece, by its line and column in the document."""

        def moved(found: re.Match[str]) -> str:
            line, column = int(found[1]), int(found[2])
            lines = self.data[start:].split(b"\n", line - 1)
            offset = sum(len(text) + 1 for text in lines[: line - 1]) + column
            return "at " + self._line_and_column(start + offset - 1 - (added if line == 1 else 0))

        return AT.sub(moved, message)

    def _line_and_column(self, place: int) -> str:
        line, before = self.data.count(b"\n", 0, place) + 1, self.data.rfind(b"\n", 0, place)
        return f"line {line} column {place - before}"


def _refuse_twice(members: dict[str, Any], names: Iterable[str], at: Place) -> None:
    for name in names:
        if name in members:
            raise twice([*at, name])
