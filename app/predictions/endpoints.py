"""/v1/predict and /v1/models/{model_id}/predict"""

from __future__ import annotations

from threading import Event
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response

from app.errors import (
    Busy,
    DamagedFile,
    Invalid,
    InvalidRows,
    InvalidTable,
    NotFound,
    OverQuota,
    TooLarge,
    TooSlow,
    Unavailable,
    UnsupportedMedia,
)
from app.http.bodies import RowsRoute
from app.http.deps import principal, resources
from app.http.media import CSV, JSON, wants_csv
from app.http.openapi import REF, problems
from app.http.parameters import name_path, query_parameters, read_query
from app.predictions import service
from app.predictions.answers import answer
from app.predictions.rows import read_rows, received
from app.predictions.schemas import (
    ROWS_EXAMPLE,
    NamedPredictQuery,
    PredictionsOut,
    PredictQuery,
    PredictRequest,
)
from app.predictions.turns import predicted_in_turn

CSV_EXAMPLE = "Id,LotArea,Neighborhood,OverallQual,YearBuilt\n1,8450,CollgCr,7,2003\n"

# One operation reads three media types, so FastAPI cannot know the body.
REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {"$ref": REF.format(model=PredictRequest.__name__)},
                "example": ROWS_EXAMPLE,
            },
            CSV: {"schema": {"type": "string"}, "example": CSV_EXAMPLE},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": PredictionsOut,
        "content": {
            JSON: {},  # the model's schema; it stands first because Swagger UI asks for the first
            CSV: {
                "schema": {"type": "string"},
                "example": "prediction,low,high,warnings\n208500.1,187200.4,232223.5,\n",
            },
        },
        "headers": {
            name: {"description": description, "schema": {"type": "string"}}
            for name, description in {
                "X-Model-Id": "With a CSV: the id of the model that predicted.",
                "X-Target": "With a CSV: the predicted column, percent-encoded.",
                "X-Unit": "With a CSV: the target's unit, if its cells in the table had one.",
                "X-Alias": "With a CSV: the alias that the request named, if it named one.",
                "X-Missing-Columns": "With a CSV: columns of the model that no row has, "
                "percent-encoded. `+7` at the end means that seven more are left out.",
                "X-Ignored-Columns": "Columns that the model does not use, percent-encoded and "
                "cut in the same way.",
                "X-Warnings": "With a CSV: codes of the warnings that apply to all rows.",
            }.items()
        },
    },
    **problems(
        Invalid,
        InvalidTable,
        InvalidRows,
        NotFound,
        OverQuota,
        TooLarge,
        TooSlow,
        UnsupportedMedia,
        Busy,
        Unavailable,
        DamagedFile,
    ),
}

router = APIRouter(prefix="/v1", tags=["predictions"], route_class=RowsRoute)


@router.post(
    "/predict",
    summary="Predict rows",
    response_class=Response,
    responses=RESPONSES,
    openapi_extra={**REQUEST_BODY, "parameters": query_parameters(NamedPredictQuery)},
)
async def predict(request: Request) -> Response:
    """Takes rows as JSON or CSV. The answer has the format in Accept, by default that of the rows.
    Each predicted number has an interval; each predicted class has probabilities, and a set of
    classes. Their coverage was measured on rows that the model did not see.

    Columns may be in any order. A missing column or cell is imputed as in training;
    `missing_columns` lists the columns, a warning on the row reports the cell. A column that the
    model does not use is ignored and listed in `ignored_columns`. A CSV answer has both in headers.

    The answer is limited to 4 MiB plus 256 bytes for each byte of the request.
    `?passthrough=Id&name=SalePrice&columns=prediction` gives a Kaggle submission."""
    query = read_query(NamedPredictQuery, request)
    return await _answer(request, query.model, query)


@router.post(
    "/models/{model_id}/predict",
    summary="Predict rows with one model",
    response_class=Response,
    responses=RESPONSES,
    openapi_extra={**REQUEST_BODY, "parameters": query_parameters(PredictQuery)},
)
async def predict_with_model(
    request: Request,
    model_id: Annotated[str, name_path("latest", "A model's id, or an alias.")],
) -> Response:
    """The same as `POST /v1/predict`, with the model in the path."""
    query = read_query(PredictQuery, request)
    return await _answer(request, model_id, query)


async def _answer(request: Request, model: str, query: PredictQuery) -> Response:
    # Called without FastAPI's injection, which takes a tenth of the time of a prediction.
    found, tenant = await resources(request), (await principal()).tenant
    question = query.question()
    accept = request.headers.get("Accept")

    async with received(request, found.settings, read_rows, query.separator) as body:

        def answer_rows(loaded: service.Loaded, gone: Event) -> Response:
            as_csv = wants_csv(accept, default=body.is_csv)
            if query.comparables and (body.is_csv or as_csv):
                raise Invalid(
                    "Comparables need rows and an answer as JSON. Send Content-Type: "
                    "application/json and Accept: application/json."
                )
            return answer(
                service.predict(found, tenant, loaded, body, question, gone),
                query,
                found.settings,
                as_csv=as_csv,
            )

        return await predicted_in_turn(request, found, tenant, model, body, question, answer_rows)
