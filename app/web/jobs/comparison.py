"""Jobs side by side: what differs in their specs, and by how much their errors do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import Conflict, NotFound
from app.jobs.schemas import JobOut
from app.registry import promotion
from app.registry import repository as models
from app.resources import Resources
from app.web.jobs.listing import flat, setting, values_by_field
from models.evaluation.comparison import Z_95, Comparison


@dataclass(frozen=True)
class Side:
    """A job beside the first.

    difference : how much lower or higher its error is on the same rows; None for the first job, or
        if the two cannot be compared, which `reason` explains
    """

    job: JobOut
    settings: Sequence[str]
    difference: Comparison | None
    reason: str

    @property
    def verdict(self) -> str:
        """Whether the difference is more than chance explains."""
        assert self.difference is not None
        if self.difference.is_better:
            return "better"
        unsure = Z_95 * self.difference.standard_error
        return "worse" if -self.difference.difference > unsure else "within chance"


@dataclass(frozen=True)
class Table:
    """fields : dotted names of all settings in which the jobs differ, a row each"""

    fields: Sequence[str]
    sides: Sequence[Side]

    @property
    def metrics(self) -> list[str]:
        results = [side.job.result for side in self.sides if side.job.result is not None]
        return list(dict.fromkeys(name for result in results for name in result.metrics))


def compare(resources: Resources, tenant: str, jobs: Sequence[JobOut]) -> Table:
    """`jobs`: two or more; the others are compared with the first."""
    specs = [flat(job.spec) for job in jobs]
    fields = list(values_by_field(specs))
    sides = []
    for job, spec in zip(jobs, specs, strict=True):
        difference, reason = None, ""
        if job is not jobs[0]:
            difference, reason = _difference(resources, tenant, job, jobs[0])
        sides.append(Side(job, [setting(spec.get(name)) for name in fields], difference, reason))
    return Table(fields, sides)


def _difference(
    resources: Resources, tenant: str, job: JobOut, first: JobOut
) -> tuple[Comparison | None, str]:
    if job.result is None or first.result is None:
        return None, "One of them has no result."
    try:
        with resources.database.reading() as session:
            challenger = models.get(session, tenant, job.result.model_id)
            champion = models.get(session, tenant, first.result.model_id)
        return promotion.comparison(challenger, champion, resources.blobs), ""
    except (Conflict, NotFound) as error:
        return None, error.detail
