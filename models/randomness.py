"""Named streams of random numbers.

A draw depends on the spec's seed and on its purpose, never on earlier draws. So a run resumed in
the middle, or a fold trained without the others, gets the same numbers.
"""

from __future__ import annotations

import hashlib


def stream_seed(seed: int, *purpose: object) -> int:
    """A 63-bit seed for one purpose, for example `stream_seed(seed, "epoch", fold, epoch)`."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
