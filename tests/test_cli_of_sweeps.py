"""The command line about sweeps."""

from __future__ import annotations

import io
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import foldhouse_client
import httpx
import pytest
from foldhouse_client import Foldhouse, following
from typer.testing import CliRunner, Result

from app.cli import cli, display, display_sweeps, live_sweeps

TABLE = {"id": "ds_1", "name": "houses.csv", "rows": 2930}
SPACE = {"dropout": {"low": 0.0, "high": 0.6}, "seed": {"choices": [0, 1]}}
BEST = {"trial": 3, "params": {"dropout": 0.123456}, "value": 0.1204, "standard_error": 0.004}


def sweep(status: str, ended: int = 0, **fields: Any) -> dict[str, Any]:
    done = {"failed": 0, "cancelled": 0, "running": 0, "fraction": ended / 10, "eta_s": 7.1}
    return {
        "id": "swp_1",
        "name": "drop\x1bout",
        "target": "SalePrice",
        "status": status,
        "metric": "rmsle",
        "keep": "best",
        "progress": {"trials": 8, "succeeded": ended, **done},
        "best": None,
        "expected": None,
        "as_good": None,
        "members": [],
        "model_id": None,
        "metrics": None,
        "metrics_error": None,
        "started_at": "2026-01-02T03:04:05Z" if ended else None,
        "error": None,
        **fields,
    }


