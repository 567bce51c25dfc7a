"""Jobs side by side: their metrics, and the fields in which their specs differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from app.cli.display import Json, console, created, headline, one_line, styled
from app.cli.terminal import refuse
from models.figures import number
from models.objectives import METRICS

MAX_VALUE = 24  # characters of a spec's value that a column shows


def best_first(listed: Sequence[Json], metric: str) -> list[Json]:
    """Sort jobs by a metric of their out-of-fold predictions; those without it come last."""
    known = {name for job in listed if job["result"] for name in job["result"]["metrics"]}
    if known and metric not in known:
        refuse(f"--sort {metric}: the jobs have {', '.join(sorted(known))}")
    if known and metric not in METRICS:
        refuse(f"--sort {metric}: this version does not know whether more of it is better")

    def place(job: Json) -> tuple[bool, float]:
        value = job["result"]["metrics"].get(metric) if job["result"] else None
        if value is None:
            return True, 0.0
        return False, abs(value - METRICS[metric].perfect)

    return sorted(listed, key=place)


def show(listed: Sequence[Json], metric: str | None) -> None:
    """Show a table of jobs; if sorted, with the metric and the fields in which specs differ."""
    table = Table(box=None, pad_edge=False)
    for header in ("job", "status", "created"):
        table.add_column(header, no_wrap=True)
    fields = differing(listed) if metric is not None else []
    if metric is not None:
        table.add_column(metric, justify="right")
    for header in ("name", *fields):
        table.add_column(one_line(header))
    if metric is None:
        table.add_column("note")
    for job in listed:
        spec = dict(leaves(job["spec"])) if fields else {}
        shown = [job["name"] or "", *(short(spec.get(field)) for field in fields)]
        row = [
            job["id"],
            styled(job["status"]),
            created(job),
        ]
        if metric is not None:
            row.append(number(job["result"]["metrics"].get(metric)) if job["result"] else "–")
        row += map(one_line, shown)
        table.add_row(*row, *([one_line(headline(job))] if metric is None else []))
    console.print(table)


def differing(listed: Sequence[Json]) -> list[str]:
    """The fields, by dotted name, that differ between the specs."""
    specs = [dict(leaves(job["spec"])) for job in listed]
    names = dict.fromkeys(name for spec in specs for name in spec)
    return [name for name in names if any(spec.get(name) != specs[0].get(name) for spec in specs)]


def leaves(node: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Each value that is not an object, by its dotted name."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{name}.{key}" if name else key)
    else:
        yield name, node


def short(value: Any) -> str:
    """A spec's value in few characters."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"
