"""Long documents, parsed in pieces."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from pydantic_core import from_json

from app.errors import Invalid, TooLarge
from app.http import json_document
from app.http.json_document import Limits, load
from app.http.json_text import repeated

LIMITS = Limits(containers=1_000_000, values=1_000_000, names=1_000_000, advice="")
LEAVES: list[Any] = [1, 2.5, None, True, 10**20, 'a"b\\', "\\\\", "[{,:}]", 'é\n"', "x" * 50]


@pytest.fixture(autouse=True)
def _short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("SHORT_BYTES", 10), ("PIECE_BYTES", 40), ("SCANNED_BYTES", 17)):
        monkeypatch.setattr(json_document, name, size)


def made_up(chance: random.Random, level: int = 0) -> Any:
    kind = chance.random()
    if level > 2 or kind < 0.4:
        return chance.choice(LEAVES)
    parts = [made_up(chance, level + 1) for _ in range(chance.randint(0, 8))]
    if kind < 0.7:
        return parts
    return {chance.choice('abcd"\\é:,[') + str(place): part for place, part in enumerate(parts)}


def test_pieces_make_the_document_or_the_same_refusal() -> None:
    chance = random.Random(0)
    refused = 0
    for _ in range(1_000):
        document = made_up(chance)
        whole = json.dumps(document, ensure_ascii=chance.random() < 0.5).encode()
        assert load(whole, LIMITS) == document
        damaged = bytearray(whole)
        damaged[chance.randrange(len(damaged))] = chance.choice(b'[]{},:"\\ 1')
        try:
            expected = from_json(bytes(damaged))
        except ValueError:
            refused += 1
            with pytest.raises(ValueError, match=r"line \d+ column|brackets|recursion"):
                load(bytes(damaged), LIMITS)
            continue
        if repeated(bytes(damaged)) is None:
            assert load(bytes(damaged), LIMITS) == expected
    assert refused > 300


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ('{"a": 1, "b": 2, "a": {"c": [%s]}}' % ("1," * 40 + "1"), "/a occurs twice"),
        ("[%s]" % ('{"a": 1},' * 9 + '{"a": 1, "a": 2}'), "/9/a occurs twice"),
        ('{"rows": [%s]}' % ('{"a": 1},' * 9 + '{"a": 1, "a": 2}'), "/rows/9/a occurs twice"),
    ],
)
def test_a_name_that_stands_twice_is_found_where_it_is(document: str, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        load(document.encode(), LIMITS)


def test_a_fault_is_told_by_its_line_and_column() -> None:
    data = b"[1, 2,\n" + b"3,\n" * 30 + b"  x]"
    with pytest.raises(ValueError, match="expected value at line 32 column 3"):
        load(data, LIMITS)


def test_names_of_one_object_are_counted() -> None:
    """Over all pieces of it; each of many objects may have as many."""
    few = Limits(containers=100, values=1_000_000, names=2_000, advice="")
    names = ",".join(f'"{place}":1' for place in range(1_500))
    more = ",".join(f'"{place}":1' for place in range(2_500))
    assert len(load(b"[{%s},{%s}]" % (names.encode(), names.encode()), few)) == 2
    with pytest.raises(TooLarge, match="more than 2,000 names"):
        load(b"[{%s}]" % more.encode(), few)


def test_structure_is_counted_outside_of_texts() -> None:
    few = Limits(containers=3, values=3, names=3, advice="send less")
    text = json.dumps(["[{,]" * 20, '\\"[[[[', [1]]).encode()
    assert load(text, few) == json.loads(text)
    for data in (b"[" + b"[]," * 20 + b"[]]", b"[" + b"1," * 20 + b"1]"):
        with pytest.raises(TooLarge, match="send less"):
            load(data, few)
    with pytest.raises(ValueError, match="recursion limit"):
        load(b"[" * 2_000, LIMITS)
