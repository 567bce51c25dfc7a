"""/v1/datasets"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, get_args

from anyio import to_thread
from fastapi import APIRouter, BackgroundTasks, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.datasets import repository, service
from app.datasets.schemas import DatasetOut, DatasetSummary
from app.datasets.upload import MAX_NAME, UploadMarks, receive, upload_folder, uploads_root
from app.errors import (
    Conflict,
    DamagedFile,
    IdempotencyMismatch,
    Invalid,
    InvalidTable,
    NotFound,
    OutOfSpace,
    OverQuota,
    OverStorageQuota,
    TooLarge,
    TooSlow,
    Unavailable,
    UnsupportedMedia,
)
from app.http.deps import PrincipalDep, ResourcesDep
from app.http.media import CSV
from app.http.openapi import problems
from app.http.paging import Page, PageQueryDep
from app.http.parameters import PRINTABLE, SEPARATOR, IdempotencyKeyHeader, StrictRoute, name_path
from app.http.sent_files import SentFiles
from app.storage import removals
from app.storage.blobs import CHUNK
from models.tables.readings import DecimalMark, ThousandsMark

COMMON = problems(Invalid, Unavailable)

router = APIRouter(
    prefix="/v1/datasets", tags=["datasets"], route_class=StrictRoute, responses=COMMON
)
removal = APIRouter(
    prefix="/v1/datasets", tags=["removal"], route_class=StrictRoute, responses=COMMON
)

DatasetId = Annotated[str, name_path("latest", "A dataset's id, or `latest`.")]


def optional_field(schema: dict[str, Any]) -> dict[str, Any]:
    """Empty by default: without one Swagger UI sends the first value that the schema allows."""
    return {"type": "string", "default": "", **schema}


# The body is read as a stream, so FastAPI cannot know it.
UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "A CSV, for example `examples/ames.csv`.",
                        },
                        "name": {"type": "string", "maxLength": MAX_NAME, "example": "ames.csv"},
                        "decimal": optional_field({"enum": ["", *get_args(DecimalMark)]}),
                        "separator": optional_field({"pattern": f"^$|{SEPARATOR}"}),
                        "thousands": optional_field({"enum": ["", *get_args(ThousandsMark)]}),
                    },
                }
            },
            CSV: {"schema": {"type": "string"}},
        },
    }
}


@router.post(
    "",
    summary="Upload a table",
    status_code=201,
    response_model=DatasetOut,
    openapi_extra=UPLOAD_BODY,
    responses={
        200: {"model": DatasetOut, "description": "The same bytes were uploaded before."},
        **problems(
            Invalid,
            InvalidTable,
            IdempotencyMismatch,
            NotFound,
            TooLarge,
            TooSlow,
            UnsupportedMedia,
            Unavailable,
            OutOfSpace,
            OverQuota,
            OverStorageQuota,
        ),
    },
)
async def upload_dataset(
    request: Request,
    response: Response,
    resources: ResourcesDep,
    principal: PrincipalDep,
    name: Annotated[
        str | None,
        Query(max_length=MAX_NAME, pattern=PRINTABLE, description="Default: the file's own name."),
    ] = None,
    decimal: Annotated[
        DecimalMark | None,
        Query(description="The decimal mark, if a column can be read with either."),
    ] = None,
    thousands: Annotated[
        ThousandsMark | None,
        Query(description="The thousands separator, if a column can be read in two ways."),
    ] = None,
    separator: Annotated[
        str | None,
        Query(
            pattern=SEPARATOR,
            description="The character between cells, if more than one fits. A space (`%20`) means "
            "runs of spaces.",
        ),
    ] = None,
    idempotency_key: IdempotencyKeyHeader = None,
) -> DatasetOut:
    """The body is the CSV itself (`text/csv`) or a form with the CSV as `file`. It is streamed to
    storage and profiled: kinds of columns, missing cells, levels, and warnings.

    If columns such as `1.234` can be read in two ways, `decimal` and `thousands` decide. If more
    than one separator fits the table, `separator` decides.

    The same bytes with the same marks are the same dataset, with or without an `Idempotency-Key`.
    With a key, the name counts as part of the request, and a deleted dataset is not created again:
    the answer is 404."""
    settings = resources.settings
    marks = UploadMarks(decimal=decimal, thousands=thousands, separator=separator)
    with upload_folder(uploads_root(settings)) as folder:
        upload = await receive(request, folder, settings.max_upload_bytes, name, marks)
        store = partial(
            service.store,
            resources.database,
            resources.blobs,
            settings,
            tenant=principal.tenant,
            upload=upload,
            key=idempotency_key,
        )
        # Uploads wait for their turn here, where they do not occupy a thread.
        dataset, created = await to_thread.run_sync(store, limiter=resources.parsing)
    response.status_code = 201 if created else 200
    response.headers["Location"] = f"/v1/datasets/{dataset.id}"
    return DatasetOut.of(dataset)


@router.get("", summary="List datasets")
def list_datasets(
    resources: ResourcesDep, principal: PrincipalDep, query: PageQueryDep
) -> Page[DatasetSummary]:
    """Newest first, without their columns."""
    with resources.database.reading() as session:
        rows = repository.page(session, principal.tenant, query)
        return query.page([DatasetSummary.of(row) for row in rows])


@router.get("/{dataset_id}", summary="Show a dataset", responses=problems(NotFound))
def show_dataset(
    resources: ResourcesDep, principal: PrincipalDep, dataset_id: DatasetId
) -> DatasetOut:
    """A table's profile, against which specs are resolved."""
    with resources.database.reading() as session:
        return DatasetOut.of(repository.get(session, principal.tenant, dataset_id))


@router.get(
    "/{dataset_id}/content",
    summary="Download the CSV",
    response_class=StreamingResponse,
    responses={
        200: {"content": {CSV: {"schema": {"type": "string"}}}},
        **problems(NotFound, Unavailable, DamagedFile),
    },
)
def download_dataset(
    resources: ResourcesDep, principal: PrincipalDep, dataset_id: DatasetId
) -> StreamingResponse:
    """Exactly the bytes that were uploaded."""
    with resources.database.reading() as session:
        dataset = repository.get(session, principal.tenant, dataset_id)
    file = resources.blobs.open_checked(dataset.csv, dataset.sha256)

    return SentFiles(
        iter(partial(file.read, CHUNK), b""),
        [file],
        media_type=CSV,
        headers={
            "Content-Length": str(dataset.bytes),
            "Content-Disposition": f'attachment; filename="{dataset.id}.csv"',
        },
    )


@removal.delete(
    "/{dataset_id}",
    summary="Delete a dataset",
    status_code=204,
    responses=problems(NotFound, Conflict),
)
def delete_dataset(
    resources: ResourcesDep,
    principal: PrincipalDep,
    dataset_id: DatasetId,
    background: BackgroundTasks,
) -> None:
    """Deletes its files too. 409 while a job that used it exists: delete the job first."""
    with resources.database.writing() as session:
        service.delete(session, principal.tenant, dataset_id)
    background.add_task(removals.carry_out, resources.database, resources.blobs)
