"""The Open Inference Protocol, version 2: what KServe, Triton and their clients speak."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel, ConfigDict

from app.deps import ResourcesDep, Tenant
from app.doors import tensors
from app.doors.route import TAG, DoorRoute, error_responses, message
from app.doors.rows import in_blocks, of_columns, whole
from app.doors.tensors import BYTES, FLOAT, InferRequest, OutputTensor
from app.errors import ProblemDocument
from app.media import BINARY, JSON, refuse_compressed
from app.openapi import REF
from app.operations.readiness import readiness
from app.parameters import name_path
from app.predictions import service
from app.predictions.answers import ignored_header
from app.predictions.rows import JsonBody
from models.serving.manifest import Manifest
from models.serving.predictor import PLAIN

JSON_LENGTH = "Inference-Header-Content-Length"
EXTENSIONS = ["binary_tensor_data"]
PLATFORM = "onnxruntime_onnx"
PREFIX = "/v2"


class InferenceError(BaseModel):
    """The protocol's."""

    error: str


class InferenceRoute(DoorRoute):
    """An operation whose errors are the protocol's."""

    @classmethod
    def error(cls, document: ProblemDocument) -> InferenceError:
        return InferenceError(error=message(document))


class Live(BaseModel):
    """The process answers."""

    live: Literal[True]


class Ready(BaseModel):
    """Prices can be asked for."""

    ready: Literal[True]


class ModelReady(BaseModel):
    """The model is loaded."""

    name: str
    ready: Literal[True]


class ServerMetadata(BaseModel):
    """`extensions`: beyond the protocol itself."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """A tensor that a model takes or gives; -1 is the number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """`versions` holds the model's id, to which an alias points today."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class InferResponse(BaseModel):
    """`model_version` is the id of the model that priced."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


ModelName = Annotated[str, name_path("champion", "A model's id, or an alias.")]

router = APIRouter(
    prefix=PREFIX,
    tags=[TAG],
    route_class=InferenceRoute,
    responses=error_responses(InferenceError),
)


@router.get("", summary="Describe the server")
async def server_metadata() -> ServerMetadata:
    """Its name, its version, and what it does beyond the protocol."""
    return ServerMetadata(name="foldhouse", version=version("foldhouse"), extensions=EXTENSIONS)


@router.get("/health/live", summary="Is the server up?")
async def server_live() -> Live:
    """Asks nothing of anybody."""
    return Live(live=True)


@router.get("/health/ready", summary="Can the server price?")
def server_ready(resources: ResourcesDep) -> Ready:
    """503 without the database or the storage; see `/v2/models/{name}/ready` for a model."""
    readiness(resources)
    return Ready(ready=True)


@router.get("/models/{name}", summary="Describe a model's tensors")
def model_metadata(resources: ResourcesDep, tenant: Tenant, name: ModelName) -> ModelMetadata:
    """An input for each column, of numbers or of texts; a date is a text."""
    loaded = service.load(resources, tenant, name)
    return ModelMetadata(
        name=name,
        versions=[loaded.model.id],
        platform=PLATFORM,
        inputs=_inputs(loaded.predictor.manifest),
        outputs=[
            TensorMetadata(name=output, datatype=datatype, shape=[-1])
            for output, datatype in tensors.OUTPUTS.items()
        ],
    )


@router.get("/models/{name}/ready", summary="Can a model price?")
def model_ready(resources: ResourcesDep, tenant: Tenant, name: ModelName) -> ModelReady:
    """200 once it is loaded."""
    service.load(resources, tenant, name)
    return ModelReady(name=name, ready=True)


async def _data(request: Request) -> bytes:
    refuse_compressed(request)
    return await request.body()


@router.post(
    "/models/{name}/infer",
    summary="Price tensors",
    response_class=Response,
    responses={
        200: {
            "model": InferResponse,
            "content": {JSON: {}, BINARY: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": {"$ref": REF.format(model=InferRequest.__name__)}},
                BINARY: {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
def infer(
    resources: ResourcesDep,
    tenant: Tenant,
    name: ModelName,
    data: Annotated[bytes, Depends(_data)],
    json_bytes: Annotated[
        int | None,
        Header(
            alias=JSON_LENGTH,
            ge=0,
            description="Bytes of JSON at the body's beginning, if bytes of tensors follow it.",
        ),
    ] = None,
) -> Response:
    """A tensor for each column, of shape [N] or [N, 1], as JSON or as bytes (the binary tensor
    extension). Outputs are `value`, `low`, `high` and `warnings`, [N] each: the numbers and texts
    of `POST /v1/predict`. `parameters` may hold `coverage` and `on_unknown`."""
    request, binary = tensors.split(data, json_bytes)
    requested = request.requested()
    columns = tensors.columns(request.inputs, binary)
    rows = request.inputs[0].shape[0]
    body_of_rows = JsonBody(partial(in_blocks, of_columns(columns), rows, request.parameters))
    loaded = service.load(resources, tenant, name)
    priced = service.price(resources, tenant, loaded, body_of_rows, PLAIN)
    answer = whole(priced)
    outputs, tail = tensors.packed(answer, requested)
    head = InferResponse(
        model_name=name, model_version=priced.model_id, id=request.id, outputs=outputs
    )
    text = head.model_dump_json(exclude_none=True).encode()
    headers = ignored_header([*answer.ignored])
    if not any(requested.values()):
        return Response(text, media_type=JSON, headers=headers)
    headers[JSON_LENGTH] = str(len(text))
    return Response(text + tail, media_type=BINARY, headers=headers)


def _inputs(manifest: Manifest) -> list[TensorMetadata]:
    datatypes = {
        **{
            column.name: FLOAT if column.kind == "numeric" else BYTES for column in manifest.numeric
        },
        **{column.name: BYTES for column in manifest.categorical},
    }
    return [
        TensorMetadata(name=name, datatype=datatype, shape=[-1, 1])
        for name, datatype in datatypes.items()
    ]