ENDED = sweep(
    "succeeded",
    8,
    best=BEST,
    expected={"naive": 0.1204, "estimate": 0.1217, "low": 0.113, "high": 0.131, "optimism": 0.0013},
    as_good={"trial": 6, "times_smaller": 12.3, "difference": 0.001, "standard_error": 0.002},
    members=[3],
    model_id="mdl_1",
)


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def answers(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What the service answers to each request, in turn, the last one for ever."""
    given: dict[str, list[Any]] = {}

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path} {request.read().decode()}".rstrip())
        queue = given[f"{request.method} {request.url.path}"]
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    transport = httpx.MockTransport(handler)
    monkeypatch.setattr(foldhouse_client, "Foldhouse", partial(Foldhouse, transport=transport))
    monkeypatch.setattr(following, "POLL_FIRST", 0.0)
    monkeypatch.setattr(display.console, "_width", 120)
    return given


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_space_or_a_whole_sweep_is_submitted(
    answers: dict[str, list[Any]], asked: list[str], tmp_path: Path, is_whole: bool
) -> None:
    answers["POST /v1/datasets"] = [TABLE]
    answers["POST /v1/sweeps"] = [sweep("queued")]
    space, data = tmp_path / "space.json", tmp_path / "houses.csv"
    whole = {"search_space": SPACE, "n_trials": 8, "target": "other"}
    space.write_text(json.dumps(whole if is_whole else SPACE))
    data.write_text("SalePrice\n1\n")

    result = run("sweep", space, "--data", data, "--target", "SalePrice", "--name", "dropout")
    assert result.output.splitlines() == ["ds_1  houses.csv: 2,930 rows", "swp_1  queued"]
    sent = json.loads(asked[-1].removeprefix("POST /v1/sweeps "))
    expected = {"search_space": SPACE, "target": "SalePrice", "name": "dropout"}
    assert sent == expected | {"dataset_id": "ds_1"} | ({"n_trials": 8} if is_whole else {})


def test_a_sweep_without_a_target_is_refused(answers: dict[str, list[Any]]) -> None:
    result = run("sweep")
    assert result.exit_code == 2
    assert "--target" in result.output
    assert not answers


def test_a_sweep_is_followed_to_the_winner_and_what_it_is_worth(
    answers: dict[str, list[Any]],
) -> None:
    answers["GET /v1/datasets/latest"] = [TABLE]
    answers["POST /v1/sweeps"] = [sweep("queued")]
    first = {**BEST, "trial": 0, "value": 0.15}
    answers["GET /v1/sweeps/swp_1"] = [
        sweep("queued"),
        sweep("running", 2, best=first),
        sweep("queued", 4, best=first),  # between two batches
        sweep("running", 7, best=BEST),
        ENDED,
    ]
    result = run("sweep", "--target", "SalePrice", "--watch")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[2:] == [
        "queued",
        "running",
        "best so far: trial 0, rmsle 0.15 ± 0.004: dropout 0.1235",
        "running  20%  2 of 8 trials, 7 s left",
        "running  40%  4 of 8 trials, 7 s left",
        "best so far: trial 3, rmsle 0.1204 ± 0.004: dropout 0.1235",
        "running  70%  7 of 8 trials, 7 s left",
        "succeeded",
        "swp_1  succeeded  8 of 8 trials",
        "Best: trial 3, rmsle 0.1204 ± 0.004: dropout 0.1235",
        "On new rows expect 0.1217 (0.113 to 0.131), because it was picked from 8 trials",
        "Trial 6 is as good and 12 times smaller",
        "Model mdl_1",
    ]


def test_on_a_terminal_the_best_trial_is_drawn_below_the_bar(
    answers: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = display.SafeConsole(
        file=io.StringIO(), force_terminal=True, width=100, highlight=False, _environ={}
    )
    for module in (display, display_sweeps):
        monkeypatch.setattr(module, "console", terminal)
    evil = {**ENDED, "best": {**BEST, "params": {"loss": "\x1b]0;x[red]"}}}
    answers["GET /v1/sweeps/swp_1"] = [sweep("running", 7, best=BEST), evil]
    assert run("watch", "swp_1").exit_code == 0
    drawn = terminal.file.getvalue()  # type: ignore[attr-defined]
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)
    assert re.search(
        r"succeeded +━+.* 80 % 8 of 8 trials +0:00:0\d\nbest so far: trial 3, rmsle", plain
    )
    assert "loss \N{REPLACEMENT CHARACTER}]0;x[red]" in plain
    assert "\x1b]0;" not in drawn


def test_a_watched_sweep_that_is_left_continues(
    answers: dict[str, list[Any]], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(live_sweeps, "follow", interrupted)
    answers["GET /v1/sweeps/swp_1"] = [sweep("running", 2)]
    result = run("watch", "swp_1")
    assert result.exit_code == 130
    assert "The sweep continues. `foldhouse watch swp_1` follows it again" in result.output
    assert asked == ["GET /v1/sweeps/swp_1"]


def test_a_failed_sweep_is_explained_and_fails_the_command(
    answers: dict[str, list[Any]],
) -> None:
    error = {"title": "Training failed", "status": 500, "detail": "No trial [won].", "errors": []}
    answers["GET /v1/sweeps/swp_1"] = [sweep("failed", 8, error=error)]
    result = run("watch", "swp_1")
    assert result.exit_code == 1
    assert "Training failed: No trial [won]." in result.output


def test_a_blend_is_shown_with_its_members(answers: dict[str, list[Any]]) -> None:
    blend = {"keep": "blend", "members": [3, 6], "metrics": {"rmsle": 0.118}}
    answers["GET /v1/sweeps/swp_1"] = [{**ENDED, **blend}]
    assert "Blend of trials 3, 6: rmsle 0.118\n" in run("show", "swp_1").output


def test_sweeps_are_listed(answers: dict[str, list[Any]]) -> None:
    listed = [sweep("queued", 4, best=BEST), {**ENDED, "name": None}]
    answers["GET /v1/sweeps"] = [{"data": listed, "has_more": False, "next": None}]
    _, going, ended = map(str.rstrip, run("sweeps").output.splitlines())
    assert re.match(r"swp_1 +running +4/8 +rmsle 0.1204 +drop.out", going)
    assert re.match(r"swp_1 +succeeded +8/8 +rmsle 0.1204 +0.1217 +SalePrice$", ended)
    assert len(json.loads(run("sweeps", "--json", "--limit", 1).output)) == 1


def test_the_leaderboard_has_a_column_for_each_field(
    answers: dict[str, list[Any]], tmp_path: Path
) -> None:
    trial = {
        "trial": 3,
        "state": "succeeded",
        "params": {"dropout": 0.123456, "architecture": {"type": "mlp", "hidden_sizes": [64]}},
        "value": 0.1204,
        "standard_error": 0.004,
        "epochs": 12,
        "stopped_by": "halving",
        "bytes": 2048,
        "error": None,
    }
    bare = {"value": None, "epochs": None, "bytes": None, "stopped_by": None}
    failed = {**trial, **bare, "trial": 0, "state": "failed", "error": "too\x1b large"}
    answers["GET /v1/sweeps/latest"] = [ENDED]
    answers["GET /v1/sweeps/latest/trials"] = [{"data": [trial, failed]}]
    header, first, last = run("trials").output.splitlines()
    assert header.split() == [
        *("trial", "state", "rmsle", "dropout", "architecture.type", "architecture.hidden_sizes"),
        *("epochs", "KiB", "note"),
    ]
    assert re.search(r"3 +succeeded +0.1204 ± 0.004 +0.1235 +mlp +\[64\] +12 +2 +halved", first)
    assert re.search(r"0 +failed +0.1235 .* too. large", last)

    answers["GET /v1/sweeps/swp_1/trials"] = [httpx.Response(200, content=b"trial\n3\n")]
    assert run("trials", "swp_1", "--csv", tmp_path / "t.csv").exit_code == 0
    assert (tmp_path / "t.csv").read_text() == "trial\n3\n"


def test_cancel_takes_a_sweep(answers: dict[str, list[Any]], asked: list[str]) -> None:
    answers["POST /v1/sweeps/swp_1/cancel"] = [sweep("running", 2)]
    assert run("cancel", "swp_1", "--keep-best").output == "swp_1  running, asked to stop\n"
    assert asked == ['POST /v1/sweeps/swp_1/cancel {"keep_best":true}']
