"""The report of a run: valid HTML without scripts, whose numbers are the result's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import altair as alt
import html5lib
import numpy as np
import pandas as pd
import pytest
import torch
from band import Band, BandLearning
from classes import class_frame
from houses import house_frame, lay

from models.data.thinning import thin
from models.epochs import FoldEpoch
from models.evaluation.blend import blend
from models.evaluation.errors_by_rows import errors_by_rows
from models.evaluation.scores import evaluate
from models.figures import deviation, number, percent
from models.objectives import OBJECTIVES, REGRESSION
from models.objectives.trained import LEARNING
from models.planning.review import SpecWarning
from models.report.common import learning_curves
from models.report.report import write_report
from models.report.run import Names, Run
from models.training.progress import MemberEpoch, Monitor
from models.training.runs import train_many

HOSTILE = '</title><script>alert("1")</script>'
TABLE = "{http://www.w3.org/1999/xhtml}table"
SMALL = {"architecture": {"type": "mlp", "hidden_sizes": [8]}, "max_epochs": 4, "k_folds": 3}


class Noted(Monitor):
    def __init__(self) -> None:
        self.epochs: list[FoldEpoch] = []

    def epoch_ended(self, metrics: list[MemberEpoch], active: Any) -> None:  # noqa: ARG002
        self.epochs += [FoldEpoch.mean([row]) for row in metrics if row.member.trial == 0]


def run_of(folder: Path, frame: pd.DataFrame, **spec: Any) -> Run:
    """A trained run, without an exported model."""
    case = lay(folder, frame, **(SMALL | spec))
    design, folds, monitor = case.design, case.folds, Noted()
    thinned = thin(case.spec, design, folds) if case.spec.learning_curve else []
    trained = train_many(
        case.spec.trials(),
        design,
        folds,
        device=torch.device("cpu"),
        monitor=monitor,
        thinned=thinned,
    )
    count = len(case.spec.trials())
    served, blended = blend(case.spec, trained[:count], design, folds)
    scores = evaluate(served, case.spec, design, folds, case.holdout, trained[:count])
    curve = {}
    if thinned:
        curve["learning_curve"] = errors_by_rows(
            served, scores.out_of_fold, case.spec, design, [folds, *thinned], trained[count:]
        )
    warning = SpecWarning("identifier_kept", f"{HOSTILE} is an identifier", HOSTILE)
    result = scores.result() | blended | curve
    result |= {"warnings": [asdict(warning)], "seconds": {"train": 1.25}, "receipt": {"seed": 7}}
    names = Names("job_1", f"my {HOSTILE}", f"{HOSTILE}.csv")
    return Run(names, case.spec, case.profile, design, served, scores, result, monitor.epochs)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Houses on a map, with a column, levels and a name that would be scripts."""
    frame = house_frame(150)
    chance = np.random.default_rng(1)
    frame["latitude"], frame["longitude"] = chance.uniform(40, 41, (2, 150))
    frame[HOSTILE] = frame.pop("quarter") + "\x07\ufffe<script>\u202e"
    folder = tmp_path_factory.mktemp("numbers")
    return run_of(folder, frame, holdout={"fraction": 0.1}, learning_curve=True)


