"""Which of a column's levels a text names: JSON and CSV write one number, and one boolean, in
several ways."""

from __future__ import annotations

import re
from collections.abc import Sequence

BOOLEANS = ("true", "false")
# 1.0 and 1 are one number, 1.50 and 1.5 too. 01 may be another code than 1.
DECIMAL = re.compile(r"([+-]?[0-9]+)(?:\.0*|(\.[0-9]*[1-9])0*)")


def plainest(text: str) -> str:
    """The shortest way to write a decimal number; any other text as it is."""
    found = DECIMAL.fullmatch(text)
    return text if found is None else found[1] + (found[2] or "")


class Levels:
    """The levels of one column, the most frequent first; a level's code is its place."""

    def __init__(self, levels: Sequence[str | None]) -> None:
        self.codes = {level: code for code, level in enumerate(levels)}
        self.count = len(levels)
        words = [level for level in levels if level is not None]
        self._are_booleans = bool(words) and {word.lower() for word in words} <= {*BOOLEANS}
        # Of several that are spelt alike the most frequent.
        self._alike = {self._spelling(word): self.codes[word] for word in reversed(words)}

    def find(self, text: str) -> int | None:
        """The code of a level as it is written, else of one that is the same number or boolean."""
        code = self.codes.get(text)
        return self._alike.get(self._spelling(text)) if code is None else code

    def _spelling(self, text: str) -> str:
        return text.lower() if self._are_booleans else plainest(text)
