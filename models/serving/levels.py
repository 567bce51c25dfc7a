"""Finds the level that a text names. JSON and CSV write the same number or boolean in several
ways."""

from __future__ import annotations

import re
from collections.abc import Sequence

BOOLEANS = ("true", "false")
# 1.0 and 1 are one number, and so are 1.50 and 1.5. 01 and 1 may be different codes.
DECIMAL = re.compile(r"([+-]?[0-9]+)(?:\.0*|(\.[0-9]*[1-9])0*)")


def plainest(text: str) -> str:
    """The shortest form of a decimal number; any other text unchanged."""
    found = DECIMAL.fullmatch(text)
    return text if found is None else found[1] + (found[2] or "")


class Levels:
    """The levels of one column, the most frequent first. A level's code is its index."""

    def __init__(self, levels: Sequence[str | None]) -> None:
        self.codes = {level: code for code, level in enumerate(levels)}
        self.count = len(levels)
        words = [level for level in levels if level is not None]
        self._are_booleans = bool(words) and {word.lower() for word in words} <= {*BOOLEANS}
        # Of several equal ones, the most frequent.
        self._alike = {self._spelling(word): self.codes[word] for word in reversed(words)}

    def find(self, text: str) -> int | None:
        """The code of the level with this text, otherwise of the same number or boolean."""
        code = self.codes.get(text)
        return self._alike.get(self._spelling(text)) if code is None else code

    def _spelling(self, text: str) -> str:
        return text.lower() if self._are_booleans else plainest(text)
