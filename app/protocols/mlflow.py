"""MLflow's scoring protocol: /ping, /version and /invocations, answered by the champion.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from threading import Event
from typing import Annotated, Any, NotRequired

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import to_json
from typing_extensions import TypedDict

from app.errors import Fault, Invalid, ProblemDocument
from app.http.deps import PrincipalDep, ResourcesDep
from app.http.media import CSV, JSON
from app.http.openapi import REF
from app.predictions import service
from app.predictions.rows import (
    JsonBody,
    JsonTable,
    Row,
    RowsBody,
    load_json,
    names_of,
    received,
    validated,
)
from app.predictions.schemas import ROWS_EXAMPLE
from app.predictions.spooling import AnswerFiles, Spooled
from app.predictions.turns import predicted_in_turn
from app.protocols.columns import (
    FIRST_FAULT,
    Asked,
    ProtocolCell,
    of_columns,
    some,
    tensors_of,
    write_columns,
)
from app.protocols.route import TAG, ProtocolRoute, error_responses, message
from app.registry.names import CHAMPION
from app.resources import Resources
from app.settings import Settings
from models.objectives.base import PLAIN
from models.tables.faults import RowWarning, quoted

PART_CELLS = 10_000  # a millisecond to check
PATHS = ("/ping", "/version", "/invocations")
PROTOCOL_VERSION = "3.17.2"  # of MLflow, whose client the tests speak with

# https://github.com/mlflow/mlflow/blob/master/mlflow/protos/databricks.proto
ERROR_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    413: "REQUEST_LIMIT_EXCEEDED",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    507: "RESOURCE_EXHAUSTED",
}


class ScoringError(BaseModel):
    """MLflow's."""

    error_code: str
    message: str


class MlflowRoute(ProtocolRoute):
    """An operation whose errors are MLflow's."""

    @classmethod
    def error(cls, document: ProblemDocument) -> ScoringError:
        code = ERROR_CODES.get(document.status, "BAD_REQUEST")
        return ScoringError(error_code=code, message=message(document))


def _named(table: Any) -> Any:
    if isinstance(table, list) and table and not isinstance(table[0], dict):
        raise ValueError(
            'must be rows, [{"LotArea": 8450}], or columns, {"LotArea": [8450]}, because numbers '
            "without names do not say which column they belong to"
        )
    return table


def _unnested(column: Any) -> Any:
    """[1, 2] for [[1], [2]], which is how models exported to ONNX take their columns."""
    if isinstance(column, list):
        return [cell[0] if isinstance(cell, list) and len(cell) == 1 else cell for cell in column]
    return column


def _in_parts(cells: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Check a long list in parts. One call of pydantic would block all other requests; this lets
    them run between two parts."""
    if not isinstance(cells, list) or len(cells) <= PART_CELLS:
        return check(cells)
    checked: list[ProtocolCell] = []
    for start in range(0, len(cells), PART_CELLS):
        try:
            checked += check(cells[start : start + PART_CELLS])
        except ValidationError:
            return check(cells)  # names the place in the whole list
    return checked


def _in_turn(row: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """The same for a row, whose names are few enough."""
    return check(row)


Cells = Annotated[list[ProtocolCell], FIRST_FAULT, WrapValidator(_in_parts)]
Record = Annotated[dict[str, ProtocolCell], FIRST_FAULT, WrapValidator(_in_turn)]
Records = Annotated[list[Record], FIRST_FAULT]
Columns = Annotated[dict[str, Annotated[Cells, BeforeValidator(_unnested)]], FIRST_FAULT]
Table = Annotated[
    Annotated[Records, Tag("rows")] | Annotated[Columns, Tag("columns")],
    Discriminator(lambda table: "columns" if isinstance(table, dict) else "rows"),
    BeforeValidator(_named),
]


class DataframeSplit(BaseModel):
    """A table as pandas writes it with orient="split"; its index is not used."""

    columns: Annotated[list[str], FIRST_FAULT]
    index: Any = None
    data: Annotated[list[Cells], FIRST_FAULT]

    @model_validator(mode="after")
    def _is_a_table(self) -> DataframeSplit:
        name, times = Counter(self.columns).most_common(1)[0] if self.columns else ("", 0)
        if times > 1:
            raise ValueError(f"has the column {quoted(name)} twice")
        for place, row in enumerate(self.data):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"row {place + 1} has {len(row)} cells where columns has {len(self.columns)}"
                )
        return self


class Params(Asked):
    """Of a request."""

    predict_method: str | None = Field(
        default=None,
        description="Of classes: `predict_proba` gives the probabilities of a row's classes, in "
        "the order in which `GET /v1/models/{id}` lists them. `predict`, the default, gives the "
        "class.",
    )

    @model_validator(mode="before")
    @classmethod
    def _are_known(cls, params: Any) -> Any:
        """With extra="forbid", each of a million unknown names would be an error."""
        if isinstance(params, dict):
            unknown = next((name for name in params if name not in cls.model_fields), None)
            if unknown is not None:
                known = ", ".join(cls.model_fields)
                raise ValueError(f"may have {known}, got {quoted(unknown)}")
        return params


class ScoringRequest(BaseModel):
    """Rows in exactly one of four forms. Other members are ignored, as MLflow does."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"dataframe_records": ROWS_EXAMPLE["rows"]}]}
    )

    dataframe_split: DataframeSplit | None = None
    dataframe_records: Records | None = None
    instances: Table | None = None
    inputs: Table | None = None
    params: Params | None = None

    @model_validator(mode="after")
    def _has_one_form(self) -> ScoringRequest:
        given = [self.dataframe_split, self.dataframe_records, self.instances, self.inputs]
        if sum(form is not None for form in given) != 1:
            raise ValueError(
                "the body must have exactly one of dataframe_split, dataframe_records, instances "
                "and inputs"
            )
        return self


