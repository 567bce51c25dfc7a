"""Tensors of the Open Inference Protocol: columns in, predictions out, as JSON or as bytes.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from app.errors import Invalid
from app.predictions.rows import load_json, validated
from app.protocols.columns import BYTES, FIRST_FAULT, LENGTH, Asked, ProtocolCell, Tensor
from app.settings import Settings
from models.tables.faults import quoted

# Datatype to numpy's; bytes are little-endian.
NUMBERS = {
    "BOOL": "?",
    **{f"INT{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}
MOST_INPUTS = 10_000  # of a request: each takes a kilobyte
MOST_CELLS = 2**63 - 1  # that a shape can say, in an INT64

MOST_OUTPUTS = 100  # that a request may ask for


class InputParameters(BaseModel):
    """Parameters of an input tensor."""

    binary_data_size: Annotated[int, Field(ge=0, strict=True)] | None = None


class InputTensor(BaseModel):
    """A column, of shape [N] or [N, 1], with its cells in `data` or behind the JSON."""

    name: str
    shape: Annotated[list[Annotated[int, Field(ge=0, le=MOST_CELLS, strict=True)]], FIRST_FAULT]
    datatype: str
    parameters: InputParameters = InputParameters()
    data: list[Any] | None = None


class OutputParameters(BaseModel):
    """Parameters of an output tensor. The default is the request's `binary_data_output`."""

    binary_data: bool | None = None


class RequestedOutput(BaseModel):
    """A requested output tensor."""

    name: str
    parameters: OutputParameters = OutputParameters()


class RequestParameters(Asked):
    """Other parameters, such as a sequence's, are ignored: clients send them to every server."""

    binary_data_output: bool = False


INFER_EXAMPLE: dict[str, Any] = {
    "inputs": [
        {"name": "LotArea", "shape": [2, 1], "datatype": "FP64", "data": [8450, 9600]},
        {"name": "OverallQual", "shape": [2, 1], "datatype": "INT64", "data": [7, 6]},
        {
            "name": "Neighborhood",
            "shape": [2, 1],
            "datatype": "BYTES",
            "data": ["CollgCr", "Veenker"],
        },
    ],
    "parameters": {"coverage": 0.9},
}


class InferRequest(BaseModel):
    """A tensor for each column. A column that is left out is imputed, with a warning."""

    model_config = ConfigDict(json_schema_extra={"examples": [INFER_EXAMPLE]})

    id: str | None = None
    parameters: RequestParameters = RequestParameters()
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=MOST_INPUTS), FIRST_FAULT]
    outputs: Annotated[list[RequestedOutput], Field(max_length=MOST_OUTPUTS)] | None = None

    def requested(self, offered: Mapping[str, Tensor]) -> dict[str, bool]:
        """The outputs to return, and whether as bytes; raises Invalid."""
        if not self.outputs:
            usual = (name for name, tensor in offered.items() if tensor.is_default)
            return dict.fromkeys(usual, self.parameters.binary_data_output)
        requested: dict[str, bool] = {}
        for output in self.outputs:
            if output.name not in offered:
                raise Invalid(
                    f"outputs must be some of {', '.join(offered)}, got {quoted(output.name)}."
                )
            if output.name in requested:
                raise Invalid(f"outputs must not repeat a name, got '{output.name}' twice.")
            as_bytes = output.parameters.binary_data
            requested[output.name] = (
                self.parameters.binary_data_output if as_bytes is None else as_bytes
            )
        return requested


