"""/v1/audit"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from sqlalchemy import Select, select

from app.accounts.endpoints import COMMON
from app.accounts.schemas import AuditOut
from app.grants import TENANT_PATTERN
from app.http.csv_text import Cell, csv_lines
from app.http.deps import PrincipalDep, ResourcesDep
from app.http.media import CSV, wants_csv
from app.http.paging import NumberedPageQueryDep, Page, PageQuery
from app.http.parameters import ID_PATTERN, PRINTABLE, Accept, Moment, StrictRoute
from app.storage.database import Database
from app.storage.tables import AuditRow

CSV_ROWS = 1_000  # that are read at a time
COLUMNS = tuple(AuditOut.model_fields)

router = APIRouter(prefix="/v1", tags=["accounts"], route_class=StrictRoute, responses=COMMON)


@router.get(
    "/audit",
    summary="Who did what?",
    response_model=Page[AuditOut],
    responses={
        200: {
            "content": {
                CSV: {"schema": {"type": "string"}, "example": ",".join(COLUMNS) + "\n"},
            }
        }
    },
)
def list_audit(
    resources: ResourcesDep,
    principal: PrincipalDep,
    query: NumberedPageQueryDep,
    since: Annotated[Moment | None, Query(description="From this time on.")] = None,
    until: Annotated[Moment | None, Query(description="Before this time.")] = None,
    tenant: Annotated[
        str | None, Query(pattern=TENANT_PATTERN, description="Of whom, for admins of `local`.")
    ] = None,
    key_id: Annotated[str | None, Query(pattern=ID_PATTERN, description="By this key.")] = None,
    subject: Annotated[
        str | None, Query(pattern=PRINTABLE, max_length=255, description="By this person.")
    ] = None,
    object_id: Annotated[str | None, Query(pattern=ID_PATTERN, description="On this.")] = None,
    accept: Accept = None,
) -> Page[AuditOut] | StreamingResponse:
    """What has written, and what was refused; newest first, as pages of JSON. As CSV (`Accept:
    text/csv`) it is all rows from `after` on. Admins of `local` see those of all tenants, and those
    without one.

    Refused attempts (401, 403, 429) of one address, sender and status are one row a minute, which
    shows the first and has their `count`."""
    wanted = {"tenant": tenant, "key_id": key_id, "subject": subject, "object_id": object_id}
    rows = select(AuditRow).filter_by(**{name: one for name, one in wanted.items() if one})
    if not principal.is_operator:
        rows = rows.where(AuditRow.tenant == principal.tenant)
    if since is not None:
        rows = rows.where(AuditRow.at >= since)
    if until is not None:
        rows = rows.where(AuditRow.at < until)
    if wants_csv(accept, default=False):
        batches = _batches(resources.database, rows, query.after)
        return StreamingResponse(csv_lines(COLUMNS, batches), media_type=CSV)
    with resources.database.reading() as session:
        found = session.scalars(query.apply(rows, AuditRow.id)).all()
        return query.page([AuditOut.of(row) for row in found])


def _batches(
    database: Database, rows: Select[AuditRow], after: str | int | None
) -> Iterator[Sequence[Sequence[Cell]]]:
    """Newest first, with a short transaction for each batch."""
    while True:
        query = PageQuery(CSV_ROWS, after)
        with database.reading() as session:
            page = query.page(
                [AuditOut.of(row) for row in session.scalars(query.apply(rows, AuditRow.id))]
            )
        yield [[*row.model_dump(mode="json").values()] for row in page.data]
        if not page.has_more:
            return
        after = int(page.data[-1].id)
