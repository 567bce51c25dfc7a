"""The weights of a served model as a file, with the names of its networks' inputs."""

from __future__ import annotations

import json
from collections.abc import Sequence

import safetensors.torch

from models.data.design import Design
from models.export.served import ServedModel
from models.networks.keys import input_keys


def weights_file(served: ServedModel, design: Design, members: Sequence[int]) -> bytes:
    """The bytes of a safetensors file, the same whenever they are made. Its metadata has `served`,
    a document with `folds`, the numbers of the served folds, and `parts`: which member of a blend
    each part is, and the keys of its inputs; of a function that is solved none.

    `members`: the places in the spec of the served parts.
    """
    parts = [
        {
            "member": member,
            "inputs": input_keys(part.encoder, served.extras, design)
            if part.encoder.one_hot
            else [],
        }
        for member, part in zip(members, served.parts, strict=True)
    ]
    # Several names would be written in any order.
    metadata = {"served": json.dumps({"folds": served.folds, "parts": parts})}
    return safetensors.torch.save(dict(served.state_dict()), metadata)
