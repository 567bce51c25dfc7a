"""The trials of a sweep: drawn, resolved, and dealt in batches.

`random` and `grid` are drawn when the sweep is submitted, so that batches can be of one shape.
`tpe` is drawn when a batch begins, from what is known by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from app.errors import InvalidSpec
from app.jobs.admission import Room, largest_room, require_room
from app.jobs.lifecycle import Claim
from app.settings import Settings
from app.storage.database import Database
from app.storage.tables import Shard, State, Trial
from models.members import population_key
from models.objectives import objective_of
from models.planning.faults import SpecError
from models.planning.resolve import resolve
from models.spec import TrainingSpec
from models.spec.sweep import SweepSpec
from models.sweeps.sampling import Known, draw
from models.sweeps.space import Point, Space
from models.tables.profile import Profile

# Trials that train together: enough to fill a population, few enough that several workers have
# something to do, and that `tpe` learns in between.
FEWEST, MOST, BATCHES = 4, 16, 8
HALVED_TOGETHER = 64  # trials among which halving chooses


class NotDrawn(Exception):
    """Another attempt would fail too."""


@dataclass(frozen=True)
class Dealer:
    """Makes trials of points.

    family : what the trials share, resolved
    """

    sweep: SweepSpec
    family: TrainingSpec
    profile: Profile
    room: Room
    settings: Settings

    def drawn(self, first: int, count: int, known: Sequence[Known] = ()) -> list[dict[str, Any]]:
        """Rows of `Trial`, without their shard, of the next trials, given those before. Those whose
        spec does not fit have failed."""
        space = Space.of(self.sweep, self.family.target)
        points = draw(
            space,
            self.sweep.sampler,
            seed=self.sweep.seed,
            first=first,
            count=count,
            known=known,
            minimize=True,
        )
        return [self._row(number, point, space) for number, point in enumerate(points, start=first)]

    def _row(self, number: int, point: Point, space: Space) -> dict[str, Any]:
        row: dict[str, Any] = {"number": number, "point": point, "spec": None}
        try:
            spec = self._resolved(space.document(point))
            require_room(spec, self.profile, self.room, self.settings)
        except ValidationError as error:
            reason = "; ".join(str(finding["msg"]) for finding in error.errors())
        except (SpecError, InvalidSpec) as error:
            reason = str(error)
        else:
            return row | {
                "spec": spec.model_dump(mode="json"),
                "state": State.QUEUED,
                "error": None,
            }
        return row | {"state": State.FAILED, "error": reason}

    def _resolved(self, document: dict[str, Any]) -> TrainingSpec:
        family = self.family
        spec = resolve(
            TrainingSpec.model_validate({**document, "target": family.target}), self.profile
        )
        names = ["features", "task", "folds", "holdout"]
        watches = spec.early_stopping is not None or spec.architecture.is_fitted
        if self.sweep.halving is not None and not watches:
            names.append("early_stopping")  # trials are judged by the rows that it watches
        shared = {name: getattr(family, name) for name in names}
        if self.sweep.keep == "blend" or family.members is not None:
            shared["preprocessing"] = family.preprocessing
        elif spec.preprocessing.target_transform is None:
            transform = {"target_transform": family.preprocessing.target_transform}
            shared["preprocessing"] = spec.preprocessing.model_copy(update=transform)
        return spec.model_copy(update=shared)


def batch_size(sweep: SweepSpec, trials: int) -> int:
    if sweep.halving is not None:
        return min(trials, HALVED_TOGETHER)
    return min(MOST, max(FEWEST, -(-trials // BATCHES)))


def batches(sweep: SweepSpec, rows: Sequence[dict[str, Any]], trials: int) -> list[list[int]]:
    """The numbers of each batch. Trials that are known have those of one shape side by side."""
    numbers = list(range(trials))
    shapes: dict[int, str] = {
        row["number"]: population_key(TrainingSpec.model_validate(row["spec"]))
        for row in rows
        if row["spec"] is not None
    }
    if rows:
        order = {shape: place for place, shape in enumerate(dict.fromkeys(shapes.values()))}
        numbers = sorted(shapes, key=lambda number: (order[shapes[number]], number))
    size = batch_size(sweep, len(numbers))
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def of_batch(
    database: Database, settings: Settings, claim: Claim
) -> list[tuple[int, dict[str, Any]]]:
    """Numbers and specs of the trials that a claimed batch trains, drawn now if they have not
    been; raises NotDrawn."""
    with database.reading() as session:
        rows = _rows(session, claim)
        known = [] if rows else _known(session, claim)
        room = largest_room(session, settings.slots or 1)
    if not rows:
        sweep = SweepSpec.model_validate(claim.sweep)
        family = TrainingSpec.model_validate(claim.spec)
        profile = Profile.model_validate(claim.profile)
        dealer = Dealer(sweep, family, profile, room, settings)
        try:
            made = dealer.drawn(claim.trials[0], len(claim.trials), known)
        except Exception as error:
            raise NotDrawn(
                f"The trials could not be drawn: {type(error).__name__}: {error}. This is a bug in "
                "foldhouse. The worker's log has the traceback."
            ) from error
        with database.writing() as session:
            rows = _store(session, claim, made)
    return [(row.number, row.spec) for row in rows if row.spec and row.state is State.QUEUED]


def store(
    session: Session, tenant: str, job_id: str, place: int, rows: Sequence[dict[str, Any]]
) -> None:
    of = {"tenant": tenant, "job_id": job_id, "shard": place}
    session.execute(insert(Trial), [row | of for row in rows])


def _store(session: Session, claim: Claim, made: Sequence[dict[str, Any]]) -> Sequence[Trial]:
    """Those that another attempt has stored meanwhile stay."""
    shard = session.scalar(select(Shard).where(claim.fence.holds()).with_for_update())
    rows = _rows(session, claim)
    if shard is None or rows:
        return rows
    store(session, claim.tenant, claim.job_id, shard.place, made)
    return _rows(session, claim)


def _rows(session: Session, claim: Claim) -> Sequence[Trial]:
    return session.scalars(
        select(Trial)
        .where(Trial.job_id == claim.job_id, Trial.number.in_(claim.trials))
        .order_by(Trial.number)
    ).all()


def _known(session: Session, claim: Claim) -> list[Known]:
    """All trials so far. Values are how far the metric is from perfect."""
    assert claim.sweep is not None
    family = TrainingSpec.model_validate(claim.spec)
    perfect = objective_of(family).metrics[claim.sweep["metric"]].perfect
    trials = session.scalars(
        select(Trial).where(Trial.job_id == claim.job_id).order_by(Trial.number)
    )
    states = {State.SUCCEEDED: "succeeded", State.QUEUED: "running"}
    return [
        Known(
            trial.number,
            trial.point,
            None if trial.value is None else abs(trial.value - perfect),
            states.get(trial.state, "failed"),  # type: ignore[arg-type]
        )
        for trial in trials
    ]
