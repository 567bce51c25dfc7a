"""Names of a network's inputs, by which weights are found again in a later network.

A key is a tuple of texts: a kind, then what it is of. Level None is that of missing cells.
"""

from __future__ import annotations

from itertools import groupby

from models.data.design import Design
from models.networks.encoder import Encoder
from models.networks.extras import Extras

Key = tuple[str | None, ...]

NUMBER, TURNED, BIN, EXTRA, LEVEL, WAVE = "number", "turned", "bin", "extra", "level", "wave"


def input_keys(encoder: Encoder, extras: Extras | None, design: Design) -> list[Key]:
    """Of the columns that an encoder with one-hot levels makes, in their order."""
    scaled = scaled_keys(design, encoder.numeric)
    keys = list(scaled)
    for column, bins in groupby(encoder.bin_columns.tolist()):
        keys += [(BIN, *scaled[column], str(place)) for place, _ in enumerate(bins)]
    if encoder.extras and extras is not None:
        keys += [(EXTRA, name) for name in extras.names]
    for vocabulary in design.categorical:
        keys += [(LEVEL, vocabulary.name, level) for level in vocabulary.levels]
    return keys


def scaled_keys(design: Design, count: int) -> list[Key]:
    """Of the `count` scaled numbers: the numeric columns, then the turned axes of coordinates."""
    keys: list[Key] = [(NUMBER, name) for name in design.numeric]
    pair = [design.numeric[place] for place in design.coordinates or ()]
    return keys + [(TURNED, *pair, str(place)) for place in range(count - len(keys))]


def embedded_keys(keys: list[Key], numeric: int, added: int) -> list[Key]:
    """With the `added` columns that an embedding puts behind the inputs for each of the first
    `numeric` ones."""
    return keys + [(WAVE, *key, str(place)) for key in keys[:numeric] for place in range(added)]
