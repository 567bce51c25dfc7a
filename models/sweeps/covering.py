"""Points that cover a cube evenly: the Halton sequence with its digits scrambled.

scipy has scrambled Sobol points, but takes 83 MiB in a process that otherwise has no use for it.
"""

from __future__ import annotations

import random

from models.randomness import stream_seed

# Digits below this share do not matter to a float in [0, 1).
FINEST = 2.0**-40


class Covering:
    """Number i is the same whatever else is drawn. Halton's axes are van der Corput sequences in
    different prime bases; a permutation of each digit breaks the correlation of axes with large
    bases (Owen 2017, arXiv 1706.02808).
    """

    def __init__(self, axes: int, seed: int) -> None:
        self._bases = _primes(axes)
        self._digits: list[list[list[int]]] = []
        for axis, base in enumerate(self._bases):
            dealt = random.Random(stream_seed(seed, "covering", axis))
            places, share = [], 1.0
            while share > FINEST:
                places.append(dealt.sample(range(base), base))
                share /= base
            self._digits.append(places)

    def point(self, number: int) -> list[float]:
        """Shares from 0 to below 1, one an axis."""
        return [
            _radical_inverse(number, base, places)
            for base, places in zip(self._bases, self._digits, strict=True)
        ]


def _radical_inverse(number: int, base: int, places: list[list[int]]) -> float:
    value, unit = 0, 1
    for permuted in places:
        number, digit = divmod(number, base)
        value, unit = value * base + permuted[digit], unit * base
    return value / unit


def _primes(count: int) -> list[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found
