"""Pages of sweeps: the answer first, a leaderboard, and charts with their numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import altair as alt
import html5lib
import pytest
from fastapi.testclient import TestClient
from house_api import resources_of
from sweep_api import OUTCOME, make_model, submit_sweep, try_trials

from app.sweeps.schemas import TrialOut
from app.web.sweeps.leaderboard import Order, table
from app.web.sweeps.parameters import Parameter
from models.sweeps.outcome import SweepOutcome

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
NASTY = '"><script>alert(1)</script>'


def get(client: TestClient, path: str, status: int = 200) -> str:
    answer = client.get(path, headers=BROWSER)
    assert answer.status_code == status, answer.text
    html5lib.HTMLParser(strict=True).parse(answer.text)
    return answer.text


def trials_in(text: str) -> list[int]:
    """As the leaderboard has them."""
    return [int(each) for each in re.findall(r'<tr><th scope="row"[^>]*>(\d+)', text)]


def charts(client: TestClient, sweep_id: str, query: str = "") -> dict[str, dict[str, Any]]:
    data = client.get(f"/sweeps/{sweep_id}/charts{query}").json()["data"]
    return {chart["name"]: chart for chart in data}


def test_an_empty_service_says_what_a_sweep_is(client: TestClient) -> None:
    text = get(client, "/sweeps")
    assert "A sweep trains many specs" in text
    assert "There is no sweep yet" in text
    assert "There is no table yet" in get(client, "/sweeps/new")
    assert "There is no sweep" in get(client, "/sweeps/swp_none", 404)


def test_a_sweep_from_its_first_trial_to_its_model(client: TestClient, tmp_path: Path) -> None:
    sweep = submit_sweep(client, name=NASTY)
    text = get(client, f"/sweeps/{sweep}")
    assert "No worker is running" in text
    assert charts(client, sweep) == {}

    try_trials(resources_of(client).database, sweep)
    text = get(client, f"/sweeps/{sweep}")
    assert "The best of 11 trials so far is trial 1: RMSE 1.01" in text
    assert "Stop and keep the best" in text
    assert "its numbers &lt;b&gt;diverged" in text
    assert trials_in(text) == [*range(1, 12), 0]

    model = make_model(resources_of(client), sweep, tmp_path / "model")
    text = get(client, f"/sweeps/{sweep}")
    told = "The best of 11 trials has RMSE 1.01. It was picked for that, so on new rows expect 1.06"
    assert told in text
    assert "Trial 4 is as good, within one standard error, and 3 times smaller." in text
    assert f'href="/models/{model}"' in text
    listed = get(client, "/sweeps")
    assert "12 of 12, 1 failed" in listed
    assert "1.06" in listed
    shown = get(client, f"/models/{model}")
    assert told in shown
    assert f'<a href="/sweeps/{sweep}">its sweep</a>' in shown
    for path in ("/sweeps", f"/sweeps/{sweep}", "/sweeps/new", "/jobs"):
        assert NASTY not in get(client, path)
        for address in re.findall(r'(?:src|href)="([^"#?]+)', get(client, path)):
            assert client.get(address, headers=BROWSER).status_code == 200, address


def test_a_trial_becomes_a_job(client: TestClient) -> None:
    sweep = submit_sweep(client)
    try_trials(resources_of(client).database, sweep)
    decay = client.get(f"/v1/sweeps/{sweep}/trials/3").json()["params"]["weight_decay"]
    assert f"/jobs/new?like={sweep}&amp;trial=3" in get(client, f"/sweeps/{sweep}")
    assert f'"weight_decay": {decay}' in get(client, f"/jobs/new?like={sweep}&trial=3")
    assert "has no trial 99" in get(client, f"/jobs/new?like={sweep}&trial=99", 404)


def test_sweeps_are_no_jobs(client: TestClient) -> None:
    submit_sweep(client, name="many")
    assert "No job has been submitted yet" in get(client, "/jobs")
    assert "many" not in get(client, "/")


def test_the_leaderboard_is_sorted_by_any_column(client: TestClient) -> None:
    sweep = submit_sweep(client)
    try_trials(resources_of(client).database, sweep)
    by_number = trials_in(get(client, f"/sweeps/{sweep}?sort=trial&descending=true"))
    assert by_number == [*range(11, -1, -1)]
    quickest = trials_in(get(client, f"/sweeps/{sweep}?sort=row_seconds"))
    assert quickest == [*range(11, 0, -1), 0]  # without a time: last
    data = client.get(f"/v1/sweeps/{sweep}/trials").json()["data"]
    by_dropout = [each["trial"] for each in sorted(data, key=lambda own: own["params"]["dropout"])]
    assert trials_in(get(client, f"/sweeps/{sweep}?sort=dropout")) == by_dropout
    assert "There are no more trials" in get(client, f"/sweeps/{sweep}?page=2")
    get(client, f"/sweeps/{sweep}?page=0", 422)


def test_a_long_leaderboard_has_pages() -> None:
    shared = {"state": "succeeded", "standard_error": None, "folds": [], "epochs": 1, "batch": 0}
    rest = {"stopped_by": None, "bytes": None, "row_seconds": None, "error": None}
    trials = [
        TrialOut(trial=number, params={"seed": number}, value=number / 10, **shared, **rest)
        for number in range(60)
    ]
    seed = Parameter("seed", is_number=True, log=False)
    first = table(Order(), trials, [seed])
    assert [row.trial.trial for row in first.rows] == [*range(50)]
    assert first.has_more
    last = table(Order(page=2), trials, [seed])
    assert [row.cells for row in last.rows] == [[str(number)] for number in range(50, 60)]
    assert not last.has_more
    assert table(Order(sort="seed", descending=True), trials, [seed]).rows[0].trial.trial == 59


def test_charts_are_vega_lite_with_their_numbers(client: TestClient) -> None:
    sweep = submit_sweep(client)
    try_trials(resources_of(client).database, sweep)
    found = charts(client, sweep)
    assert {"front_row_time", "front_size", "history", "importance", "heat_map"} <= found.keys()
    assert {"slice_dropout", "slice_weight_decay", "slice_architecture", "parallel"} <= found.keys()
    for chart in found.values():
        alt.Chart.from_dict(chart["spec"])  # raises if it is no Vega-Lite
        assert chart["title"]
        assert chart["description"]
        assert {len(row) for row in chart["table"]["rows"]} == {len(chart["table"]["columns"])}
    # Trial 1 has the least error and weights; later ones are quicker, so all are on that front.
    assert [row for row in found["front_size"]["table"]["rows"] if not row[-1]] == [
        [1, 1.01, 1.95312, ""]
    ]
    assert all(not row[-1] for row in found["front_row_time"]["table"]["rows"])
    assert [row[-1] for row in found["history"]["table"]["rows"]] == [1.01] * 11
    assert sum(row[-1] for row in found["heat_map"]["table"]["rows"]) == 11
    asked = charts(client, sweep, "?x=architecture&y=dropout")["heat_map"]["table"]["columns"]
    assert asked[:2] == ["architecture", "dropout"]
    half = charts(client, sweep, "?x=architecture&y=")["heat_map"]["table"]["columns"]
    assert half[0] == "architecture"
    assert 'value="dropout" selected' in get(client, f"/sweeps/{sweep}?x=&y=dropout")
    get(client, f"/sweeps/{sweep}?x={'a' * 129}", 422)


@pytest.mark.parametrize(
    ("log", "expected"),
    [(False, "0.01 to 20"), (True, "0.01 to 0.063")],
)
def test_a_field_is_cut_into_parts_on_its_own_scale(log: bool, expected: str) -> None:
    values = [0.01 * 10**place for place in (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4)]
    order, parts = Parameter("weight_decay", is_number=True, log=log).parts(values)
    assert order[0] == expected
    assert parts[0] == order[0]
    assert parts[-1] == order[-1]


def test_what_a_picked_error_is_worth_is_said_honestly() -> None:
    blend = OUTCOME.model_copy(update={"members": [1, 4, 7], "as_good": None})
    assert blend.told("RMSE")[0].startswith("It blends the trials 1, 4 and 7 of 11.")
    assert OUTCOME.expected is not None
    alone = OUTCOME.expected.model_copy(update={"estimate": None, "low": None, "high": None})
    few = SweepOutcome(trials=1, metric="rmse", best=0, expected=alone, as_good=None, members=[0])
    assert few.told("RMSE") == [
        "The only trial has RMSE 1.01. The rows are too few to say what to expect on new ones."
    ]


def test_the_report_of_a_sweep_is_that_of_its_model(client: TestClient, tmp_path: Path) -> None:
    sweep = submit_sweep(client)
    assert client.get(f"/v1/sweeps/{sweep}/report").status_code == 404
    try_trials(resources_of(client).database, sweep)
    make_model(resources_of(client), sweep, tmp_path / "model")
    answer = client.get(f"/v1/sweeps/{sweep}/report")
    assert answer.status_code == 200
    assert answer.text.startswith("<!doctype html>")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
