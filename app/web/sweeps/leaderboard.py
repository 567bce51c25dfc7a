"""The trials of a sweep as a table, sorted by any column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from app.sweeps.schemas import TrialOut
from app.web.sweeps.parameters import Parameter
from models.figures import number

PAGE = 50
MOST_COLUMNS = 8  # of searched fields; the CSV has all
BY_VALUE = "value"
FIELDS = ("trial", "epochs", "bytes", "row_seconds")


@dataclass(frozen=True)
class Order:
    """What is asked for. sort : `value`, one of FIELDS, or the name of a searched field"""

    sort: str = BY_VALUE
    descending: bool = False
    page: int = 1

    def query(self, **changes: object) -> str:
        wanted = replace(self, **changes)  # type: ignore[arg-type]
        default = Order()
        given = {
            name: str(value).lower() if isinstance(value, bool) else value
            for name in ("sort", "descending", "page")
            if (value := getattr(wanted, name)) != getattr(default, name)
        }
        return f"?{urlencode(given)}"

    def sorted_by(self, sort: str) -> str:
        """The address that sorts by another column, or by the same one the other way."""
        falls = not self.descending if sort == self.sort else False
        return self.query(sort=sort, descending=falls, page=1)


@dataclass(frozen=True)
class Bar:
    """The value of a fold: where its bar stands, and how high it is, from 0 to 1."""

    x: float
    width: float
    height: float


@dataclass(frozen=True)
class Row:
    trial: TrialOut
    cells: Sequence[str]
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Table:
    """parameters : those with a column; `left_out`: how many have none"""

    order: Order
    parameters: Sequence[Parameter]
    left_out: int
    rows: Sequence[Row]
    has_more: bool


def table(order: Order, trials: Sequence[TrialOut], parameters: Sequence[Parameter]) -> Table:
    """`trials`: the best first."""
    shown = parameters[:MOST_COLUMNS]
    found = _sorted(order, trials, parameters)
    first = (order.page - 1) * PAGE
    least, most = _span(trials)
    rows = [
        Row(
            trial,
            [_cell(own.of(trial.params)) for own in shown],
            _bars(trial.folds, least, most),
        )
        for trial in found[first : first + PAGE]
    ]
    return Table(order, shown, len(parameters) - len(shown), rows, first + PAGE < len(found))


def _sorted(
    order: Order, trials: Sequence[TrialOut], parameters: Sequence[Parameter]
) -> Sequence[TrialOut]:
    """What has no value comes last, either way."""
    if order.sort == BY_VALUE:
        scored = [trial for trial in trials if trial.value is not None]
        rest = [trial for trial in trials if trial.value is None]
        return [*(reversed(scored) if order.descending else scored), *rest]
    by_name = {own.name: own for own in parameters}
    value_of: Callable[[TrialOut], Any]
    if order.sort in FIELDS:

        def value_of(trial: TrialOut) -> Any:
            return getattr(trial, order.sort)

    elif order.sort in by_name:

        def value_of(trial: TrialOut) -> Any:
            return by_name[order.sort].of(trial.params)

    else:
        return trials
    known = [trial for trial in trials if value_of(trial) is not None]
    rest = [trial for trial in trials if value_of(trial) is None]
    return [*sorted(known, key=value_of, reverse=order.descending), *rest]


def _cell(value: float | str | None) -> str:
    return value if isinstance(value, str) else number(value)


def _span(trials: Sequence[TrialOut]) -> tuple[float, float]:
    """Between which values bars grow: of the better half, as a trial that diverged would make all
    others flat."""
    scored = [trial for trial in trials if trial.value is not None]
    better = scored[: -(-len(scored) // 2)]
    values = [value for trial in better for value in trial.folds if value is not None]
    return min(values, default=0.0), max(values, default=1.0)


def _bars(folds: Sequence[float | None], least: float, most: float) -> list[Bar]:
    width = 100 / (len(folds) or 1)
    spread = (most - least) or 1.0
    return [
        Bar(place * width, 0.8 * width, min(max(0.1 + 0.6 * (value - least) / spread, 0.05), 1.0))
        for place, value in enumerate(folds)
        if value is not None
    ]
