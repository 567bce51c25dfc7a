"""Jobs on a terminal: a progress bar, a table of folds, metrics, or the error."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.client import job_error

Json = dict[str, Any]

console = Console(highlight=False)

STYLES = {
    "queued": "yellow",
    "running": "cyan",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "magenta",
}

HEADLINE_METRICS = ("rmsle", "rmse")  # the first that the job has; rmsle needs positive values


def say(text: str) -> None:
    """A line that the terminal may wrap, but that stays one where it is copied or piped."""
    console.print(text, soft_wrap=True)


def watch(states: Iterable[Json]) -> Json:
    """Draw a bar that follows a job's states; returns the last one."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("queued", total=1.0, note="")
        for job in states:
            draw(progress, task, job)
    return job


def draw(progress: Progress, task: TaskID, job: Json) -> None:
    fraction = 1.0 if job["status"] == "succeeded" else job["progress"]["fraction"]
    progress.update(task, description=styled(job["status"]), completed=fraction, note=note(job))


def note(job: Json) -> str:
    """The epoch and what is left, as far as the job knows them."""
    done = job["progress"]
    if job["status"] == "queued":
        return ""
    parts = [f"epoch {done['epoch']}/{done['max_epochs']}"]
    if job["status"] == "running":
        parts.append(f"{done['folds_active']} of {done['folds_total']} folds")
        if done["eta_s"] is not None:
            parts.append(f"{done['eta_s']:.0f} s left")
    if job["attempt"] > 1:
        parts.append(f"attempt {job['attempt']}")
    return ", ".join(parts)


def jobs(listed: Iterable[Json]) -> None:
    table = Table(box=None, pad_edge=False)
    for header in ("job", "status", "created"):
        table.add_column(header, no_wrap=True)
    for header in ("name", "note"):
        table.add_column(header)
    for job in listed:
        table.add_row(
            job["id"],
            styled(job["status"]),
            f"{datetime.fromisoformat(job['created_at']).astimezone():%b %d %H:%M}",
            escape(job["name"] or ""),
            escape(headline(job)),
        )
    console.print(table)


def headline(job: Json) -> str:
    """What matters most of a job, in a few words."""
    if job["result"]:
        known = job["result"]["metrics"]
        name = next((name for name in HEADLINE_METRICS if known.get(name) is not None), "")
        return f"{name} {number(known[name])}" if name else ""
    if job["error"]:
        return str(job["error"]["title"])
    return note(job)


def job(job: Json) -> None:
    """All that a terminal has room for."""
    say(f"{job['id']}  {styled(job['status'])}  {note(job)}")
    if job["status"] in ("failed", "cancelled"):
        say(escape(str(job_error(job))))
    if job["result"]:
        result(job["result"])


def result(result: Json) -> None:
    console.print(folds(result))
    say(f"Out-of-fold, all rows pooled: [bold]{metrics(result['metrics'])}[/]")
    if result["holdout"]:
        rows, scored = result["holdout"]["rows"], metrics(result["holdout"]["metrics"])
        say(f"Holdout, {rows:,} rows that no fold saw: [bold]{scored}[/]")
    for finding in result["diagnosis"]:
        say(escape(f"{finding['code']}: {finding['evidence']}. Advice: {finding['advice']}."))
    say(f"Model {result['model_id']} after {result['seconds']['total']:.1f} s")


def folds(result: Json) -> Table:
    """One row a fold; below them the mean and the standard deviation over the folds."""
    names = list(result["metrics"])
    table = Table("fold", box=None, pad_edge=False, collapse_padding=True)
    for header in ("train", "scored", "epochs"):
        table.add_column(header, justify="right")
    table.add_column("stopped by")
    for name in names:
        table.add_column(name, justify="right")
    for fold in result["folds"]:
        table.add_row(
            str(fold["fold"]),
            f"{fold['rows_train']:,}",
            f"{fold['rows_validation']:,}",
            str(fold["epochs"]),
            fold["stopped_by"],
            *(number(fold["metrics"][name]) for name in names),
        )
    for label, values in (("mean", result["fold_mean"]), ("std", result["fold_std"])):
        table.add_row(label, "", "", "", "", *(number(values[name]) for name in names))
    return table


def metrics(values: Json) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in values.items())


def number(value: float | None) -> str:
    """Four digits that matter; prices keep all digits before the point."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def styled(status: str) -> str:
    return f"[{STYLES[status]}]{status}[/]"
