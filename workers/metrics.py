"""What a worker counts, for Prometheus. Nothing in it names a tenant."""

from __future__ import annotations

from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from app.settings import Settings

disable_created_metrics()  # as of the API

# Of an attempt, with their causes.
OUTCOMES = (
    *((outcome, "") for outcome in ("succeeded", "failed", "cancelled", "released", "void")),
    *(("lost", cause) for cause in ("process", "machine", "worker", "lease")),
)


class Metrics:
    """One for all parts of the worker."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.running = Gauge(
            "foldhouse_attempts_running", "Attempts that run here.", registry=registry
        )
        self.attempts = Counter(
            "foldhouse_attempts",
            "Attempts that ended here, or whose end was noticed here.",
            ["outcome", "cause"],
            registry=registry,
        )
        self.epochs = Counter(
            "foldhouse_epochs",
            "Epochs of folds, of attempts that succeeded.",
            registry=registry,
        )
        self.rows = Counter(
            "foldhouse_trained_rows",
            "Training rows of these epochs.",
            registry=registry,
        )
        self.deliveries = Counter(
            "foldhouse_webhook_deliveries",
            "Attempts to deliver a message.",
            ["outcome"],
            registry=registry,
        )
        # From 0 on, because Prometheus does not see that a new series has increased.
        for outcome, cause in OUTCOMES:
            self.attempts.labels(outcome, cause)
        for outcome in ("delivered", "failed"):
            self.deliveries.labels(outcome)

    def serve(self, settings: Settings) -> WSGIServer | None:
        """Answer scrapes from this machine, or from all on a trusted network, in a thread.

        Raises
        ------
        OSError: another process listens on the port.
        """
        if not settings.worker_metrics_port:
            return None
        address = "0.0.0.0" if settings.trusted_network else "127.0.0.1"
        server, _ = start_http_server(settings.worker_metrics_port, address, self.registry)
        return server
