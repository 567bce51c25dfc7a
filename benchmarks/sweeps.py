"""A sweep against the same specs as jobs and against the loop that courses teach, each from the
submit to its models; and with two workers of one core each against one.

Some of the jobs, and one of the loops, are timed and multiplied. The loop's inputs are encoded in
advance, and it only trains.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from foldhouse_client import Foldhouse

from benchmarks.folds_against_loop import encoded, loop_with_loader
from benchmarks.houses import rows_of, stored, table_arguments
from benchmarks.load import FOLDHOUSE, new_service, service
from benchmarks.measurement import best_seconds

TIMED_JOBS = 4
POLL = 0.25  # s
SPACE = {
    "weight_decay": {"low": 1e-3, "high": 1.0, "log": True},
    "dropout": {"low": 0.0, "high": 0.5},
    "optimizer.learning_rate": {"low": 3e-4, "high": 8e-3, "log": True},
}


def main(arguments: Sequence[str] = ()) -> None:
    parser = table_arguments(__doc__)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--workers", action="store_true", help="only two workers against one")
    given = parser.parse_args(arguments)
    if not given.workers:
        against_jobs(given)
    two_workers(given)


def against_jobs(given: Any) -> None:
    spec = spec_of([64], given.epochs)
    with new_service("serve") as url, Foldhouse(url) as client:
        dataset = client.upload(given.table)["id"]
        train(client, body_of(given, spec, dataset, 2))  # warms everything up
        _, taken = train(client, body_of(given, spec, dataset, given.trials))
        best = client.trials("latest")[:TIMED_JOBS]
        began = time.perf_counter()
        for trial in best:
            wanted = client.trial(trial["trial"], "latest")["spec"]
            client.wait(client.submit(wanted)["id"])
        jobs = (time.perf_counter() - began) / TIMED_JOBS * given.trials
    with stored(rows_of(given), given.target) as table:
        task = table.load(table.resolve(**spec))
        folds = encoded(task)
        loop = best_seconds(lambda: loop_with_loader(task.spec, folds), 1) * given.trials
    print(f"| {given.trials} trials × 5 folds of [64], {given.epochs} epochs | |\n| --- | --- |")
    print(f"| from the submit to the model, s | {taken:.1f} |")
    print(f"| the same specs as jobs ({TIMED_JOBS} timed and multiplied) | {jobs / taken:.1f} × |")
    print(f"| DataLoader loop (one timed and multiplied) | {loop / taken:.1f} × |", flush=True)


def two_workers(given: Any) -> None:
    spec = spec_of([256, 64], given.epochs)
    trained, whole = [], []
    for count in (1, 2):
        with (
            tempfile.TemporaryDirectory(prefix="foldhouse-") as folder,
            service("api", folder) as url,
            Foldhouse(url) as client,
            workers(folder, count),
        ):
            dataset = client.upload(given.table)["id"]
            train(client, body_of(given, spec, dataset, 2 * count))
            of_batches, taken = train(client, body_of(given, spec, dataset, given.trials))
            trained.append(of_batches)
            whole.append(taken)
    print(f"\n| {given.trials} trials of [256, 64] | |\n| --- | --- |")
    print(f"| one worker of one core, s | {whole[0]:.1f} |")
    print(f"| of which the model, which one worker makes, s | {whole[0] - trained[0]:.1f} |")
    print(f"| two of them | {whole[0] / whole[1]:.2f} × |")
    print(f"| the trials alone | {trained[0] / trained[1]:.2f} × |", flush=True)


def spec_of(hidden_sizes: list[int], epochs: int) -> dict[str, Any]:
    return {
        "architecture": {"type": "mlp", "hidden_sizes": hidden_sizes, "activation": "relu"},
        "k_folds": 5,
        "max_epochs": epochs,
        "early_stopping": None,
        "baselines": [],
        "preprocessing": {"numeric_scaling": "standard"},
    }


def body_of(given: Any, spec: dict[str, Any], dataset_id: str, trials: int) -> dict[str, Any]:
    return {
        "dataset_id": dataset_id,
        "target": given.target,
        "spec": spec,
        "search_space": SPACE,
        "sampler": "random",
        "n_trials": trials,
    }


def train(client: Foldhouse, body: dict[str, Any]) -> tuple[float, float]:
    """Seconds from the submit until all trials have ended, and until the model is there."""
    began = time.perf_counter()
    dataset = body.pop("dataset_id")
    sweep_id = client.submit_sweep(body, dataset)["id"]
    while client.sweep(sweep_id)["progress"]["succeeded"] < body["n_trials"]:
        time.sleep(POLL)
    trained = time.perf_counter() - began
    ended = client.wait(sweep_id)
    assert ended["status"] == "succeeded", ended["error"]
    return trained, time.perf_counter() - began


@contextmanager
def workers(folder: str, count: int) -> Iterator[None]:
    """Workers with a core of their own each."""
    environment = {**os.environ, "FOLDHOUSE_DATA_DIR": folder}
    with ExitStack() as stack:
        for core in range(count):
            process = subprocess.Popen(
                ["taskset", "--cpu-list", str(core), FOLDHOUSE, "worker"],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        yield


if __name__ == "__main__":
    main(sys.argv[1:])
