"""/models"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from app.datasets import endpoints as datasets
from app.errors import NotFound
from app.http.deps import Principal, PrincipalDep, ResourcesDep
from app.http.paging import PageQueryDep
from app.monitoring import endpoints as monitoring
from app.registry import endpoints as registry
from app.registry.schemas import ModelDetail
from app.resources import Resources
from app.web.formats import day, metric
from app.web.rendering import PageRoute, page
from models.serving.manifest import CategoricalFeature, NumericFeature
from models.tables.profile import ColumnProfile

CHAMPION = "champion"
SHOWN_IMPORTANCE = 15
# Levels that a select shows; of a column with more, the input suggests these.
SHOWN_LEVELS = 200

router = APIRouter(prefix="/models", route_class=PageRoute, include_in_schema=False)


@router.get("")
def show_models(
    resources: ResourcesDep, principal: PrincipalDep, query: PageQueryDep
) -> HTMLResponse:
    return page(
        "models.html",
        section="models",
        models=registry.list_models(resources, principal, query),
        aliases=registry.list_aliases(resources, principal).data,
    )


@router.get("/{model_id}")
def show_model(
    resources: ResourcesDep, principal: PrincipalDep, model_id: registry.ModelId
) -> HTMLResponse:
    model = registry.show_model(resources, principal, model_id)
    return page(
        "model.html",
        section="models",
        model=model,
        use=monitoring.show_monitoring(resources, principal, model.id),
        importance=model.importance[:SHOWN_IMPORTANCE],
        champion=CHAMPION,
        picked=[] if model.sweep is None else model.sweep.told(metric(model.sweep.metric)),
    )


@router.get("/{model_id}/predict")
def predict(
    resources: ResourcesDep, principal: PrincipalDep, model_id: registry.ModelId
) -> HTMLResponse:
    model = registry.show_model(resources, principal, model_id)
    return page(
        "predict.html",
        section="models",
        model=model,
        asked=model_id,
        inputs=inputs(resources, principal, model),
    )


@dataclass(frozen=True)
class Input:
    """A column in the form. `value`: a typical one. `levels` of words."""

    name: str
    value: str
    is_number: bool
    levels: Sequence[str]
    hint: str


def inputs(resources: Resources, principal: Principal, model: ModelDetail) -> list[Input]:
    """The model's columns, the most important first, filled in with medians and frequent levels of
    its table; without them once the table has been deleted."""
    try:
        table = datasets.show_dataset(resources, principal, model.dataset_id)
        profile = {column.name: column for column in table.columns}
    except NotFound:
        profile = {}
    rank = {each.column: place for place, each in enumerate(model.importance)}
    columns: list[NumericFeature | CategoricalFeature] = [*model.numeric, *model.categorical]
    columns.sort(key=lambda column: rank.get(column.name, len(rank)))
    return [typical_input(column, profile.get(column.name)) for column in columns]


def typical_input(
    column: NumericFeature | CategoricalFeature, known: ColumnProfile | None
) -> Input:
    if isinstance(column, CategoricalFeature):
        levels = [level for level in column.levels if level]  # a missing cell may be one
        return Input(
            name=column.name,
            value=(column.levels or [None])[0] or "",  # in most rows the cell may be missing
            is_number=column.numbers,
            levels=levels[:SHOWN_LEVELS],
            hint="",
        )
    middle = known.quantiles["0.5"] if known and known.quantiles else None
    if column.kind == "datetime":
        value = "" if middle is None else day(middle)
        return Input(column.name, value, False, [], "a date, such as 2010-07-31")
    # Six digits, without an exponent for large numbers.
    value = "" if middle is None else f"{float(f'{middle:.6g}'):.15g}"
    hint = "" if column.low is None else f"{column.low:g} to {column.high:g} in training"
    return Input(column.name, value, True, [], hint)