class ScoringAnswer(TypedDict):
    """MLflow's clients read only `predictions`: numbers, classes, or a row's probabilities. Others,
    up to `warnings`, are in the same order: of numbers `low` and `high`, of classes `label` (with
    `predict_proba`), `probability`, `probabilities` (up to 20 classes) and `set`. The rest is about
    all rows, as in `POST /v1/predict`."""

    predictions: list[float | str | list[float] | None]
    low: NotRequired[list[float | None]]
    high: NotRequired[list[float | None]]
    label: NotRequired[list[str]]
    probability: NotRequired[list[float]]
    probabilities: NotRequired[list[list[float]]]
    set: NotRequired[list[str]]
    warnings: list[str]
    model_id: str
    target: str
    unit: str | None
    alias: str | None
    missing_columns: list[str]
    ignored_columns: list[str]
    answer_warnings: list[RowWarning]


REQUEST = TypeAdapter(ScoringRequest)

router = APIRouter(tags=[TAG], route_class=MlflowRoute, responses=error_responses(ScoringError))


@router.get("/ping", summary="Is there a champion?", response_class=PlainTextResponse)
def ping(resources: ResourcesDep, principal: PrincipalDep) -> str:
    """MLflow's health check: 200 if the champion can be loaded."""
    service.load(resources, principal.tenant, CHAMPION)
    return "\n"


@router.get("/version", summary="Show the MLflow version", response_class=PlainTextResponse)
async def version() -> str:
    """The MLflow version whose protocol is implemented. `/openapi.json` has foldhouse's own."""
    return PROTOCOL_VERSION


def _read_scoring(data: bytes, settings: Settings) -> JsonTable:
    request = validated(REQUEST, load_json(data, settings))
    asked = request.params or Params()
    return replace(_table(request, asked), method=asked.predict_method)


def _table(request: ScoringRequest, asked: Params) -> JsonTable:
    split = request.dataframe_split
    table = request.dataframe_records or request.instances or request.inputs or []
    if isinstance(table, dict):
        return of_columns(table, _length(table), asked)
    if split is None:
        records, names = table, names_of(table)
        rows = partial(_between, records)
        return JsonTable(some(len(records)), names, rows, asked.coverage, asked.on_unknown)
    columns, cells = split.columns, split.data

    def of_split(start: int, stop: int) -> list[Row]:
        return [dict(zip(columns, row, strict=True)) for row in cells[start:stop]]

    return JsonTable(some(len(cells)), columns, of_split, asked.coverage, asked.on_unknown)


def _between(rows: Sequence[Row], start: int, stop: int) -> Sequence[Row]:
    return rows[start:stop]


def _length(columns: Mapping[str, Sequence[ProtocolCell]]) -> int:
    """The length of all columns; raises Invalid if they differ."""
    if not columns:
        return 0
    first, *others = columns
    length = len(columns[first])
    for name in others:
        if len(columns[name]) != length:
            raise Invalid(
                f"All columns must have the same length, got {length} cells in {quoted(first)} "
                f"and {len(columns[name])} in {quoted(name)}."
            )
    return length


@router.post(
    "/invocations",
    summary="Predict rows with MLflow's protocol",
    response_class=Response,
    responses={200: {"model": ScoringAnswer}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": {"$ref": REF.format(model=ScoringRequest.__name__)}},
                CSV: {"schema": {"type": "string"}},
            },
        }
    },
)
async def invocations(
    request: Request, resources: ResourcesDep, principal: PrincipalDep
) -> Response:
    """Takes rows as `dataframe_split`, `dataframe_records`, `instances`, `inputs` or CSV. The
    champion answers with a number or a class per row, what belongs to it, and its warnings, as in
    the CSV of `POST /v1/predict`."""
    async with received(request, resources.settings, _read_scoring) as body:
        tenant = principal.tenant
        score = partial(_score, resources, tenant, body)
        return await predicted_in_turn(request, resources, tenant, CHAMPION, body, PLAIN, score)


def _score(
    resources: Resources, tenant: str, body: RowsBody, champion: service.Loaded, gone: Event
) -> Response:
    first = _first_output(body, champion.predictor.answering.methods)
    predicted = service.predict(resources, tenant, champion, body, PLAIN, gone)
    with AnswerFiles(resources.settings, body.size) as files:
        outputs = tensors_of(champion.predictor.columns)
        others = (name for name, tensor in outputs.items() if tensor.is_default)
        written = write_columns(predicted, files, dict.fromkeys([first, *others], False))
        parts: list[bytes | Spooled] = []
        for name, file in written.items():
            # MLflow's clients read the first output under this name.
            shown = name.encode() if parts else b"predictions"
            parts += [b'%s"%s":[' % (b"," if parts else b"{", shown), file, b"]"]
        facts = vars(predicted.facts) | {"answer_warnings": predicted.facts.warnings}
        del facts["warnings"]
        parts.append(b"," + to_json(facts)[1:])
        return files.response(parts, JSON, predicted.facts.ignored_header())


def _first_output(body: RowsBody, methods: Mapping[str, str]) -> str:
    """The output that the request calls predictions; raises what reading the rows does."""
    method = body.table.method if isinstance(body, JsonBody) else None
    if method is None:
        return next(iter(methods.values()))
    if method not in methods:
        detail = f"must be {' or '.join(methods)} for this model, got {quoted(method)}"
        pointer = "/params/predict_method"
        raise Invalid(f"{pointer} {detail}.", [Fault(pointer=pointer, detail=detail)])
    return methods[method]
