"""From rows to an answer with their prices."""

from __future__ import annotations

from fastapi import Response

from app.deps import Resources
from app.errors import Invalid, InvalidRows
from app.predictions.answers import CsvLayout, csv_answer, json_answer
from app.predictions.rows import RowsBody
from app.predictions.schemas import OnUnknown
from app.registry import repository as registry
from app.validation import table_faults
from models.serving.predictor import RowError


def price(
    resources: Resources,
    tenant: str,
    reference: str,
    body: RowsBody,
    *,
    on_unknown: OnUnknown,
    layout: CsvLayout,
    as_csv: bool,
) -> Response:
    """Price rows with the model that an id or an alias names.

    Raises
    ------
    NotFound, Invalid, InvalidTable, InvalidRows, ArtifactCorrupt
    """
    with resources.database.reading() as session:
        model = registry.get(session, tenant, reference)
    if not as_csv and not layout.is_default:
        raise Invalid(
            "passthrough, name and columns shape a CSV: ask for it with Accept: text/csv."
        )
    predictor = resources.predictors.get(model)
    rows = body.parse(resources.settings)
    copied = layout.copied(rows.columns) if layout.passthrough else []
    try:
        predictions = rows.price(predictor, on_unknown)
    except RowError as error:
        raise InvalidRows(f"{error.detail}.", table_faults(error)) from None
    resources.metrics.predicted_rows.inc(len(predictions.values))
    if not as_csv:
        return json_answer(model.id, predictions)
    return csv_answer(layout, {name: rows.column(name) for name in copied}, predictions)
