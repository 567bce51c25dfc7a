"""The HTTP service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry
from sqlalchemy.exc import SQLAlchemyError
from starlette.middleware.gzip import GZipMiddleware

from app.accounts import audit_endpoints, quota_endpoints, quotas, roles
from app.accounts import endpoints as accounts
from app.accounts.audit import Audit
from app.accounts.audited import Audited
from app.accounts.authentication import Authentication
from app.accounts.keys import Keys
from app.accounts.persons import Persons
from app.accounts.predicted_rows import PredictedRows
from app.accounts.request_rate import RateLimited, RequestRate
from app.datasets import endpoints as datasets
from app.datasets.profiles import Profiles
from app.datasets.upload import remove_abandoned, uploads_root
from app.erasure import endpoints as erasure
from app.errors import Forbidden, ProblemDocument, TooManyAttempts, Unauthorized
from app.http import swagger
from app.http.bodies import InFlight
from app.http.compressed import COMPRESSION
from app.http.connections import END_STREAMS
from app.http.guard import Guard
from app.http.methods import Methods
from app.http.observe import Observe, RequestMetrics
from app.http.openapi import TAGS, complete, problems
from app.http.prefix import Prefix
from app.http.problems import HANDLERS
from app.http.unread import Unread
from app.jobs import endpoints as jobs
from app.jobs import notebooks, references, reports
from app.jobs.broadcast import Broadcast
from app.jobs.event_schemas import EVENTS
from app.jobs.reports import ChartsOut
from app.lessons import endpoints as lessons
from app.monitoring import endpoints as monitoring
from app.monitoring.usage import Usage
from app.operations import endpoints as operations
from app.operations.metrics import Metrics
from app.predictions import endpoints as predictions
from app.predictions.comparables import ComparedTables
from app.predictions.plain import PlainRows, Plans
from app.predictions.predictors import Predictors
from app.predictions.schemas import PredictRequest
from app.predictions.together import Together
from app.protocols import mlflow, open_inference, tensors
from app.queue.dispatch import Hints
from app.registry import endpoints as registry
from app.registry.names import ModelNames
from app.resources import Resources
from app.settings import Settings
from app.storage.blobs import Blobs
from app.storage.database import Database
from app.sweeps import endpoints as sweeps
from app.sweeps import reports as sweep_reports
from app.sweeps.importances import Importances
from app.web import ROUTERS as PAGES
from app.web.assets import Assets
from app.web.rendering import ASSETS_PATH, problem_page
from app.webhooks import endpoints as webhooks
from app.webhooks.schemas import WebhookMessage
from models.machine import usable_cores, usable_memory

PARSED_AT_A_TIME = 1  # uploaded tables: each takes several times its file's size in memory
SEARCHED_AT_A_TIME = 1  # pages of a search for a value, of some ten seconds each
# Submits: more at a time only compete for Python's lock and the write lock, and each takes longer.
SUBMITTED_AT_A_TIME = 3
# Requests of more than a few rows: they hold Python's lock, and each one more doubles the wait of a
# request for a single row.
BULK_AT_A_TIME = 2
# Of the memory that this process may use, for loaded models and for tables to compare with.
MODELS_SHARE, TABLES_SHARE = 1 / 4, 1 / 8

DESCRIPTION = """\
Turns a CSV of houses, or any table, into an honestly cross-validated neural network and serves it.

The examples below work unchanged, in order, with `examples/ames.csv`: upload it, check a spec,
submit it, wait until the job has succeeded, and predict a house's price. Where you submit a spec,
the example `classes` predicts a class instead. `latest` names the newest dataset, job or model,
`champion` the model that serves.

