"""Names that occur twice in an object."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Invalid
from app.http.json_text import count_names, refuse_repeated, repeated

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(), parts, max_size=4),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_a_document_of_different_names_passes(document: object) -> None:
    """Whatever colons and escapes its names and texts have."""
    for ascii_only in (True, False):
        data = json.dumps(document, ensure_ascii=ascii_only).encode(errors="surrogatepass")
        refuse_repeated(data, count_names(json.loads(data)))


@given(st.dictionaries(st.text(), st.integers(), min_size=1), st.data())
def test_a_name_that_is_written_twice_is_refused(
    members: dict[str, int], data: st.DataObject
) -> None:
    """At any two places, however it is escaped."""
    pairs = [(json.dumps(name), value) for name, value in members.items()]
    again = data.draw(st.sampled_from(sorted(members)))
    spelt = "".join(f"\\u{ord(sign):04x}" for sign in again if ord(sign) < 0x10000)
    if len(spelt) != 6 * len(again):
        spelt = json.dumps(again)[1:-1]
    pairs.insert(data.draw(st.integers(0, len(pairs))), (f'"{spelt}"', 0))
    text = "{" + ", ".join(f"{name} : {value}" for name, value in pairs) + "}"
    parsed = json.loads(text)
    with pytest.raises(Invalid, match="twice"):
        refuse_repeated(f"[{text}]".encode(), count_names([parsed]))


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ('{"a": 1, "a": 1}', "/a"),
        ('{"a": {"b": [1, {"c/d": 1, "c/d": 2}]}}', "/a/b/1/c~1d"),
        ('{"": 1, "": 2}', "/"),
        ('{"n": 1' + "0" * 5000 + ', "n": NaN}', "/n"),
        ('{"a": {"b": 1}, "c": {"b": 1}}', None),
    ],
)
def test_where_it_stands(document: str, pointer: str | None) -> None:
    assert repeated(document.encode()) == pointer
