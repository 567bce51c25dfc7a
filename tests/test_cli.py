"""The command line: what it refuses, and what it shows of a service's answers."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import socket
import sqlite3
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import foldhouse_client
import httpx
import pytest
from foldhouse_client import Foldhouse
from polling import wait_until
from typer.testing import CliRunner, Result

from app.cli import cli, display, live, worker_process
from app.cli.service import sole_service
from app.cli.worker_process import WorkerProcess
from app.errors import PROBLEM_MEDIA_TYPE, Fault, InvalidSpec

DOCTOR = sys.modules["app.cli.doctor"]  # the package has the command under that name
FOLD = {
    "fold": 0,
    "rows_train": 2344,
    "rows_validation": 586,
    "epochs": 44,
    "stopped_by": "early_stopping",
    "metrics": {"rmse": 28262.4, "rmsle": 0.13164},
}
RESULT = {
    "model_id": "mdl_1",
    "metrics": {"rmse": 28490.1, "rmsle": 0.13071},
    "metrics_error": {"rmse": 1520.4, "rmsle": None},
    "folds": [FOLD, {**FOLD, "fold": 1}],
    "fold_mean": {"rmse": 28138.0, "rmsle": 0.13049},
    "fold_std": {"rmse": 4991.0, "rmsle": None},
    "holdout": {"rows": 293, "metrics": {"rmse": 20463.5, "rmsle": 0.13996}},
    "diagnosis": [{"code": "overfitting", "evidence": "4.8 times", "advice": "more dropout"}],
    "warnings": [],
    "seconds": {"total": 14.3},
}


DATASET = {
    "id": "ds_1",
    "name": "houses.csv",
    "rows": 2930,
    "columns": [
        {"name": "Area", "kind": "numeric", "missing": 3, "distinct": 90, "min": 21.0, "max": 313.0,
         "top": None},
        {"name": "Zone", "kind": "categorical", "missing": 0, "distinct": 7, "min": None,
         "max": None, "top": [["RL", 2273], ["RM", 462], ["FV", 1], ["C", 1], ["A", 1], ["I", 1]]},
        {"name": "Sold", "kind": "datetime", "missing": 0, "distinct": 9, "min": 0.0,
         "max": 253402214400.0, "top": None},
    ],
    "suggestions": {"target": "Area", "exclude": []},
    "warnings": [{"code": "high_missing", "column": "Pool", "detail": "99.6 % missing", "row": 1}],
}  # fmt: skip


def job(status: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": "job_1",
        "name": "baseline",
        "status": status,
        "target": "SalePrice",
        "progress": {
            "fraction": 0.42,
            "epoch": 42,
            "max_epochs": 100,
            "folds_total": 5,
            "folds_active": 4,
            "eta_s": 7.1,
        },
        "attempt": 1,
        "created_at": "2026-01-02T03:04:05Z",
        "error": None,
        "result": None,
        **fields,
    }


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Runs a command in this process, with settings of its own."""
    monkeypatch.setenv("FOLDHOUSE_DATA_DIR", str(tmp_path / "data"))
    # Where the console was made while COLUMNS was set, it keeps that width.
    monkeypatch.setattr(display.console, "_width", 120)
    before = os.umask(0o022)
    yield lambda *arguments: CliRunner().invoke(cli, [str(argument) for argument in arguments])
    os.umask(before)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the service answers: a list for each path, given out in turn, the last one for ever."""
    given: dict[str, Any] = {}

    def handler(request: httpx.Request) -> httpx.Response:
        queue = given[f"{request.method} {request.url.path}"]
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    transport = httpx.MockTransport(handler)
    monkeypatch.setattr(foldhouse_client, "Foldhouse", partial(Foldhouse, transport=transport))
    return given


def stream(*events: str) -> httpx.Response:
    return httpx.Response(200, text="".join(events))


def event(number: int, kind: str, **data: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'shard': 0, **data})}\nid: {number}\n\n"


def state(number: int, status: str, detail: str | None = None) -> str:
    return event(number, "state", state=status, status=status, attempt=1, detail=detail)


def learnt(number: int, fold: int = 0) -> str:
    rows = [
        {"fold": fold, "epoch": epoch, "train_loss": 1 / epoch, "validation_loss": 2.0 / epoch}
        for epoch in (1, 2)
    ]
    return event(number, "epoch", progress=job("running")["progress"], epochs=rows)


def fold_scored(number: int) -> str:
    return event(number, "fold", fold=0, epochs=2, metrics=FOLD["metrics"])


# Refusals


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["serve", "--host", "0.0.0.0"], {}, "FOLDHOUSE_TRUSTED_NETWORK=true"),
        (["api", "--host", "::"], {}, "requests need no key"),
        (["serve", "--host", "no-such-host.invalid"], {}, "not an address of this machine"),
        (["serve"], {"FOLDHOUSE_SLOTS": "many"}, "FOLDHOUSE_SLOTS is 'many'"),
        (["migrate"], {"FOLDHOUSE_DEVICE": "tpu"}, "FOLDHOUSE_DEVICE is 'tpu'"),
        (["migrate"], {"FOLDHOUSE_DATA_DIR": "/dev/null/data"}, "/dev/null/data cannot be created"),
        (
            ["migrate"],
            {"FOLDHOUSE_DATABASE_URL": "postgresql+psycopg://me:secret@127.0.0.1:1/none"},
            "me:***@127.0.0.1:1/none cannot be used",
        ),
        (["migrate"], {"FOLDHOUSE_DATABASE_URL": "oracle of secret"}, "of FOLDHOUSE_DATABASE_URL"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(
    run: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environment: dict[str, str],
    message: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "secret" not in result.output


def test_a_port_in_use_is_refused_before_anything_is_made(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("serve", "--port", taken.getsockname()[1])
    assert result.exit_code == 2
    assert "Address already in use" in result.output
    assert not (tmp_path / "data").exists()


def test_a_second_service_on_a_data_folder_is_refused(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    with sole_service(tmp_path / "data"):
        result = run("serve", "--port", 0)
    assert result.exit_code == 2
    assert f"process {os.getpid()}" in result.output


def test_an_api_beside_serve_on_its_sqlite_is_refused(
    run: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    migrated_postgres_url: str,
) -> None:
    """Several `api` share a folder; a database on a server is nobody's folder."""
    ran = []
    monkeypatch.setattr("app.cli.server.run", lambda settings, *_: ran.append(settings))
    monkeypatch.setattr("app.cli.service.end_on_signals", lambda: None)
    assert run("migrate").exit_code == 0
    with sole_service(tmp_path / "data"):
        refused = run("api", "--port", 0)
    with sole_service(tmp_path / "data", fcntl.LOCK_SH):
        beside_another = run("api", "--port", 0)
        serve = run("serve", "--port", 0)
    monkeypatch.setenv("FOLDHOUSE_DATABASE_URL", migrated_postgres_url)
    with sole_service(tmp_path / "data"):
        on_a_server = run("api", "--port", 0)

    assert (refused.exit_code, serve.exit_code) == (2, 2)
    assert f"another foldhouse (process {os.getpid()}) already serves" in refused.output
    assert (beside_another.exit_code, on_a_server.exit_code) == (0, 0), on_a_server.output
    assert len(ran) == 2


