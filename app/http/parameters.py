"""Parameters that several operations take."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Coroutine
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, TypeVar

from fastapi import Header, Path, Request, Response, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ValidationError

# Names the dataset that was uploaded last, the newest job or the newest model.
LATEST = "latest"

# PostgreSQL refuses NUL in text.
ID_PATTERN = r"^[A-Za-z0-9_.-]{1,64}$"
PRINTABLE = r"^[^\x00-\x1f]*$"
# Of a CSV: a tab, a space (for runs of spaces), or ASCII punctuation except the double quote.
SEPARATOR = r"^[\t !#-/:-@\[-`{-~]$"

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

Query = TypeVar("Query", bound=BaseModel)


def _without_underscores(given: Any) -> Any:
    """Refuse what pydantic would read as Python source does: in a query, 7_0 would be 70."""
    if isinstance(given, str) and "_" in given:
        raise ValueError(f"must be a number, got '{given[:20]}'")
    return given


# For the number in a query parameter.
AsDigits = BeforeValidator(_without_underscores)


def _as_in_rfc_3339(given: Any) -> Any:
    """Refuse what else pydantic would read: numbers, as seconds since 1970."""
    if isinstance(given, datetime) or (isinstance(given, str) and RFC_3339.fullmatch(given)):
        return given
    raise ValueError("must be a time with its zone, such as 2030-01-01T00:00:00Z")


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be in the years 1 to 9999, in UTC too") from None


Moment = Annotated[AwareDatetime, BeforeValidator(_as_in_rfc_3339), AfterValidator(_in_utc)]

# Operations that answer in two formats declare both in their responses.
Accept = Annotated[str | None, Header(include_in_schema=False)]

IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=PRINTABLE,
        description="Any text that the client chooses, such as a UUID. A request repeated with the "
        "same key and body gets the same answer and creates nothing.",
    ),
]


IfMatchHeader = Annotated[
    str | None,
    Header(
        alias="If-Match",
        min_length=1,
        max_length=255,
        pattern=PRINTABLE,
        description='The ETag that you last saw, such as `"17"`. If it has changed since, nothing '
        "is done and the answer is 412. `*` matches any version that exists.",
    ),
]


class StrictRoute(APIRoute):
    """An operation that refuses undeclared query parameters and repeated ones."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        if "parameters" in (self.openapi_extra or {}):
            return answer  # it reads its query itself, with `read_query`
        declared = {
            field.alias
            for field in get_flat_params(self.dependant)
            if isinstance(field.field_info, params.Query)
        }

        async def answer_strictly(request: Request) -> Response:
            if request.scope["query_string"]:
                _refuse_undeclared(request, declared)
            return await answer(request)

        return answer_strictly


def _refuse_undeclared(request: Request, declared: Collection[str]) -> None:
    """Raises RequestValidationError, as `read_query` does."""
    findings: list[dict[str, Any]] = []
    for name in request.query_params:
        texts = request.query_params.getlist(name)
        finding = {"loc": ("query", name), "input": texts[-1]}
        if name not in declared:
            findings.append({**finding, "type": "extra_forbidden", "ctx": {"known": [*declared]}})
        elif len(texts) > 1:
            error = f"must come once, got {len(texts)} values"
            findings.append({**finding, "type": "value_error", "ctx": {"error": error}})
    if findings:
        raise RequestValidationError(findings)


def name_path(example: str, description: str, pattern: str = ID_PATTERN) -> Any:
    """A path parameter that is a name; Swagger UI fills in the example."""
    return Path(
        pattern=pattern, description=description, openapi_examples={example: {"value": example}}
    )


def read_query(model: type[Query], request: Request) -> Query:
    """Parse the query string. FastAPI would take as long for each parameter as for a prediction.

    Raises
    ------
    RequestValidationError: as FastAPI does.
    """
    given = request.query_params
    if not given:
        default: Query = _default(model)
        return default
    repeated = _lists(model)
    values: dict[str, str | list[str]] = {}
    for name in given:
        texts = given.getlist(name)
        # A repeated parameter stays a list and is refused: nobody knows which value is meant.
        values[name] = texts if name in repeated or len(texts) > 1 else texts[0]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        known = {"known": [*model.model_fields]}
        raise RequestValidationError(
            [
                {"ctx": known, **finding, "loc": ("query", *finding["loc"])}
                for finding in error.errors(include_url=False)
            ]
        ) from None


@cache
def _default(model: type[Query]) -> Query:
    return model()


@cache
def _lists(model: type[BaseModel]) -> frozenset[str]:
    """The parameters that may be repeated."""
    properties = model.model_json_schema()["properties"].items()
    return frozenset(name for name, schema in properties if schema.get("type") == "array")


def query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """How OpenAPI describes them."""
    parameters = []
    place: dict[str, Any]
    for name, schema in model.model_json_schema()["properties"].items():
        description = schema.pop("description")
        place = {"name": name, "in": "query", "required": False}
        if "examples" in schema:  # Swagger UI fills in the parameter's own
            place["example"] = schema.pop("examples")[0]
        parameters.append({**place, "description": description, "schema": schema})
    return parameters