class OutputTensor(BaseModel):
    """`data` is absent if the tensor's bytes follow the JSON."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, int] | None = None
    data: list[float | str | list[float | None] | None] | None = None


REQUEST = TypeAdapter(InferRequest)


def split(
    body: bytes, json_bytes: int | None, settings: Settings
) -> tuple[InferRequest, memoryview]:
    """Split a body into the JSON at its start and the bytes of its tensors.

    Raises
    ------
    Invalid, TooLarge, RequestValidationError
    """
    if json_bytes is None:
        json_bytes = len(body)
    if json_bytes > len(body):
        raise Invalid(
            f"Inference-Header-Content-Length must be at most the body's {len(body)} bytes, got "
            f"{json_bytes}."
        )
    request = validated(REQUEST, load_json(body[:json_bytes], settings))
    return request, memoryview(body)[json_bytes:]


def columns(inputs: Sequence[InputTensor], binary: memoryview) -> dict[str, Sequence[ProtocolCell]]:
    """The cells of each tensor, by name; all have the same length.

    Nothing is allocated for a shape: it must agree with the cells that arrived.

    Raises
    ------
    Invalid: about the first wrong tensor.
    """
    found: dict[str, Sequence[ProtocolCell]] = {}
    rows = inputs[0].shape[:1]
    for tensor in inputs:
        if tensor.name in found:
            raise _wrong(tensor, "is in the request twice")
        if tensor.datatype != BYTES and tensor.datatype not in NUMBERS:
            known = ", ".join([*NUMBERS, BYTES])
            raise _wrong(tensor, f"must have a datatype of {known}, got {quoted(tensor.datatype)}")
        if tensor.shape not in ([*rows], [*rows, 1]) or not rows:
            expected = f"[{rows[0]}] or [{rows[0]}, 1], as the first input" if rows else "[N, 1]"
            raise _wrong(tensor, f"must be of shape {expected}, got {tensor.shape[:4]}")
        size = tensor.parameters.binary_data_size
        if size is None:
            cells = _listed(tensor)
        elif size > len(binary):
            raise _wrong(tensor, f"must have {size} bytes, got {len(binary)}")
        else:
            cells = _unpacked(tensor, binary[:size])
            binary = binary[size:]
        if len(cells) != rows[0]:
            raise _wrong(tensor, f"must have {rows[0]} cells, as its shape says, got {len(cells)}")
        found[tensor.name] = cells
    if binary:
        raise Invalid(f"The last {len(binary)} bytes of the body belong to no tensor.")
    return found


def _wrong(tensor: InputTensor, detail: str) -> Invalid:
    return Invalid(f"Input {quoted(tensor.name)} {detail}.")


def _listed(tensor: InputTensor) -> list[ProtocolCell]:
    """Cells in JSON, flat or as a list for each row."""
    if tensor.data is None:
        raise _wrong(tensor, "has neither data nor binary_data_size")
    cells: list[Any] = []
    for item in tensor.data:
        if isinstance(item, list):
            cells += item
        else:
            cells.append(item)
    fits, what = _fitting(tensor.datatype)
    for cell in cells:
        if cell is not None and not fits(cell):
            raise _wrong(tensor, f"is {tensor.datatype}, so its cells must be {what} or null")
    return cells


def _fitting(datatype: str) -> tuple[Callable[[Any], bool], str]:
    if datatype == BYTES:
        return lambda cell: isinstance(cell, str), "texts"
    if datatype == "BOOL":
        return lambda cell: isinstance(cell, bool), "true, false"
    if datatype.startswith("FP"):
        return lambda cell: type(cell) in (int, float), "numbers"
    return lambda cell: type(cell) is int, "integers"


def _unpacked(tensor: InputTensor, data: memoryview) -> list[ProtocolCell]:
    if tensor.datatype == BYTES:
        return _texts(tensor, data)
    dtype = np.dtype(NUMBERS[tensor.datatype])
    if len(data) != tensor.shape[0] * dtype.itemsize:
        raise _wrong(
            tensor,
            f"is {tensor.datatype} of shape {tensor.shape}, which takes "
            f"{tensor.shape[0] * dtype.itemsize} bytes, got {len(data)}",
        )
    cells: list[ProtocolCell] = np.frombuffer(data, dtype).tolist()
    return cells


def _texts(tensor: InputTensor, data: memoryview) -> list[ProtocolCell]:
    """Read texts, each a length followed by that many bytes of UTF-8."""
    texts: list[ProtocolCell] = []
    place = 0
    while place < len(data):
        start = place + LENGTH
        place = start + int.from_bytes(data[place:start], "little")
        if start > len(data) or place > len(data):
            raise _wrong(tensor, f"ends in the middle of its text {len(texts) + 1}")
        try:
            texts.append(str(data[start:place], "utf-8"))
        except UnicodeDecodeError:
            raise _wrong(tensor, f"has a text {len(texts) + 1} that is not UTF-8") from None
    return texts