def test_a_database_of_a_later_version_is_refused(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, sqlite_url: str
) -> None:
    monkeypatch.setenv("FOLDHOUSE_DATABASE_URL", sqlite_url)
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    result = run("migrate")
    assert result.exit_code == 2
    assert "a later version migrated it" in result.output


def test_a_backup_is_restored_into_a_folder_that_is_not_there_yet(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run("migrate").exit_code == 0
    assert run("backup", tmp_path / "backup").exit_code == 0
    monkeypatch.setenv("FOLDHOUSE_DATA_DIR", str(tmp_path / "new"))
    restored = run("restore", tmp_path / "backup")
    assert restored.exit_code == 0, restored.output
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert (tmp_path / "new" / "foldhouse.sqlite").exists()


def test_storage_says_what_takes_the_disk(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("FOLDHOUSE_DATABASE_URL", sqlite_url)
    folder = tmp_path / "data" / "storage" / "datasets" / "ds_unknown"
    folder.mkdir(parents=True)
    (folder / "table.csv").write_bytes(bytes(3 * 2**20))
    lines = run("storage").output.splitlines()
    assert lines[0].split() == ["tenant", "datasets", "artifacts", "checkpoints"]
    assert re.fullmatch(r"of no row +3\.0 MiB +0\.0 MiB +0\.0 MiB *", lines[1])
    assert re.fullmatch(r"The database has \d+\.\d MiB\.", lines[2])
    assert json.loads(run("storage", "--json").output)["of_no_row"]["datasets"] == 3 * 2**20


@pytest.mark.parametrize("command", ["api", "worker"])
def test_a_database_that_was_not_migrated_is_refused(
    run: Callable[..., Result], command: str
) -> None:
    result = run(command, *(["--port", 0] if command == "api" else []))
    assert result.exit_code == 2
    assert "Run `foldhouse migrate`" in result.output


def test_a_database_that_is_away_is_waited_for(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql+psycopg://me:secret@127.0.0.1:1/none"
    monkeypatch.setenv("FOLDHOUSE_DATABASE_URL", url)
    started: list[str] = []
    monkeypatch.setattr(os, "execv", lambda program, _: started.append(program))
    result = run("worker")
    assert result.exit_code == 0
    assert "me:***@127.0.0.1:1/none is unreachable" in result.output
    assert len(started) == 1


def test_a_worker_that_cannot_be_started_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    left = tmp_path / "started"
    program = f"import pathlib, sys; pathlib.Path({str(left)!r}).touch(); sys.stdin.read()"
    commands = iter([["/dev/null/nowhere"], [sys.executable, "-c", program]])
    monkeypatch.setattr(worker_process, "RESTART_DELAYS", (0.0,))
    start = subprocess.Popen

    def popen(_: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return start(next(commands), **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    with WorkerProcess():
        wait_until(left.exists)


# Doctor


def test_doctor_says_what_to_do(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = run("doctor")
    assert nothing.exit_code == 1
    assert "`foldhouse serve` and `foldhouse migrate` create it" in nothing.output
    assert "database" not in nothing.output

    assert run("migrate").exit_code == 0
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    idle = run("doctor")
    assert idle.exit_code == 1
    assert [line.split()[0] for line in idle.output.splitlines()] == 6 * ["ok"] + ["WRONG", "→"]
    assert "start `foldhouse serve`, or `foldhouse worker`" in idle.output

    monkeypatch.setattr(DOCTOR, "REPORT_TORCH", "print('no matter')")  # torch takes seconds
    (tmp_path / "data").chmod(0o755)
    open_to_all = run("doctor").output
    assert f"warn  data folder  {tmp_path / 'data'} is open to every user" in open_to_all
    assert f"chmod 700 {tmp_path / 'data'}" in open_to_all
    assert "ok    database" in open_to_all


SECRETS = {
    "FOLDHOUSE_DATABASE_URL": [
        "postgresql+psycopg://me:s3cr3t@127.0.0.1:1/none",
        "postgresql+psycopg://127.0.0.1:1/none?user=me&password=s3cr3t",
        "postgresql+psycopg://me:s3cr3t/w@rd@127.0.0.1:port/none",
        "nodialect://me:s3cr3t@127.0.0.1/none",
    ],
    "FOLDHOUSE_BROKER_URL": [
        "redis://:s3cr3t@127.0.0.1:1/0",
        "redis://127.0.0.1:1/0?password=s3cr3t",
        "redis://me:s3cr3t@127.0.0.1:1/none",
    ],
    "FOLDHOUSE_STORAGE_URL": ["s3x://KEY:s3cr3t@bucket/prefix", "s3x://bucket?secret=s3cr3t"],
}


@pytest.mark.parametrize("variable", SECRETS)
def test_no_command_prints_a_secret(
    run: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    monkeypatch.setattr(DOCTOR, "REPORT_TORCH", "print('no matter')")  # torch takes seconds
    for url in SECRETS[variable]:
        monkeypatch.setenv(variable, url)
        for command in ("migrate", "doctor"):
            shown = run(command)
            assert "s3cr3t" not in shown.output, (command, url)
            assert "s3cr3t" not in str(shown.exception), (command, url)


def test_nothing_of_others_commands_the_terminal(
    run: Callable[..., Result], answers: dict[str, Any]
) -> None:
    evil = "\x1b]0;owned\x07\x9b2J\u202egnp\u2066\u200b\ufeff\r[red]name"
    answers["GET /v1/jobs"] = [
        {"data": [job("queued", name=evil)], "has_more": False, "next": None}
    ]
    problem = InvalidSpec(f"{evil} is wrong.", [Fault(detail=evil, pointer=f"/{evil}")])
    answers["GET /v1/jobs/latest"] = [
        httpx.Response(
            422, json=problem.document().model_dump(), headers={"Content-Type": PROBLEM_MEDIA_TYPE}
        )
    ]
    answers["GET /v1/jobs/job_1"] = [job("failed", error=problem.document().model_dump())]
    for command in (["jobs"], ["jobs", "--json"], ["show"], ["show", "job_1"]):
        shown = run(*command).output
        assert "name" in shown
        left = {one for one in shown if not one.isprintable()} - {"\n", "\t"}
        assert not left, (command, left)


# Commands that talk to a service


def test_a_service_that_is_not_there_costs_one_line(run: Callable[..., Result]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        result = run("jobs", "--url", f"http://127.0.0.1:{closed.getsockname()[1]}")
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "`foldhouse serve` starts one" in result.output


def test_a_refused_spec_names_its_fields(
    run: Callable[..., Result], answers: dict[str, Any], tmp_path: Path
) -> None:
    problem = InvalidSpec("One thing is wrong.", [Fault(detail="too many", pointer="/k_folds")])
    refusal = httpx.Response(
        422, json=problem.document().model_dump(), headers={"Content-Type": PROBLEM_MEDIA_TYPE}
    )
    answers["POST /v1/jobs"] = [refusal]
    answers["GET /v1/datasets/latest"] = [DATASET]
    spec = tmp_path / "spec.json"
    spec.write_text('{"target": "SalePrice"}')
    result = run("submit", spec)
    assert result.exit_code == 1
    assert "field /k_folds: too many" in result.output


@pytest.mark.parametrize("text", ['{"target": ', "[1]"])
def test_a_spec_file_that_is_no_object_is_refused(
    run: Callable[..., Result], tmp_path: Path, text: str
) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(text)
    result = run("submit", spec)
    assert result.exit_code == 2
    assert "JSON" in result.output


def test_a_spec_file_that_says_a_thing_twice_is_refused(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text('{"target": "SalePrice", "optimizer": {"lr": 0.1, "lr": 0.2}}')
    result = run("submit", spec)
    assert result.exit_code == 2
    assert "/optimizer/lr twice" in result.output


def test_submit_uploads_watches_and_shows_the_folds(
    run: Callable[..., Result], answers: dict[str, Any], tmp_path: Path
) -> None:
    answers["POST /v1/datasets"] = [{"id": "ds_1", "name": "houses.csv", "rows": 2}]
    answers["POST /v1/jobs"] = [job("queued")]
    answers["GET /v1/jobs/job_1"] = [job("succeeded", result=RESULT)]
    answers["GET /v1/jobs/job_1/events"] = [
        stream(state(1, "queued"), state(2, "running"), learnt(3)),
        httpx.Response(503, text="restarting"),
        stream(fold_scored(4), state(5, "succeeded")),
    ]
    spec, data = tmp_path / "spec.json", tmp_path / "houses.csv"
    spec.write_text('{"target": "SalePrice"}')
    data.write_text("SalePrice\n1\n2\n")

    result = run("submit", spec, "--data", data, "--watch")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[:8] == [
        "ds_1  houses.csv: 2 rows",
        "job_1  queued",
        "queued",
        "running",
        "running  42%  epoch 42/100, 4 of 5 folds, 7 s left",
        "The connection was lost. Waiting for the service …",
        "fold 0: rmsle 0.1316",
        "succeeded",
    ]
    assert re.search(r"^0 +2,344 +586 +44 early_stopping +28,262 +0.1316 *$", result.output, re.M)
    assert re.search(r"^std +4,991 +– *$", result.output, re.M)
    assert "pooled: rmse 28,490 ± 1,520, rmsle 0.1307" in result.output
    assert "293 rows that no fold saw: rmse 20,464" in result.output
    assert "overfitting: 4.8 times. Advice: more dropout." in result.output
    assert "Model mdl_1 after 14.3 s" in result.output


def test_a_failed_job_is_explained_and_fails_the_command(
    run: Callable[..., Result], answers: dict[str, Any]
) -> None:
    error = {
        "title": "Training failed",
        "status": 500,
        "detail": "The loss is [nan].",
        "errors": [],
    }
    answers["GET /v1/jobs/latest"] = [job("running")]
    answers["GET /v1/jobs/job_1"] = [job("failed", error=error)]
    answers["GET /v1/jobs/job_1/events"] = [stream(state(1, "queued"), state(2, "failed"))]
    result = run("watch")
    assert result.exit_code == 1
    assert "Training failed: The loss is [nan]." in result.output


def test_on_a_terminal_folds_and_their_losses_are_drawn(
    run: Callable[..., Result], answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = display.SafeConsole(
        file=io.StringIO(), force_terminal=True, width=100, highlight=False, _environ={}
    )
    for module in (display, live):
        monkeypatch.setattr(module, "console", terminal)
    answers["GET /v1/jobs/latest"] = [job("running")]
    answers["GET /v1/jobs/job_1"] = [job("succeeded", result=RESULT)]
    folds = [learnt(number, fold) for number, fold in enumerate(range(12), start=3)]
    answers["GET /v1/jobs/job_1/events"] = [
        stream(
            state(1, "queued"),
            state(2, "running", "worker \x1b]0;x lost"),
            *folds,
            fold_scored(15),
            state(16, "succeeded"),
        )
    ]
    assert run("watch").exit_code == 0
    drawn = terminal.file.getvalue()  # type: ignore[attr-defined]
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)
    assert re.search(r"succeeded ━+ 100 % epoch 42/100 +\d:\d\d:\d\d", plain)
    assert re.search(r"^   0 +2 +0.5 +1 +█▁ +rmsle 0.1316 *$", plain, re.M)
    assert re.search(r"^   … +2 more *$", plain, re.M)
    assert "\x1b]0;" not in drawn
    assert "Model mdl_1 after 14.3 s" in plain


@pytest.mark.parametrize(
    ("values", "drawn"),
    [([], ""), ([None, 0.0, -1.0], "   "), ([2.0], "▁"), ([8, 4, None, 2, 1], "█▆ ▃▁"),
     ([*range(1, 49)], "".join)],
)  # fmt: skip
def test_a_curve_is_sketched_in_few_characters(values: list[float | None], drawn: Any) -> None:
    sketch = live.curve(values)
    if isinstance(drawn, str):
        assert sketch == drawn
    else:
        assert (len(sketch), sketch[0], sketch[-1]) == (live.CURVE_WIDTH, "▁", "█")


def test_jobs_are_listed_with_what_matters_of_each(
    run: Callable[..., Result], answers: dict[str, Any]
) -> None:
    error = {"title": "Training failed", "status": 500, "detail": "why", "errors": []}
    listed = [
        job("running", name=None, attempt=2),
        job("succeeded", result=RESULT),
        job("failed", error=error),
        job("queued"),
    ]
    answers["GET /v1/jobs"] = [{"data": listed, "has_more": False, "next": None}]
    result = run("jobs", "--limit", 3)
    assert result.exit_code == 0, result.output
    _, running, succeeded, failed = result.output.splitlines()
    assert running.rstrip().endswith("epoch 42/100, 4 of 5 folds, 7 s left, attempt 2")
    assert succeeded.rstrip().endswith("baseline  rmsle 0.1307")
    assert failed.rstrip().endswith("Training failed")


def test_predict_writes_to_standard_output_or_to_a_file(
    run: Callable[..., Result], answers: dict[str, Any], tmp_path: Path
) -> None:
    answers["POST /v1/predict"] = [httpx.Response(200, content=b"prediction\n208500\n")]
    rows, prices = tmp_path / "houses.csv", tmp_path / "prices.csv"
    rows.write_text("LotArea\n8450\n")
    assert run("predict", rows).output == "prediction\n208500\n"
    answers["POST /v1/predict"] = [httpx.Response(200, content=b"prediction\n208500\n")]
    assert run("predict", rows, "--output", prices).output == ""
    headers = {"X-Target": "y", "X-Ignored-Columns": "Id,y,Odd", "X-Missing-Columns": "Lot%20Area"}
    answers["POST /v1/predict"] = [httpx.Response(200, content=b"prediction\n", headers=headers)]
    assert run("predict", rows, "--output", prices, "--passthrough", "Id").stderr.splitlines() == [
        "the model does not use Odd",
        "the rows lack Lot Area: imputed as in training",
    ]
    answers["POST /v1/predict"] = [httpx.Response(200, content=b"prediction\n208500\n")]
    run("predict", rows, "--output", prices)
    assert prices.read_text() == "prediction\n208500\n"


def exported() -> httpx.Response:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("predict.py", "print(1)")
    return httpx.Response(200, content=content.getvalue())


def test_export_writes_a_folder_named_after_the_model(
    run: Callable[..., Result],
    answers: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    answers["GET /v1/models/champion"] = [{"id": "mdl_1"}]
    answers["GET /v1/models/mdl_1/export"] = [exported(), exported()]
    named, elsewhere = run("export", "champion"), run("export", "champion", "--to", "elsewhere")
    assert "mdl_1: mdl_1; `python mdl_1/predict.py rows.csv` predicts rows" in named.output
    assert "elsewhere: mdl_1" in elsewhere.output
    assert (tmp_path / "mdl_1" / "predict.py").read_text() == "print(1)"
    assert (tmp_path / "elsewhere" / "predict.py").read_text() == "print(1)"

    again = run("export", "champion")
    assert again.exit_code == 2
    assert again.output == "foldhouse: mdl_1: Directory not empty\n"


def test_a_notebook_is_saved(
    run: Callable[..., Result],
    answers: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    answers["GET /v1/jobs/latest"] = [job("succeeded")]
    answers["GET /v1/jobs/job_1/notebook"] = [httpx.Response(200, content=b"{}")]
    assert run("notebook").output == "job_1.ipynb\n"
    assert (tmp_path / "job_1.ipynb").read_text() == "{}"


def test_a_report_is_saved_and_shown(
    run: Callable[..., Result],
    answers: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[str] = []
    monkeypatch.setattr("typer.launch", shown.append)
    monkeypatch.chdir(tmp_path)
    answers["GET /v1/jobs/latest"] = [job("succeeded")]
    answers["GET /v1/jobs/job_1/report"] = [
        httpx.Response(200, content=b"<!doctype html>") for _ in range(2)
    ]
    assert run("report").output == "job_1.html\n"
    assert (tmp_path / "job_1.html").read_text() == "<!doctype html>"
    assert shown == []
    run("report", "--open", "-o", "own.html")
    assert shown == [str(tmp_path / "own.html")]


def test_a_file_that_cannot_be_written_costs_one_line(
    run: Callable[..., Result], answers: dict[str, Any], tmp_path: Path
) -> None:
    rows, target = tmp_path / "houses.csv", tmp_path / "nowhere" / "prices.csv"
    rows.write_text("LotArea\n8450\n")
    answers["POST /v1/predict"] = [httpx.Response(200, content=b"prediction\n208500\n")]
    result = run("predict", rows, "--output", target)
    assert result.exit_code == 2
    assert result.output == f"foldhouse: {target}.part: No such file or directory\n"


def test_cancel_says_where_the_job_stands(
    run: Callable[..., Result], answers: dict[str, Any]
) -> None:
    answers["POST /v1/jobs/job_1/cancel"] = [job("running"), job("cancelled")]
    assert run("cancel", "job_1").output == "job_1  running, asked to stop\n"
    assert run("cancel", "job_1").output == "job_1  cancelled\n"


def test_upload_shows_what_was_understood(
    run: Callable[..., Result], answers: dict[str, Any], tmp_path: Path
) -> None:
    answers["POST /v1/datasets"] = [DATASET]
    table = tmp_path / "houses.csv"
    table.write_text("Area\n1\n")
    lines = run("upload", table).output.splitlines()
    assert lines[0] == "ds_1  houses.csv: 2,930 rows"
    assert re.fullmatch(r"Area +numeric +3 +21 to 313 *", lines[2])
    assert re.fullmatch(r"Zone +categorical +7 levels: RL, RM, FV, C, A, … *", lines[3])
    assert re.fullmatch(r"Sold +datetime +1970-01-01 to 9999-12-31 *", lines[4])
    assert lines[5:] == ["high_missing Pool: 99.6 % missing", "Suggested target: Area"]
    assert json.loads(run("upload", table, "--json").output) == DATASET


def test_find_says_what_to_delete(run: Callable[..., Result], answers: dict[str, Any]) -> None:
    models = [{"id": "mdl_1", "aliases": ["champion", "best"]}, {"id": "mdl_2", "aliases": []}]
    trace = {
        "id": "ds_1",
        "name": "houses.csv",
        "rows": 2,
        "first_rows": [1, 3],
        "jobs": [{"id": "swp_1", "models": models}, {"id": "job_1", "models": []}],
        "jobs_total": 4,
    }
    page = {"data": [trace], "examined": 3, "unread": ["ds_2"], "has_more": False, "next": None}
    answers["POST /v1/datasets:find"] = [page, {**page, "data": [], "unread": []}]
    assert run("find", "Email", "--value", "ana@x.example").output.splitlines() == [
        "ds_1  houses.csv: 2 rows (1, 3)",
        "  swp_1  mdl_1 (champion, best), mdl_2",
        "  job_1",
        "  and 2 older jobs",
        "ds_2  could not be read: its stored table is damaged",
        "To forget it, move or delete the aliases, then delete the jobs, then the datasets.",
        "Backups are not searched.",
    ]
    assert run("find", "Email", "--value", "x").output.startswith("None of 3 datasets has it.\n")


def test_validate_names_the_table_and_shows_the_plan(
    run: Callable[..., Result], answers: dict[str, Any], tmp_path: Path
) -> None:
    plan = {
        "features": [{"name": "Area"}],
        "parameters": 12_345,
        "estimate": {"seconds": 7.2, "memory_bytes": 2**30},
        "warnings": [{"code": "leakage_suspect", "column": "Area", "detail": "follows"}],
    }
    answers["GET /v1/datasets/latest"] = [DATASET]
    answers["POST /v1/jobs:validate"] = [plan]
    spec = tmp_path / "spec.json"
    spec.write_text('{"target": "y"}')
    assert run("validate", spec).output.splitlines() == [
        "ds_1  houses.csv: 2,930 rows",
        "1 columns, 12,345 weights per network, about 7 s and 1,024 MiB",
        "leakage_suspect Area: follows",
    ]


def test_submit_without_a_table_names_the_one_it_takes(
    run: Callable[..., Result], answers: dict[str, Any], tmp_path: Path
) -> None:
    answers["GET /v1/datasets/latest"] = [DATASET]
    answers["POST /v1/jobs"] = [job("queued")]
    spec = tmp_path / "spec.json"
    spec.write_text('{"target": "y"}')
    printed = run("submit", spec).output.splitlines()
    assert printed == ["ds_1  houses.csv: 2,930 rows", "job_1  queued"]
    spec.write_text('{"target": "y", "dataset_id": "ds_2"}')
    table = tmp_path / "houses.csv"
    table.write_text("y\n1\n")
    assert run("submit", spec, "--data", table).exit_code == 2


def test_jobs_sorted_by_a_metric_show_what_differs(
    run: Callable[..., Result], answers: dict[str, Any]
) -> None:
    def scored(rmsle: float | None, **spec: Any) -> dict[str, Any]:
        metrics = {"rmsle": rmsle, "r2": None if rmsle is None else 1 - rmsle}
        given = {"k_folds": 5, "optimizer": {"name": "adam"}, **spec}
        return job("succeeded", name=f"at {rmsle}", spec=given, result={"metrics": metrics})

    listed = [
        job("running", spec={"k_folds": 5, "optimizer": {"name": "adam"}}),
        scored(0.2, dropout=0.1),
        scored(0.1, dropout=0.3),
        scored(0.3, optimizer={"name": "sgd"}),
    ]
    answers["GET /v1/jobs"] = [{"data": listed, "has_more": False, "next": None}]
    header, *rows = run("jobs", "--sort", "rmsle").output.splitlines()
    assert header.split() == [
        "job", "status", "created", "rmsle", "name", "optimizer.name", "dropout"
    ]  # fmt: skip
    assert [re.search(r"0\.\d|–", row).group() for row in rows] == [  # type: ignore[union-attr]
        "0.1", "0.2", "0.3", "–"
    ]  # fmt: skip
    assert "k_folds" not in header
    best = json.loads(run("jobs", "--sort", "r2", "--json").output)[0]
    assert best["name"] == "at 0.1"
    refused = run("jobs", "--sort", "mae")
    assert refused.exit_code == 2
    assert "the jobs have r2, rmsle" in refused.output


def test_models_promote_and_metrics(run: Callable[..., Result], answers: dict[str, Any]) -> None:
    model = {
        "id": "mdl_1",
        "target": "y",
        "created_at": "2026-01-02T03:04:05Z",
        "metrics": {"rmse": 2.0, "rmsle": None},
        "aliases": ["champion"],
    }
    answers["GET /v1/models"] = [{"data": [model], "has_more": False, "next": None}]
    assert re.search(r"mdl_1 +y .*rmse 2 +champion", run("models").output)
    answers["PUT /v1/aliases/champion"] = [{"alias": "champion", "model_id": "mdl_2"}]
    assert run("promote", "mdl_2", "--if-better-than", "champion").output == "champion  mdl_2\n"
    answers["GET /v1/jobs/latest/metrics"] = [httpx.Response(200, content=b"fold\n0\n")] * 2
    assert run("metrics").output == "fold\n0\n"


def test_the_version_is_told(run: Callable[..., Result]) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run("--version").output)
