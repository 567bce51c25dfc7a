"""Jobs for a table of many: only what it shows, sorted and filtered by the database.

A job's result has thousands of characters, so the parts that are shown are taken out there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Select, Text, cast, func, select
from sqlalchemy.orm import Session

from app.storage.tables import FINISHED, Job, State

PAGE = 50
# Of the specs of the listed jobs: the fields that differ and have a column.
MOST_COLUMNS = 6
# Metrics with a column, where jobs have them; a job's page has all.
SHOWN_METRICS = ("rmsle", "rmse", "mape", "r2", "log_loss", "accuracy", "roc_auc")
# Not settings of the training.
UNCOMPARED = {"target", "task"}
KINDS = "features.kinds."
LONGEST_VALUE = 60  # characters


@dataclass(frozen=True)
class Listing:
    """What is asked for.

    sort : a metric, `seconds` or `created`
    """

    sort: str = "created"
    descending: bool = True
    status: State | None = None
    dataset_id: str | None = None
    target: str | None = None
    text: str = ""
    page: int = 1
    limit: int = PAGE

    def query(self, **changes: object) -> str:
        """The address of the same list with other settings."""
        wanted = replace(self, **changes)  # type: ignore[arg-type]
        default = Listing()
        given = {
            name: value
            for name in ("sort", "descending", "status", "dataset_id", "target", "text", "page")
            if (value := getattr(wanted, name)) != getattr(default, name)
        }
        if "descending" in given:
            given["descending"] = str(given["descending"]).lower()
        return f"?{urlencode(given)}"

    def sorted_by(self, sort: str) -> str:
        """The address that sorts by another column, or by the same one the other way."""
        falls = not self.descending if sort == self.sort else sort == "created"
        return self.query(sort=sort, descending=falls, page=1)


@dataclass(frozen=True)
class Listed:
    """A job in the table; `differs` has the values of `Page.fields`."""

    id: str
    name: str | None
    status: State
    dataset_id: str
    target: str
    created_at: datetime
    spec: dict[str, Any]
    error: dict[str, Any] | None
    metrics: Mapping[str, float | None] | None
    metrics_error: Mapping[str, float | None] | None
    model_id: str | None
    seconds: float | None
    differs: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """fields : dotted names of the settings in which the jobs differ
    metrics : those that the jobs have
    """

    jobs: Sequence[Listed]
    fields: Sequence[str]
    metrics: Sequence[str]
    count: int
    has_more: bool

    @property
    def is_changing(self) -> bool:
        return any(job.status not in FINISHED for job in self.jobs)


def page(session: Session, tenant: str, listing: Listing) -> Page:
    found = _matching(select(Job.id), tenant, listing)
    count = session.scalar(select(func.count()).select_from(found.subquery())) or 0
    columns = select(
        Job.id,
        Job.name,
        Job.status,
        Job.dataset_id,
        Job.target,
        Job.created_at,
        Job.spec,
        Job.error,
        Job.result["metrics"],
        Job.result["metrics_error"],
        Job.result["model_id"],
        Job.result["seconds"]["total"],
    )
    query = _matching(columns, tenant, listing).order_by(*_order(listing))
    first = (listing.page - 1) * listing.limit
    rows = session.execute(query.offset(first).limit(listing.limit)).all()
    jobs = [Listed(*row) for row in rows]
    known = {name for job in jobs for name in job.metrics or ()}
    fields = _differing([job.spec for job in jobs])
    return Page(
        jobs=[replace(job, differs=_values(job.spec, fields)) for job in jobs],
        fields=fields,
        metrics=[name for name in SHOWN_METRICS if name in known],
        count=count,
        has_more=first + len(jobs) < count,
    )


def _matching(query: Select[Any], tenant: str, listing: Listing) -> Select[Any]:
    query = query.where(Job.tenant == tenant, Job.sweep.is_(None))
    if listing.status is not None:
        query = query.where(Job.status == listing.status)
    if listing.dataset_id is not None:
        query = query.where(Job.dataset_id == listing.dataset_id)
    if listing.target is not None:
        query = query.where(Job.target == listing.target)
    if listing.text:
        query = query.where(
            Job.name.icontains(listing.text, autoescape=True)
            | cast(Job.spec, Text).icontains(listing.text, autoescape=True)
        )
    return query


def _order(listing: Listing) -> list[Any]:
    """Jobs without a value come last."""
    newest = Job.id.desc() if listing.descending else Job.id.asc()
    if listing.sort == "created":
        return [newest]
    path = ("seconds", "total") if listing.sort == "seconds" else ("metrics", listing.sort)
    value = Job.result[path].as_float()
    falling = value.desc() if listing.descending else value.asc()
    return [value.is_(None), falling, newest]


def flat(spec: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by dotted name; a list is one setting."""
    found: dict[str, Any] = {}
    for name, value in spec.items():
        path = f"{prefix}{name}"
        found |= flat(value, f"{path}.") if isinstance(value, dict) and value else {path: value}
    return found


def values_by_field(specs: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many values each field has in flat specs, of the fields that have several."""
    names = dict.fromkeys(name for spec in specs for name in spec if name not in UNCOMPARED)
    counts = {}
    for name in names:
        # Tables have different columns, which is no difference in settings.
        having = [spec for spec in specs if name in spec or not name.startswith(KINDS)]
        counts[name] = len({repr(spec.get(name)) for spec in having})
    return {name: count for name, count in counts.items() if count > 1}


def _differing(specs: Sequence[dict[str, Any]]) -> list[str]:
    """Fields of which there are several values, those with the most values first."""
    counts = values_by_field([flat(spec) for spec in specs])
    return sorted(counts, key=lambda name: -counts[name])[:MOST_COLUMNS]


def _values(spec: dict[str, Any], fields: Sequence[str]) -> list[str]:
    known = flat(spec)
    return [setting(known.get(name)) for name in fields]


def setting(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        if value and isinstance(value[0], dict):  # members of a blend
            value = [member.get("architecture", {}).get("type", "?") for member in value]
        value = ", ".join(map(str, value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
