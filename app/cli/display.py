"""Jobs on a terminal: a table of folds, metrics, or the error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from foldhouse_client.errors import job_error
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.table import Column, Table

from app.printed import printable
from models.figures import deviation, number
from models.objectives import HEADLINES

Json = dict[str, Any]


class SafeConsole(Console):
    """Only rich's own control codes reach the terminal, none from the text."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


console = SafeConsole(highlight=False)

STYLES = {
    "queued": "yellow",
    "running": "cyan",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "magenta",
}

EPOCH = datetime(1970, 1, 1)
FEW_LEVELS = 5  # levels of a column that are shown
# Of the metrics of a fold, those that fit beside its other columns into 80 characters. All pooled
# ones are shown.
FOLD_METRICS, METRICS_WIDTH, NUMBER_WIDTH = 5, 41, 7
CONFUSED_CLASSES = 8  # the most whose table is shown


def one_line(text: str) -> str:
    """Foreign text for rich to show literally, on one line: a line break could fake a line."""
    return escape(printable(text, kept=""))


def say(text: str) -> None:
    """Print a line that the terminal may wrap, but that stays one line when copied or piped."""
    console.print(text, soft_wrap=True)


def note(job: Json) -> str:
    """The epoch and the remaining time, as far as the job knows them."""
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


def dataset(found: Json) -> None:
    """A table's columns and their warnings."""
    say(one_line(f"{found['id']}  {found['name']}: {found['rows']:,} rows"))
    table = Table(box=None, pad_edge=False)
    table.add_column("column")
    table.add_column("kind")
    table.add_column("missing", justify="right")
    table.add_column("values")
    for column in found["columns"]:
        table.add_row(
            one_line(column["name"]),
            column["kind"],
            f"{column['missing']:,}" if column["missing"] else "",
            one_line(values(column)),
        )
    console.print(table)
    warnings(found["warnings"])
    if found["suggestions"]["target"] is not None:
        say(one_line(f"Suggested target: {found['suggestions']['target']}"))


def traces(found: Json) -> None:
    """Datasets with a value, and under each what learnt from it."""
    for one in found["data"]:
        rows = ", ".join(map(str, one["first_rows"]))
        more = ", …" if one["rows"] > len(one["first_rows"]) else ""
        count = f"{one['rows']:,} {'row' if one['rows'] == 1 else 'rows'}"
        say(one_line(f"{one['id']}  {one['name']}: {count} ({rows}{more})"))
        for job in one["jobs"]:
            models = [
                f"{model['id']} ({', '.join(model['aliases'])})"
                if model["aliases"]
                else model["id"]
                for model in job["models"]
            ]
            say(one_line(f"  {job['id']}  {', '.join(models)}".rstrip()))
        if one["jobs_total"] > len(one["jobs"]):
            say(f"  and {one['jobs_total'] - len(one['jobs']):,} older jobs")
    for dataset_id in found["unread"]:
        say(one_line(f"{dataset_id}  could not be read: its stored table is damaged"))
    if found["data"]:
        say("To forget it, move or delete the aliases, then delete the jobs, then the datasets.")
    else:
        say(f"None of {found['examined']:,} datasets has it.")
    say("Backups are not searched.")


def values(column: Json) -> str:
    """What a column holds, in a few words: its range, or its most frequent levels."""
    if column["top"] is not None:
        levels = [level for level, _ in column["top"][:FEW_LEVELS]]
        more = ", …" if column["distinct"] > len(levels) else ""
        return f"{column['distinct']:,} levels: {', '.join(levels)}{more}"
    if column["min"] is None:
        return ""
    low, high = column["min"], column["max"]
    if column["kind"] == "datetime":
        return f"{moment(low)} to {moment(high)}"
    return f"{number(low)} to {number(high)}"


def moment(seconds: float) -> str:
    """Seconds since 1970 as a day; Python's own calendar covers the years 1 to 9999."""
    return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%d")


def plan(table: Json, found: Json) -> None:
    """What a spec would train."""
    estimate = found["estimate"]
    say(one_line(f"{table['id']}  {table['name']}: {table['rows']:,} rows"))
    say(
        f"{len(found['features'])} columns, {found['parameters']:,} weights per network, about "
        f"{estimate['seconds']:.0f} s and {estimate['memory_bytes'] / 2**20:,.0f} MiB"
    )
    warnings(found["warnings"])


def storage(found: Json) -> None:
    """MiB of each tenant's files, by kind."""
    kinds = [*found["of_no_row"]]
    table = Table("tenant", box=None, pad_edge=False)
    for kind in kinds:
        table.add_column(kind, justify="right")
    rows = {**found["tenants"], "of no row": found["of_no_row"]}
    for tenant, sizes in rows.items():
        table.add_row(one_line(tenant), *(f"{sizes[kind] / 2**20:,.1f} MiB" for kind in kinds))
    console.print(table)
    say(f"The database has {found['database'] / 2**20:,.1f} MiB.")


def warnings(found: Iterable[Json]) -> None:
    for warning in found:
        where = f" {warning['column']}" if warning["column"] else ""
        say(f"[yellow]{warning['code']}[/]{one_line(f'{where}: ' + warning['detail'])}")


def submitted(table: Json, job: Json) -> None:
    say(one_line(f"{table['id']}  {table['name']}: {table['rows']:,} rows"))
    say(f"{job['id']}  {styled(job['status'])}")


def models(listed: Iterable[Json]) -> None:
    table = Table("model", "target", "created", "metric", "aliases", box=None, pad_edge=False)
    for model in listed:
        table.add_row(
            model["id"],
            one_line(model["target"]),
            created(model),
            best_known(model["metrics"]),
            one_line(", ".join(model["aliases"])),
        )
    console.print(table)


