"""The Open Inference Protocol, version 2: what KServe, Triton and their clients speak."""

from __future__ import annotations

from functools import cached_property, partial
from importlib.metadata import version
from threading import Event
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.errors import ProblemDocument
from app.http.deps import PrincipalDep, ResourcesDep
from app.http.media import BINARY, JSON, refuse_compressed
from app.http.openapi import REF
from app.http.parameters import name_path
from app.operations.readiness import readiness
from app.predictions import service
from app.predictions.rows import JsonBody, JsonTable, refuse_too_many
from app.predictions.spooling import AnswerFiles, Spooled
from app.predictions.turns import predicted_in_turn
from app.protocols import tensors
from app.protocols.columns import BYTES, FLOAT, of_columns, tensors_of, write_columns
from app.protocols.route import TAG, ProtocolRoute, error_responses, message
from app.protocols.tensors import InferRequest, OutputTensor
from app.resources import Resources
from app.settings import Settings
from models.objectives.base import PLAIN
from models.serving.manifest import Manifest

JSON_LENGTH = "Inference-Header-Content-Length"
EXTENSIONS = ["binary_tensor_data"]
PLATFORM = "onnxruntime_onnx"
PREFIX = "/v2"


class InferenceError(BaseModel):
    """An error in the protocol's format."""

    error: str


class InferenceRoute(ProtocolRoute):
    """An operation with errors in the protocol's format."""

    @classmethod
    def error(cls, document: ProblemDocument) -> InferenceError:
        return InferenceError(error=message(document))


class Live(BaseModel):
    """The process answers."""

    live: Literal[True]


class Ready(BaseModel):
    """The server can predict."""

    ready: Literal[True]


class ModelReady(BaseModel):
    """The model is loaded."""

    name: str
    ready: Literal[True]


class ServerMetadata(BaseModel):
    """The server, and the protocol's `extensions` that it supports."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """An input or output tensor of a model; -1 stands for the number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """A model and its tensors. `versions` holds the id of the model that the name means now."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class InferResponse(BaseModel):
    """`model_version` is the id of the model that predicted."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, str] = Field(
        description="`target` and, where there are any, `alias`, `missing_columns`, "
        "`ignored_columns` and `warnings` of all rows, percent-encoded and separated by commas."
    )
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
    """The server's name, version and protocol extensions."""
    return ServerMetadata(name="foldhouse", version=version("foldhouse"), extensions=EXTENSIONS)


@router.get("/health/live", summary="Is the server up?")
async def server_live() -> Live:
    """Checks nothing else."""
    return Live(live=True)


@router.get("/health/ready", summary="Can the server predict?")
def server_ready(resources: ResourcesDep) -> Ready:
    """503 without the database or the storage; see `/v2/models/{name}/ready` for a model."""
    readiness(resources)
    return Ready(ready=True)


@router.get("/models/{name}", summary="Describe a model's tensors")
def model_metadata(
    resources: ResourcesDep, principal: PrincipalDep, name: ModelName
) -> ModelMetadata:
    """An input for each column, of numbers or texts; a date is a text."""
    loaded = service.load(resources, principal.tenant, name)
    return ModelMetadata(
        name=name,
        versions=[loaded.model.id],
        platform=PLATFORM,
        inputs=_inputs(loaded.predictor.manifest),
        outputs=[
            TensorMetadata(name=output, datatype=tensor.datatype, shape=tensor.shape(-1))
            for output, tensor in tensors_of(loaded.predictor.columns).items()
        ],
    )


@router.get("/models/{name}/ready", summary="Can a model predict?")
def model_ready(resources: ResourcesDep, principal: PrincipalDep, name: ModelName) -> ModelReady:
    """200 if the model can be loaded."""
    service.load(resources, principal.tenant, name)
    return ModelReady(name=name, ready=True)


async def _data(request: Request) -> bytes:
    refuse_compressed(request)
    return await request.body()


@router.post(
    "/models/{name}/infer",
    summary="Predict rows as tensors",
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
async def infer(
    request: Request,
    resources: ResourcesDep,
    principal: PrincipalDep,
    name: ModelName,
    data: Annotated[bytes, Depends(_data)],
    json_bytes: Annotated[
        int | None,
        Header(
            alias=JSON_LENGTH,
            ge=0,
            description="Length of the JSON at the body's start, if binary tensors follow it.",
        ),
    ] = None,
) -> Response:
    """Takes a tensor for each column, of shape [N] or [N, 1], as JSON or as bytes (the binary
    tensor extension). Outputs are those of `POST /v1/predict`: of numbers `value`, `low`, `high`
    and `warnings`, of classes `label`, `probability`, `probabilities` [N, classes], `set` (its
    classes with bars between them) and `warnings`. Of more than 20 classes `probabilities` must be
    requested in `outputs`. `parameters` may hold `coverage` and `on_unknown`."""
    tenant, body = principal.tenant, TensorBody(data, json_bytes, resources.settings)
    predict = partial(_predict, resources, tenant, name, body)
    return await predicted_in_turn(request, resources, tenant, name, body, PLAIN, predict)


class TensorBody(JsonBody):
    """Rows as tensors; the request's options are read when they are needed."""

    def __init__(self, data: bytes, json_bytes: int | None, settings: Settings) -> None:
        super().__init__(self._read_table, len(data))
        self._settings = settings
        self._split = partial(tensors.split, data, json_bytes, settings)

    @cached_property
    def asked(self) -> tuple[InferRequest, memoryview]:
        """What `tensors.split` gives, and raises."""
        return self._split()

    def _read_table(self) -> JsonTable:
        request, binary = self.asked
        rows = next(iter(request.inputs[0].shape), 0)
        if rows <= self.size:  # else the shape lies, as reading the cells will show
            refuse_too_many(rows, self._settings)
        columns = tensors.columns(request.inputs, binary)
        return of_columns(columns, request.inputs[0].shape[0], request.parameters)


def _predict(
    resources: Resources,
    tenant: str,
    name: str,
    body: TensorBody,
    loaded: service.Loaded,
    gone: Event,
) -> Response:
    request, _ = body.asked
    outputs = tensors_of(loaded.predictor.columns)
    requested = request.requested(outputs)
    count = body.table.count
    predicted = service.predict(resources, tenant, loaded, body, PLAIN, gone)
    with AnswerFiles(resources.settings, body.size) as files:
        written = write_columns(predicted, files, requested)
        head = InferResponse(
            model_name=name,
            model_version=predicted.facts.model_id,
            id=request.id,
            parameters=predicted.facts.parameters(),
            outputs=[],
        )
        parts: list[bytes | Spooled] = [head.model_dump_json(exclude_none=True).encode()[:-2]]
        for place, (output, as_bytes) in enumerate(requested.items()):
            file = written[output]
            of_output = outputs[output]
            tensor = OutputTensor(
                name=output, shape=of_output.shape(count), datatype=of_output.datatype
            )
            if as_bytes:
                tensor.parameters = {"binary_data_size": file.tell()}
            text = tensor.model_dump_json(exclude_none=True).encode()
            parts.append(b"," * (place > 0) + text[: None if as_bytes else -1])
            if not as_bytes:
                parts += [b',"data":[', file, b"]}"]
        parts.append(b"]}")
        headers = predicted.facts.ignored_header()
        if not any(requested.values()):
            return files.response(parts, JSON, headers)
        headers[JSON_LENGTH] = str(
            sum(len(part) if isinstance(part, bytes) else part.tell() for part in parts)
        )
        parts += [written[output] for output, as_bytes in requested.items() if as_bytes]
        return files.response(parts, BINARY, headers)


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
