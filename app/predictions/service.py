"""From rows to their prices."""

from __future__ import annotations

from dataclasses import dataclass

from app.deps import Resources
from app.errors import InvalidRows
from app.predictions.rows import CsvRows, JsonRows, RowsBody
from app.predictions.schemas import OnUnknown
from app.registry import repository as registry
from app.validation import table_faults
from models.serving.predictor import Predictions, RowError


@dataclass(frozen=True)
class Priced:
    """Rows with what a model says of them."""

    model_id: str
    rows: JsonRows | CsvRows
    predictions: Predictions


def price(
    resources: Resources,
    tenant: str,
    reference: str,
    body: RowsBody,
    on_unknown: OnUnknown,
) -> Priced:
    """Price rows with the model that an id or an alias names.

    Raises
    ------
    NotFound, InvalidTable, InvalidRows, TooLarge, RequestValidationError, ArtifactCorrupt
    """
    with resources.database.reading() as session:
        model = registry.get(session, tenant, reference)
    predictor = resources.predictors.get(model)
    rows = body.parse(resources.settings)
    try:
        predictions = rows.price(predictor, on_unknown)
    except RowError as error:
        raise InvalidRows(f"{error.detail}.", table_faults(error)) from None
    resources.metrics.predicted_rows.inc(len(predictions.values))
    return Priced(model.id, rows, predictions)