Errors are problem documents (RFC 9457).
"""


def create_app(settings: Settings) -> FastAPI:
    """The application; its database must have been migrated."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Callable[[], None]]]:
        resources = _open(settings)
        remove_abandoned(uploads_root(settings), resources.database, resources.blobs)
        app.state.resources = resources
        with suppress(SQLAlchemyError):  # so that it is known if the database goes away later
            resources[Keys].look_whether_needed()
        resources[Usage].start()
        resources[Audit].start()
        yield {END_STREAMS: resources[Broadcast].stop}
        resources[Broadcast].stop()
        resources.predicting.shutdown()
        resources[Together].close()
        resources[Usage].stop()
        resources[Audit].stop()
        await resources[RequestRate].close()
        resources.hints.close()
        resources.database.close()

    app = FastAPIOffline(
        docs_url=None,  # app.http.swagger adds it
        redoc_url=None,
        static_url=swagger.ASSETS,
        title="foldhouse",
        version=version("foldhouse"),
        description=DESCRIPTION,
        openapi_tags=TAGS,
        servers=[{"url": settings.root_path}] if settings.root_path else None,
        lifespan=lifespan,
        exception_handlers=HANDLERS,
        responses=problems(Unauthorized, Forbidden, TooManyAttempts),
        generate_unique_id_function=lambda route: route.name,
    )

    app.state.problem_page = problem_page
    app.state.problem_writers = {
        open_inference.PREFIX: open_inference.InferenceRoute,
        **dict.fromkeys(mlflow.PATHS, mlflow.MlflowRoute),
    }
    swagger.add_page(app, settings.root_path)
    # The last one added is the outermost.
    app.add_middleware(PlainRows)
    app.add_middleware(Methods)
    if settings.max_requests_per_minute:
        app.add_middleware(RateLimited)
    app.add_middleware(Authentication)
    app.add_middleware(Guard, allowed_hosts=settings.host_names)
    app.add_middleware(Observe)
    app.add_middleware(Audited)
    app.add_middleware(Unread)
    app.add_middleware(Prefix, root=settings.root_path)
    # A request is matched against one router after another: the most frequent come first.
    parts = (
        predictions,
        jobs,
        references,
        reports,
        notebooks,
        sweeps,
        sweep_reports,
        datasets,
        registry,
        monitoring,
        lessons,
        webhooks,
        accounts,
        quota_endpoints,
        audit_endpoints,
        erasure,
        mlflow,
        open_inference,
        operations,
    )
    for part in parts:
        app.include_router(part.router)
    for part in (jobs, sweeps, datasets, registry, webhooks, accounts, quota_endpoints):
        app.include_router(part.removal)
    for router in PAGES:
        app.include_router(router)
    app.mount(ASSETS_PATH, GZipMiddleware(Assets(), compresslevel=COMPRESSION))
    complete(
        app,
        ProblemDocument,
        ChartsOut,
        PredictRequest,
        mlflow.ScoringRequest,
        mlflow.ScoringError,
        tensors.InferRequest,
        open_inference.InferenceError,
        *EVENTS,
        WebhookMessage,
        is_public=roles.is_public,
    )
    return app


def _open(settings: Settings) -> Resources:
    database = Database(settings.resolved_database_url)
    blobs = Blobs(settings.resolved_storage_url)
    registry = CollectorRegistry()
    persons = Persons(settings)
    metrics = Metrics(registry, database)
    parts = (
        persons,
        Keys(database, persons.grants),
        PredictedRows(database, quotas.defaults(settings)),
        RequestRate(settings),
        ModelNames(database),
        Importances(),
        Plans(),
        Together(),
        Predictors(blobs, int(MODELS_SHARE * usable_memory()), metrics.model_load_seconds),
        ComparedTables(database, blobs, int(TABLES_SHARE * usable_memory())),
        Profiles(),
        RequestMetrics(registry),
        metrics,
        Usage(database),
        Audit(database, settings.audit_days),
        Broadcast(database),
        InFlight(settings.max_inflight_body_bytes),
    )
    return Resources(
        settings=settings,
        database=database,
        blobs=blobs,
        hints=Hints(settings),
        parsing=CapacityLimiter(PARSED_AT_A_TIME),
        searching=CapacityLimiter(SEARCHED_AT_A_TIME),
        submitting=CapacityLimiter(SUBMITTED_AT_A_TIME),
        bulk=CapacityLimiter(BULK_AT_A_TIME),
        predicting=ThreadPoolExecutor(usable_cores(), thread_name_prefix="predicting"),
        parts={type(part): part for part in parts},
    )
