"""The state of a training run as bytes: tensors and JSON in the safetensors format, no pickle."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

# Changes with the meaning of a checkpoint, because one of another format cannot be resumed. That
# includes which rows a fold has and how they are scaled: weights would have seen rows that score
# them.
FORMAT = 8


def pack(tensors: dict[str, Tensor], state: dict[str, Any]) -> bytes:
    """Tensors by name and a JSON object; `nan` and `inf` survive."""
    text = json.dumps({"format": FORMAT, **state}).encode()
    document = torch.from_numpy(np.frombuffer(text, np.uint8).copy())
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save({**contiguous, "state": document})


def unpack(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The inverse of `pack`; None for a checkpoint of another format."""
    tensors = safetensors.torch.load(data)
    state = unpack_state(tensors)
    return None if state is None else (tensors, state)


def unpack_state(tensors: dict[str, Tensor]) -> dict[str, Any] | None:
    """Take the JSON object out of what a file of `pack` has; None if that is of another format."""
    state: dict[str, Any] = json.loads(tensors.pop("state").numpy().tobytes())
    return state if state["format"] == FORMAT else None
