"""Sweeps on a terminal: the winner with what it is worth, lists, and the leaderboard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from foldhouse_client.errors import job_error
from rich.markup import escape
from rich.table import Table

from app.cli.display import Json, console, one_line, say, styled
from app.cli.leaderboard import leaves, short
from models.figures import deviation, number

KIB = 1024


def sweep(found: Json) -> None:
    """A sweep with its best trial, what that is worth, and its model; or why it failed."""
    say(f"{found['id']}  {styled(status(found))}  {note(found)}")
    if found["status"] in ("failed", "cancelled"):
        say(escape(str(job_error(found))))
    for line in lines(found):
        say(one_line(line))


def note(found: Json) -> str:
    """How many trials have ended, and the remaining time."""
    done = found["progress"]
    parts = [f"{ended(found)} of {done['trials']} trials"]
    parts += [f"{done[state]} {state}" for state in ("failed", "cancelled") if done[state]]
    if status(found) == "running" and done["eta_s"] is not None:
        parts.append(f"{done['eta_s']:.0f} s left")
    return ", ".join(parts)


def ended(found: Json) -> int:
    done = found["progress"]
    return int(done["succeeded"] + done["failed"] + done["cancelled"])


def status(found: Json) -> str:
    """A sweep's, which is queued again between two batches of trials."""
    has_started = found["status"] == "queued" and found["started_at"] is not None
    return "running" if has_started else str(found["status"])


def lines(found: Json) -> Iterator[str]:
    """What a sweep has found, a sentence each."""
    if found["best"] is not None:
        yield f"Best: {best(found)}"
    expected = found["expected"]
    if expected is not None and expected["estimate"] is not None:
        of = f", because it was picked from {found['progress']['succeeded']} trials"
        yield (
            f"On new rows expect {number(expected['estimate'])} ({number(expected['low'])} to "
            f"{number(expected['high'])}){of if expected['optimism'] > 0 else ''}"
        )
    if (smaller := found["as_good"]) is not None:
        yield f"Trial {smaller['trial']} is as good and {times(smaller['times_smaller'])} smaller"
    if found["keep"] == "blend" and found["metrics"]:
        metric = found["metric"]
        error = deviation((found["metrics_error"] or {}).get(metric))
        members = ", ".join(map(str, found["members"]))
        yield f"Blend of trials {members}: {metric} {number(found['metrics'][metric])}{error}"
    if found["model_id"] is not None:
        yield f"Model {found['model_id']}"


def best(found: Json) -> str:
    """The best trial: its metric, and what was drawn for it."""
    trial = found["best"]
    drawn = ", ".join(f"{name} {value}" for name, value in cells(trial["params"]).items())
    error = deviation(trial["standard_error"])
    return f"trial {trial['trial']}, {found['metric']} {number(trial['value'])}{error}: {drawn}"


def times(factor: float) -> str:
    return f"{factor:.0f} times" if factor >= 10 else f"{factor:.1f} times"


def cells(params: Json) -> dict[str, str]:
    """What was drawn, by dotted name, in few characters each."""
    return {
        name: number(value) if isinstance(value, float) else short(value)
        for name, value in leaves(params)
    }


def sweeps(listed: Iterable[Json]) -> None:
    table = Table(box=None, pad_edge=False)
    for header in ("sweep", "status", "trials", "best", "expect"):
        table.add_column(header, no_wrap=True)
    table.add_column("name")
    for own in listed:
        found, expected = own["best"], (own["expected"] or {}).get("estimate")
        table.add_row(
            own["id"],
            styled(status(own)),
            f"{ended(own)}/{own['progress']['trials']}",
            "" if found is None else f"{own['metric']} {number(found['value'])}",
            "" if expected is None else number(expected),
            one_line(own["name"] or own["target"]),
        )
    console.print(table)


def trials(listed: Sequence[Json], metric: str) -> None:
    """The leaderboard, with a column for each field that was drawn."""
    drawn = [cells(own["params"]) for own in listed]
    names = list(dict.fromkeys(name for own in drawn for name in own))
    table = Table(box=None, pad_edge=False)
    table.add_column("trial", justify="right")
    table.add_column("state", no_wrap=True)
    table.add_column(metric, justify="right", no_wrap=True)
    for name in names:
        table.add_column(one_line(name), justify="right")
    for header in ("epochs", "KiB"):
        table.add_column(header, justify="right")
    table.add_column("note")
    for own, values in zip(listed, drawn, strict=True):
        table.add_row(
            str(own["trial"]),
            styled(own["state"]),
            scored(own),
            *(one_line(values.get(name, "")) for name in names),
            number(own["epochs"]) if own["epochs"] is not None else "",
            number(own["bytes"] / KIB) if own["bytes"] is not None else "",
            one_line(remark(own)),
        )
    console.print(table)


def scored(trial: Json) -> str:
    if trial["value"] is None:
        return ""
    return f"{number(trial['value'])}{deviation(trial['standard_error'])}"


def remark(trial: Json) -> Any:
    """Why it has no value, or that it stopped early."""
    if trial["error"]:
        return trial["error"]
    return "halved" if trial["stopped_by"] == "halving" else ""
