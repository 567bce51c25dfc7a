"""torch's ONNX exporter, without its warnings and with its table of operators made once."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

OPSET = 18

# torch makes the table anew at each export, which is a third of a small network's: half a second of
# a core. Nothing changes it but a caller's own operators, and there are none here.
ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))  # type: ignore[method-assign]


def exported(
    network: nn.Module,
    example: tuple[Tensor, ...],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str] | None = None,
    dynamic: dict[str, Any] | None = None,
) -> onnx.ModelProto:
    """The graph of a network in evaluation mode.

    Parameters
    ----------
    example : inputs of the types and of any size that the graph takes
    inputs, outputs : their names in the graph
    dynamic : by input, the axes that may have any length, as `torch.onnx.export` takes them
    """
    # The exporter logs which optional packages are missing.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.eval(),
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=dynamic,
            verbose=False,
        )
    assert program is not None
    return program.model_proto  # a new one at each call
