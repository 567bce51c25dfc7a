"""/v1/predict and /v1/models/{model_id}/predict"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from app.bodies import RowsRoute
from app.deps import Resources, ResourcesDep, Tenant
from app.errors import (
    DamagedFile,
    Invalid,
    InvalidRows,
    InvalidTable,
    NotFound,
    TooLarge,
    TooSlow,
    Unavailable,
    UnsupportedMedia,
)
from app.media import CSV, JSON, wants_csv
from app.openapi import REF, problems
from app.parameters import ID_PATTERN, Accept, name_path
from app.predictions import service
from app.predictions.answers import CsvLayout, CsvLayoutDep, answer
from app.predictions.rows import RowsBody, RowsBodyDep
from app.predictions.schemas import ROWS_EXAMPLE, OnUnknown, PredictionsOut, PredictRequest
from app.predictions.service import MOST_EXPLAINED
from models.serving.intervals import DEFAULT_COVERAGE, HIGHEST_COVERAGE, LOWEST_COVERAGE
from models.serving.predictor import Question

CSV_EXAMPLE = "Id,LotArea,Neighborhood,OverallQual,YearBuilt\n1,8450,CollgCr,7,2003\n"

# One operation reads three media types, so FastAPI cannot know the body.
BODY: dict[str, Any] = {
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
            "X-Ignored-Columns": {
                "description": "Columns that the model does not take, percent-encoded.",
                "schema": {"type": "string"},
            }
        },
    },
    **problems(
        Invalid,
        InvalidTable,
        InvalidRows,
        NotFound,
        TooLarge,
        TooSlow,
        UnsupportedMedia,
        Unavailable,
        DamagedFile,
    ),
}

router = APIRouter(prefix="/v1", tags=["predictions"], route_class=RowsRoute)


async def _question(
    coverage: Annotated[
        float,
        Query(
            ge=LOWEST_COVERAGE,
            le=HIGHEST_COVERAGE,
            description="Share of the truths that the intervals are to hold.",
        ),
    ] = DEFAULT_COVERAGE,
    on_unknown: Annotated[
        OnUnknown,
        Query(description="`error` refuses unknown levels, wrong types and missing cells."),
    ] = "warn",
    explain: Annotated[
        bool,
        Query(
            description="Adds to each price what each column contributes to it (JSON alone); each "
            f"row takes as long as thousands of prices, and a request at most {MOST_EXPLAINED}."
        ),
    ] = False,
) -> Question:
    return Question(coverage, on_unknown, explain)


QuestionDep = Annotated[Question, Depends(_question)]


@router.post(
    "/predict",
    summary="Price rows",
    response_class=Response,
    responses=RESPONSES,
    openapi_extra=BODY,
)
def predict(
    resources: ResourcesDep,
    tenant: Tenant,
    body: RowsBodyDep,
    layout: CsvLayoutDep,
    question: QuestionDep,
    model: Annotated[
        str, Query(pattern=ID_PATTERN, description="A model's id, or an alias.")
    ] = "champion",
    accept: Accept = None,
) -> Response:
    """Rows as JSON or as CSV, and prices in the format that Accept asks for: by default the one
    that the rows came in. Each price has an interval, whose coverage was measured on rows that its
    model did not see. Columns may stand in any order. A missing column or cell is imputed as
    in training and warned of; a column that the model does not take is ignored and named in
    `X-Ignored-Columns`. `?passthrough=Id&name=SalePrice&columns=prediction` gives a Kaggle
    submission."""
    return _answer(resources, tenant, model, body, layout, question, accept)


@router.post(
    "/models/{model_id}/predict",
    summary="Price rows with one model",
    response_class=Response,
    responses=RESPONSES,
    openapi_extra=BODY,
)
def predict_with_model(
    resources: ResourcesDep,
    tenant: Tenant,
    body: RowsBodyDep,
    layout: CsvLayoutDep,
    question: QuestionDep,
    model_id: Annotated[str, name_path("champion", "A model's id, or an alias.")],
    accept: Accept = None,
) -> Response:
    """As `POST /v1/predict`, which see."""
    return _answer(resources, tenant, model_id, body, layout, question, accept)


def _answer(
    resources: Resources,
    tenant: str,
    model: str,
    body: RowsBody,
    layout: CsvLayout,
    question: Question,
    accept: str | None,
) -> Response:
    priced = service.price(resources, tenant, model, body, question)
    return answer(
        priced,
        layout,
        resources.settings,
        as_csv=wants_csv(accept, default=body.is_csv),
        explained=question.explain,
    )
