"""/datasets"""

from __future__ import annotations

from collections.abc import Sequence

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


def sketch(column: ColumnProfile) -> Sequence[float]:
    """Heights of the bars of a column's distribution, from 0 to 1: of a number its histogram, of
    words their most frequent levels. None for a table that an earlier version read."""
    counts = [rows for _, rows in column.top] if column.top else column.histogram or []
    most = max(counts, default=0) or 1
    return [count / most for count in counts]
