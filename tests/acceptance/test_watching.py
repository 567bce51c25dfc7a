"""What is scraped of four API processes and two workers adds up to what was sent to them."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from polling import free_port, wait_until
from prometheus_client.mmap_dict import MmapedDict
from scraping import counted, samples
from stack import JOB_SECONDS, embedded, houses
from test_serve import started
from worker_process import WorkerProcess, environment

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

PROCESSES = 4
SECONDS = 60.0  # for four processes to start on two cores that other tests share
JOBS = 3
SPEC: dict[str, Any] = {
    "dataset_id": "latest",
    "target": "price",
    "architecture": {"type": "linear"},
    "k_folds": 2,
    "max_epochs": 3,
    "early_stopping": None,
    "baselines": [],
}
ROUTE = "/v1/predict"
HOUSE = {"area": 120, "rooms": 4, "street": "Pave"}
ODD_HOUSE = {**HOUSE, "street": "nowhere"}
# Of these bodies one in two has a row with a warning.
BODIES = [[HOUSE], [HOUSE, ODD_HOUSE, HOUSE]]


@dataclass
class Service:
    url: str
    folder: Path
    worker_ports: list[int]

    def send(self, method: str, path: str, **content: Any) -> httpx.Response:
        """By a connection of its own, so that any of the processes may answer."""
        return httpx.request(method, f"{self.url}{path}", verify=False, timeout=30, **content)

    def scraped(self, name: str) -> dict[tuple[str, ...], float]:
        return samples(self.send("GET", "/metrics").text, name)

    def of_workers(self, name: str) -> Counter[tuple[str, ...]]:
        """The sum over both."""
        total: Counter[tuple[str, ...]] = Counter()
        for port in self.worker_ports:
            text = httpx.get(f"http://127.0.0.1:{port}/metrics", verify=False).text
            total.update(counted(text, name))
        return total

    def processes(self) -> set[int]:
        return {int(pid) for (pid,) in self.scraped("process_cpu_seconds_total")}

    def answered(self) -> list[float]:
        """Predictions that each of the processes has counted."""
        return [
            sum(
                value
                for key, value, *_ in MmapedDict.read_all_values_from_file(file)
                if f'"{ROUTE}"' in key
            )
            for file in sorted(self.folder.glob("tmp/metrics_*/counter_*.db"))
        ]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    settings = embedded(tmp_path)
    ports = [free_port(), free_port()]
    with ExitStack() as held:
        for port in ports:
            own = settings.model_copy(update={"worker_metrics_port": port})
            held.enter_context(WorkerProcess(own))
        arguments = ("api", "--workers", str(PROCESSES))
        of = environment(settings)
        _, url = held.enter_context(started(tmp_path / "log", *arguments, env=of))
        yield Service(url, settings.root, ports)


def test_what_was_sent_is_what_is_scraped(service: Service) -> None:
    service.send("POST", "/v1/datasets", content=houses(), headers={"Content-Type": "text/csv"})
    jobs = [service.send("POST", "/v1/jobs", json=SPEC).json()["id"] for _ in range(JOBS)]

    def found() -> list[Any]:
        return [service.send("GET", f"/v1/jobs/{job_id}").json() for job_id in jobs]

    wait_until(lambda: {job["status"] for job in found()} == {"succeeded"}, JOB_SECONDS)
    folds = [fold for job in found() for fold in job["result"]["folds"]]

    sent: Counter[str] = Counter()

    def predict() -> None:
        body = BODIES[sent["requests"] % 2]
        assert service.send("POST", ROUTE, json={"rows": body}).status_code == 200
        sent.update(requests=1, rows=len(body), warnings=body.count(ODD_HOUSE))

    def each_has_answered(before: list[float]) -> bool:
        predict()
        return all(now > then for now, then in zip(service.answered(), before, strict=True))

    def all_is_counted() -> bool:
        """A request is counted just after its answer."""
        requests = service.scraped("foldhouse_http_requests_total")
        return requests.get(("POST", ROUTE, "200")) == sent["requests"]

    def check() -> None:
        wait_until(all_is_counted)
        (rows,) = service.scraped("foldhouse_predicted_rows_total").values()
        (warnings,) = service.scraped("foldhouse_prediction_warnings_total").values()
        seconds = service.scraped("foldhouse_http_request_duration_seconds_count")
        assert (rows, warnings) == (sent["rows"], sent["warnings"])
        assert seconds["POST", ROUTE] == sent["requests"]

    wait_until(lambda: each_has_answered([0.0] * PROCESSES), SECONDS)
    check()

    victim, *_ = before = service.processes()
    assert len(before) == PROCESSES
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(service.processes() - {victim}) == PROCESSES, SECONDS)
    check()  # nothing of what the victim had counted is lost
    earlier = service.answered()
    wait_until(lambda: each_has_answered(earlier), SECONDS)
    check()

    assert service.scraped("foldhouse_jobs")["succeeded",] == JOBS
    assert service.scraped("foldhouse_slots") == {(): 2}
    assert service.of_workers("foldhouse_attempts_total") == {("succeeded",): JOBS}
    epochs = sum(fold["epochs"] for fold in folds)
    assert service.of_workers("foldhouse_epochs_total") == {(): epochs}
    rows = sum(fold["epochs"] * fold["rows_train"] for fold in folds)
    assert service.of_workers("foldhouse_trained_rows_total") == {(): rows}