def keys(listed: Iterable[Json]) -> None:
    columns = ("starts with", "name", "role", "tenant", "last used", "ends")
    table = Table(Column("key", no_wrap=True), *columns, box=None, pad_edge=False)
    for key in listed:
        ends = "revoked" if key["revoked_at"] else day(key["expires_at"])
        table.add_row(
            *(key["id"], key["start"], one_line(key["name"]), key["role"], key["tenant"]),
            *(day(key["last_used_at"]), ends),
        )
    console.print(table)


def created(row: Json) -> str:
    return day(row["created_at"])


def day(moment: str | None) -> str:
    return "" if moment is None else f"{datetime.fromisoformat(moment).astimezone():%b %d %H:%M}"


def headline(job: Json) -> str:
    """The most important fact about a job, in a few words."""
    if job["result"]:
        return best_known(job["result"]["metrics"])
    if job["error"]:
        return str(job["error"]["title"])
    return note(job)


def best_known(values: Json) -> str:
    name = next((name for name in HEADLINES if values.get(name) is not None), "")
    return f"{name} {number(values[name])}" if name else ""


def job(job: Json) -> None:
    """A job with its folds, metrics, warnings or error."""
    say(f"{job['id']}  {styled(job['status'])}  {note(job)}")
    if job["status"] in ("failed", "cancelled"):
        say(escape(str(job_error(job))))
    if job["result"]:
        result(job["result"])


def result(result: Json) -> None:
    console.print(folds(result))
    say(f"Out-of-fold, all rows pooled: [bold]{metrics(result)}[/]")
    if holdout := result["holdout"]:
        rows = holdout["rows"]
        say(f"Holdout, {rows:,} rows that no fold saw: [bold]{metrics(holdout)}[/]")
    for line in details(result):
        say(one_line(line))
    counts = result.get("confusion") or {}
    if counts.get("rows") is not None and len(counts["levels"]) <= CONFUSED_CLASSES:
        console.print(confusion(counts))
    warnings(result["warnings"])
    for finding in result["diagnosis"]:
        say(one_line(f"{finding['code']}: {finding['evidence']}. Advice: {finding['advice']}."))
    say(f"Model {result['model_id']} after {result['seconds']['total']:.1f} s")


def details(result: Json) -> Iterator[str]:
    """What only some jobs report, a line each."""
    if comparison := result.get("comparison"):
        yield f"On the same folds: {comparison}"
    for name, baseline in result.get("baselines", {}).items():
        if reason := baseline.get("skipped"):
            yield f"Baseline {name} was skipped: {reason}"
    if blend := result.get("blend"):
        for place, member in enumerate(blend["members"]):
            yield f"Member {place}, {member['architecture']}: {_share(member)}"
        if blend["cheaper"] is not None:
            yield f"Member {blend['cheaper']} alone is as good and less than half as large"
    if curve := result.get("learning_curve"):
        yield _learning_curve(curve)
    if comparables := result.get("comparables"):
        yield f"Networks also saw other rows' targets: {', '.join(comparables['used'])}"
    if decision := result.get("decision"):
        yield (
            f"{decision['positive']} is predicted from a probability of "
            f"{number(decision['threshold'])}"
        )
    for fold in result.get("perceptron", []):
        yield f"Fold {fold['fold']}: {fold['summary']}"


def _learning_curve(curve: Json) -> str:
    """Errors by rows, and what twice the rows would bring."""
    if reason := curve["skipped"]:
        return f"No learning curve: {reason}"
    forecast = curve["forecast"]
    errors = ", ".join(
        f"{point['rows']:,.0f} rows {number(point['error'])}" for point in curve["points"]
    )
    return (
        f"Learning curve: {errors}; with {forecast['rows']:,.0f} rows expect "
        f"{number(forecast['error'])} ({number(forecast['low'])} to {number(forecast['high'])})"
    )


def _share(member: Json) -> str:
    """What a member of a blend errs by itself, and its part in the blend."""
    error = f"error {number(member['error'])}" if member["error"] is not None else "no error"
    if reason := member["left_out"]:
        return f"{error}, left out: {reason}"
    return f"{error}, weight {number(member['weight'], 2)}"


def confusion(counts: Json) -> Table:
    """Out-of-fold rows: a row for each actual class, a column for each predicted one."""
    table = Table("actual \\ predicted", box=None, pad_edge=False)
    for level in counts["levels"]:
        table.add_column(one_line(level), justify="right")
    for level, rows in zip(counts["levels"], counts["rows"], strict=True):
        table.add_row(one_line(level), *(f"{rows_of:,}" for rows_of in rows))
    return table


def folds(result: Json) -> Table:
    """One row per fold; below them the mean and the standard deviation over the folds."""
    names = fitting(result["metrics"])
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


def fitting(names: Iterable[str]) -> list[str]:
    """The first metrics whose columns fit."""
    chosen: list[str] = []
    left = METRICS_WIDTH
    for name in names:
        width = max(len(name), NUMBER_WIDTH) + 1
        if width <= left and len(chosen) < FOLD_METRICS:
            chosen.append(name)
            left -= width
    return chosen


def metrics(scored: Json) -> str:
    """Each metric, with its standard error if there is one."""
    errors = scored.get("metrics_error", {})  # an earlier version had none
    return ", ".join(
        f"{name} {number(value)}{deviation(errors.get(name))}"
        for name, value in scored["metrics"].items()
    )


def styled(status: str) -> str:
    return f"[{STYLES[status]}]{status}[/]"
