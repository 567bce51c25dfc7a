"""The report: one HTML page without scripts, whole in itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from models.charts.chart import Chart
from models.charts.svg import svg
from models.evaluation.baselines import WORDS
from models.figures import cell, deviation, number, one_line, visible
from models.objectives import objective_of
from models.report.protocol import protocol
from models.report.run import Run
from models.report.worst import Table, worst_rows
from models.sweeps.outcome import SweepOutcome

Sections = Mapping[str, Sequence[Chart]]
# Metrics in one table; a narrow page scrolls.
MOST_METRICS = 9
MOST_NAMES = 200  # columns that are listed


@dataclass(frozen=True)
class Figure:
    """A chart as it stands on the page."""

    chart: Chart
    drawing: Markup
    rows: list[list[str]]


def page(run: Run, sections: Sections) -> str:
    """The document. `sections`: the charts of each part of it, by name."""
    result, spec = run.result, run.spec
    return (
        _environment()
        .get_template("report.html")
        .render(
            style=Markup((resources.files("models.report") / "templates/report.css").read_text()),
            title=one_line(run.names.name or spec.target),
            target=one_line(spec.target),
            names=run.names,
            made=datetime.now(UTC),
            rows=len(run.charted),
            told=[*objective_of(spec).told(spec.target, result), *_of_sweep(result)],
            comparison=result["comparison"],
            metrics=_metrics(run),
            skipped=_skipped(result),
            findings=result["diagnosis"],
            warnings=result["warnings"],
            used=_used(run),
            left_out=_left_out(run),
            figures={name: [_figure(chart) for chart in own] for name, own in sections.items()},
            worst=worst_rows(run),
            folds=_folds(run),
            holdout=_holdout(result),
            protocol=[*protocol(run)],
            seconds={
                stage: number(value)
                for stage, value in result["seconds"].items()
                if stage != "total"
            },
            spec=spec.model_dump(mode="json"),
            receipt=result["receipt"],
        )
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("models.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Cells and names of columns may hold characters that HTML has no place for.
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters["document"] = lambda value: json.dumps(
        value, indent=1, ensure_ascii=False, default=str
    )
    return environment


def _figure(chart: Chart) -> Figure:
    rows = [[_cell(field, row[field]) for field in chart.columns] for row in chart.rows]
    return Figure(chart, Markup(svg(chart)), rows)


def _cell(field: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value) if field == "row" else f"{value:,}"
    return cell(value) if field == "at" else number(value)


def _of_sweep(result: Mapping[str, Any]) -> list[str]:
    """What the error of a model is worth that was picked among many."""
    if "sweep" not in result:
        return []
    outcome = SweepOutcome.model_validate(result["sweep"])
    return outcome.told(outcome.metric.replace("_", " "))


def _metrics(run: Run) -> Table:
    """A metric a row: of the model, and of each baseline."""
    result = run.result
    errors = result["metrics_error"]
    known = {name: own for name, own in result["baselines"].items() if "metrics" in own}
    rows = [
        [
            name,
            f"{number(value)}{deviation(errors.get(name))}",
            *(number(own["metrics"][name]) for own in known.values()),
        ]
        for name, value in result["metrics"].items()
        if value is not None
    ]
    return Table(["", "this model", *(WORDS.get(name, name) for name in known)], rows)


def _skipped(result: Mapping[str, Any]) -> list[str]:
    return [
        f"{WORDS.get(name, name)}: {own['skipped']}"
        for name, own in result["baselines"].items()
        if own.get("skipped")
    ]


def _folds(run: Run) -> Table:
    result = run.result
    shown = [name for name, value in result["metrics"].items() if value is not None][:MOST_METRICS]
    rows = [
        [
            str(fold["fold"]),
            f"{fold['rows_train']:,}",
            f"{fold['rows_validation']:,}",
            str(fold["epochs"]),
            fold["stopped_by"].replace("_", " "),
            *(number(fold["metrics"][name]) for name in shown),
        ]
        for fold in result["folds"]
    ]
    for name, values in (("mean", result["fold_mean"]), ("standard deviation", result["fold_std"])):
        rows.append([name, "", "", "", "", *(number(values[metric]) for metric in shown)])
    return Table(["fold", "trained on", "scored", "epochs", "stopped by", *shown], rows)


def _holdout(result: Mapping[str, Any]) -> str | None:
    holdout = result["holdout"]
    if holdout is None:
        return None
    errors = holdout["metrics_error"] if "metrics_error" in holdout else {}
    return ", ".join(
        f"{name} {number(value)}{deviation(errors.get(name))}"
        for name, value in holdout["metrics"].items()
        if value is not None
    )


def _used(run: Run) -> list[str]:
    return [one_line(name) for name in run.spec.features.kinds][:MOST_NAMES]


def _left_out(run: Run) -> list[str]:
    """With the kind of each, which says why if nobody asked for it."""
    used = {*run.spec.features.kinds, run.spec.target}
    return [
        f"{one_line(column.name)} ({column.kind})"
        for column in run.profile.columns
        if column.name not in used
    ][:MOST_NAMES]