@pytest.fixture(scope="module")
def page(run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(run, tmp_path_factory.mktemp("report"))


def written(run: Run, folder: Path) -> str:
    """The page of a run, if it is what every report is."""
    files = write_report(run, folder)
    text = files["report.html"].read_text()
    assert "<script" not in text.lower()
    assert "default-src 'none'" in text
    assert not re.search(r'\s(?:src|href|action)=(?!"#)', text)
    assert not re.search(r"url\((?!#)|@import|[\x00-\x09\x0b-\x1f\ufffe\u202e]", text)
    assert len(text.encode()) < 2.5 * 2**20
    ids = re.findall(r'\sid="([^"]*)"', text)
    assert len(ids) == len({*ids})
    for chart in json.loads(files["charts.json"].read_text()):
        spec = chart["spec"]
        alt.Chart.from_dict(spec)  # raises if it is no Vega-Lite
        points, table = spec["datasets"]["table"], chart["table"]
        assert len(points) == len(table["rows"])
        for point, row in zip(points, table["rows"], strict=True):
            assert len(row) == len(table["columns"])
            assert all(cell in point.values() for cell in row)
    return text


def tables(page: str) -> dict[str, list[list[str]]]:
    """The rows of each table by its label, the head first."""
    found: dict[str, list[list[str]]] = {}
    for region in document(page).iter("{http://www.w3.org/1999/xhtml}div"):
        if region.get("role") == "region":
            rows = region.iter("{http://www.w3.org/1999/xhtml}tr")
            found[region.get("aria-label", "")] = [
                ["".join(cell.itertext()) for cell in row] for row in rows
            ]
    return found


def document(page: str) -> Element:
    """Raises html5lib's ParseError for HTML that is not valid."""
    parsed: Element = html5lib.HTMLParser(strict=True).parse(page)
    return parsed


def test_it_is_valid_html_with_what_a_reader_asks_first(run: Run, page: str) -> None:
    words = " ".join("".join(document(page).itertext()).split())
    result = run.result
    errors = result["metrics_error"]
    off = percent(result["metrics"]["mape"], errors["mape"]).replace("\xa0", " ")
    assert f"off by {off}, or {number(result['metrics']['mae'])}{deviation(errors['mae'])}" in words
    [measured] = [own for own in result["intervals"] if own["coverage"] == 0.9]
    assert f"{number(measured['mean_width'])} wide on average" in words
    assert result["comparison"] in words
    for finding in result["diagnosis"]:
        assert " ".join(finding["evidence"].split()) in words
    assert "15 rows were set aside" in words
    assert f"{HOSTILE} is an identifier" in words


def test_every_number_is_the_results(run: Run, page: str) -> None:
    found, result = tables(page), run.result
    head, *rows = found["Metrics on unseen rows"]
    assert head == ["", "this model", "the mean", "ridge regression", "boosted trees"]
    for name, own, *others in rows:
        value, error = result["metrics"][name], result["metrics_error"][name]
        assert own == f"{number(value)}{deviation(error)}"
        assert others == [number(base["metrics"][name]) for base in result["baselines"].values()]

    head, *rows = found["Folds"]
    for fold, cells in zip(result["folds"], rows[:-2], strict=True):
        shown = dict(zip(head, cells, strict=True))
        assert shown["trained on"] == f"{fold['rows_train']:,}"
        assert shown["epochs"] == str(fold["epochs"])
        assert shown["rmsle"] == number(fold["metrics"]["rmsle"])
    assert rows[-2][head.index("mae")] == number(result["fold_mean"]["mae"])

    columns = run.scores.assessment.columns
    head, *rows = found["The rows with the largest errors"]
    order = np.argsort(-np.abs(columns["prediction"] - columns["actual"]))
    scored = run.design.rows[run.scores.fold_of >= 0]
    near = {row[0] for row in rows}
    assert {str(row) for row in scored[order[:5]]} <= near
    for row in rows:
        shown = dict(zip(head, row, strict=True))
        [place] = np.flatnonzero(scored == int(shown["row"]))
        for name in ("actual", "prediction", "low", "high"):
            assert shown[name] == number(float(columns[name][place]))
    assert [row[0] for row in found["What it leans on"][1:]][:2] == [
        own["column"] if own["column"] != HOSTILE else own["column"][:29] + "…"
        for own in run.scores.importance[:2]
    ]


def test_the_charts_of_numbers(run: Run, page: str) -> None:
    found = tables(page)
    assert {
        "How much less it errs than simple models",
        "Predicted against actual",
        "Error by tenth of the predictions",
        "Truths inside their 90\xa0% interval",
        "Errors by predicted price",
        "Errors on the map",
        "What it leans on",
        "Loss by epoch",
        "What more rows would bring",
    } <= found.keys()
    assert sum(title.startswith("Errors by ") for title in found) == 4
    inside = found["Truths inside their 90\xa0% interval"][1:]
    assert sum(int(row[3]) for row in inside) == run.result["intervals"][2]["rows"]
    assert f">row {run.charted.rows[run.charted.worst[0]]}: predicted" in page


def test_a_resumed_run_says_that_epochs_are_elsewhere(run: Run, page: str) -> None:
    assert "The run was resumed" not in page
    late = replace(run, epochs=[row for row in run.epochs if row.epoch > 2])
    [curves] = learning_curves(late)
    assert "The run was resumed" in curves.description


@pytest.mark.parametrize("target", ["state", "let"])
def test_the_charts_of_classes(target: str, tmp_path: Path) -> None:
    frame = class_frame().drop(columns="let" if target == "state" else "state")
    run = run_of(tmp_path, frame, target=target)
    found = tables(written(run, tmp_path))
    counts = [row for own in run.result["confusion"]["rows"] for row in own]
    assert [int(row[2]) for row in found["Which classes are taken for which"][1:]] == counts
    assert sum(int(row[3]) for row in found["Do the probabilities hold?"][1:]) == len(run.charted)
    curve = found["Found against false alarms (ROC)"][1:]
    assert [float(cell) for cell in curve[-1][1:]] == [1, 1]
    assert "Right against found (precision and recall)" in found


@pytest.fixture
def _bands() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OBJECTIVES, REGRESSION, Band())
        patch.setitem(LEARNING, REGRESSION, BandLearning())
        yield


@pytest.mark.usefixtures("_bands")
def test_an_objective_without_charts_of_its_own_has_a_report(tmp_path: Path) -> None:
    run = run_of(tmp_path, house_frame(60))
    page = written(run, tmp_path)
    assert f"outside is {number(run.result['metrics']['outside'])}" in page
    assert tables(page)["The rows with the largest errors"][0][:5] == [
        "row",
        "fold",
        "actual",
        "lower",
        "upper",
    ]
