"""/datasets"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from app.datasets import endpoints as datasets
from app.http.deps import PrincipalDep, ResourcesDep
from app.http.paging import PageQueryDep
from app.web.home import EXAMPLE_PATH
from app.web.jobs import listing
from app.web.rendering import PageRoute, page
from models.tables.profile import ColumnProfile

NEWEST_JOBS = 10
TRAINED_AS = ("numeric", "categorical")  # the kinds that a spec can give a column

router = APIRouter(prefix="/datasets", route_class=PageRoute, include_in_schema=False)


@router.get("")
def show_datasets(
    resources: ResourcesDep, principal: PrincipalDep, query: PageQueryDep
) -> HTMLResponse:
    tables = datasets.list_datasets(resources, principal, query)
    return page("datasets.html", section="datasets", tables=tables, example=EXAMPLE_PATH)


@router.get("/{dataset_id}")
def show_dataset(
    resources: ResourcesDep, principal: PrincipalDep, dataset_id: datasets.DatasetId
) -> HTMLResponse:
    table = datasets.show_dataset(resources, principal, dataset_id)
    wanted = listing.Listing(dataset_id=table.id, limit=NEWEST_JOBS)
    with resources.database.reading() as session:
        jobs = listing.page(session, principal.tenant, wanted)
    return page(
        "dataset.html",
        section="datasets",
        table=table,
        jobs=jobs,
        sketches={column.name: sketch(column) for column in table.columns},
        kinds=TRAINED_AS,
    )


def sketch(column: ColumnProfile) -> Sequence[tuple[float, float, float]]:
    """Bars of a column's distribution: (left, width, height), each from 0 to 1. Of a number, areas
    between its quartiles are a quarter of the rows each; of words, the most frequent levels."""
    if column.top:
        most = column.top[0][1] or 1
        width = 1 / len(column.top)
        return [(place * width, width, rows / most) for place, (_, rows) in enumerate(column.top)]
    if column.quantiles is None or column.min is None or column.max is None:
        return []
    ends = [column.min, *column.quantiles.values(), column.max]
    span = ends[-1] - ends[0]
    if not 0 < span < float("inf"):
        return []
    widths = [(after - before) / span for before, after in pairwise(ends)]
    # A quarter on a single value would be infinitely high.
    heights = [1 / max(width, 0.02) for width in widths]
    return [
        ((before - ends[0]) / span, max(width, 0.01), height / max(heights))
        for before, width, height in zip(ends, widths, heights, strict=False)
    ]
