"""/"""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from app.datasets import endpoints as datasets
from app.http.deps import PrincipalDep, ResourcesDep
from app.http.media import CSV
from app.http.paging import PageQuery
from app.http.prefix import ROOT
from app.http.swagger import PATH as DOCS
from app.operations.readiness import readiness
from app.registry import endpoints as registry
from app.web.jobs import listing
from app.web.rendering import HEADERS, PageRoute, page
from lessons.houses import FILE as EXAMPLE

NEWEST = PageQuery(limit=5, after=None)
EXAMPLE_PATH = "/example/houses.csv"

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/")
def start(request: Request, resources: ResourcesDep, principal: PrincipalDep) -> Response:
    """What there is, and what to do next. For a program: the service's name and version."""
    accept = request.headers.get("Accept", "")
    if "application/json" in accept and "text/html" not in accept:
        about = {"name": "foldhouse", "version": version("foldhouse"), "docs": ROOT.get() + DOCS}
        return JSONResponse(about, headers={"Vary": HEADERS["Vary"]})
    tables = datasets.list_datasets(resources, principal, NEWEST).data
    with resources.database.reading() as session:
        jobs = listing.page(session, principal.tenant, listing.Listing(limit=NEWEST.limit)).jobs
    return page(
        "start.html",
        section=None,
        tables=tables,
        jobs=jobs,
        aliases=registry.list_aliases(resources, principal).data,
        readiness=readiness(resources),
        example=EXAMPLE_PATH,
    )


@router.get(EXAMPLE_PATH)
def example() -> FileResponse:
    """A table to try: houses of Ames, Iowa (De Cock 2011)."""
    return FileResponse(EXAMPLE, media_type=CSV, filename=EXAMPLE.name)
