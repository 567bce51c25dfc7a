"""Columns that the residuals follow, though the model sees them: it missed a bend, an interaction
or what levels say."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as f_distribution
from scipy.stats import rankdata

from models.evaluation.diagnosis.evidence import (
    MATERIAL,
    POINTS,
    Evidence,
    Vector,
    number,
    percent,
)
from models.evaluation.diagnosis.findings import Code, Finding
from models.evaluation.diagnosis.next_specs import better, changed, is_line
from models.tables.faults import quoted

FEWEST_ROWS = 100
# Evenly spaced over the table; they show any share that counts.
MOST_ROWS = 4_096
# Parts of a number by its quantiles; smaller parts, such as rare levels, are taken together.
PARTS, FEWEST_OF_PART = 10, 10
# With more numbers no pairs are looked at.
MOST_PAIRED = 200
# Of a healthy table, over all tests (Bonferroni 1936).
CHANCE = 1e-4

Parts = NDArray[np.int64]


@dataclass(frozen=True)
class Followed:
    """What the residuals follow.

    share : of the residuals' variance that it explains, beyond chance
    chance : of residuals that are so uneven without a reason, by their ranks, which neither
        outliers nor heavy tails lead astray
    where : the rows whose truths are most above and below their predictions, in words
    """

    code: Code
    columns: tuple[str, ...]
    share: float
    chance: float
    where: str

    @property
    def told(self) -> str:
        names = " × ".join(self.columns)
        return f"{self.where}: {names} explains {percent(self.share)} of what the model leaves"


def residuals_follow_columns(run: Evidence) -> Finding | None:
    """A finding of what explains most. A model that could have learnt it needs no other spec for
    that, but often more rows, or a column that says it."""
    found = followed(run)
    if found is None:
        return None
    (name, *_) = found.columns
    match found.code:
        case "residuals_follow_levels":
            advice = f"the mean target of each level of {quoted(name)} as an input"
            next_spec = _with_means(run, name)
        case "residuals_follow_pair":
            advice = (
                "the effect of one depends on the other: their product as a column, or a model "
                "with interactions, such as hidden layers and boosted trees"
            )
            next_spec = better(run.spec, len(run.order))
        case _:
            advice = (
                f"a model that bends with {quoted(name)}, such as one with piecewise-linear codes "
                "or boosted trees"
            )
            next_spec = better(run.spec, len(run.order))
    is_able = found.code != "residuals_follow_levels" and not is_line(run.spec)
    return Finding(
        code=found.code,
        asks="look" if is_able or next_spec is None else "change",
        evidence=found.told,
        advice=advice,
        next_spec=next_spec,
    )


def followed(run: Evidence) -> Followed | None:
    """What explains most of the residuals, if it is more than chance and more than a little. Rows
    of a group, or near in time, do not err independently, so nothing is known of those."""
    if run.residuals is None or run.spec.folds.type in ("time", "group"):
        return None
    if len(run.residuals) < FEWEST_ROWS:
        return None
    rows = slice(None, None, -(-len(run.residuals) // MOST_ROWS))
    residuals = run.residuals[rows]
    ranks = rankdata(residuals)
    numbers = {name: values[rows] for name, values in run.numbers.items()}
    words = {name: (codes[rows], levels) for name, (codes, levels) in run.words.items()}
    found = [
        *_by_number(residuals, ranks, numbers, run.dates),
        *_by_levels(residuals, ranks, words),
        *_by_pair(residuals, ranks, numbers),
    ]
    tests = len(numbers) + len(words) + _pairs(len(numbers))
    sure = [own for own in found if own.chance * tests < CHANCE and _matters(own.share, run)]
    return max(sure, key=lambda own: own.share, default=None)


def _matters(share: float, run: Evidence) -> bool:
    """Whether a model that knew this share of the residuals' variance would be better as a baseline
    must be to matter."""
    is_material = 1 - np.sqrt(1 - share) >= MATERIAL
    return bool(is_material) and share * (1 - run.explained) >= POINTS


def between(values: Vector, parts: Parts) -> tuple[float, float]:
    """The share of the variance of values (n,) between their parts, and its probability by chance
    (F test)."""
    _, places = np.unique(parts, return_inverse=True)
    sizes = np.bincount(places)
    deviations = values - values.mean()
    total = float(np.square(deviations).sum())
    if total == 0 or len(sizes) < 2 or len(values) <= len(sizes):
        return 0.0, 1.0
    inside = float((np.bincount(places, deviations) ** 2 / sizes).sum())
    return inside / total, _chance(inside / total, len(values), len(sizes) - 1)


def _by_number(
    residuals: Vector, ranks: Vector, numbers: dict[str, Vector], dates: Container[str]
) -> Iterator[Followed]:
    for name, values in numbers.items():
        parts = _large(_parts(values))
        low, high = _ends(residuals, parts)
        where = [
            f"{_off(residuals[part])} where {quoted(name)} is {_range(values[part], name in dates)}"
            for part in (low, high)
        ]
        share, chance = _share(residuals, parts), between(ranks, parts)[1]
        yield Followed("residuals_follow_number", (name,), share, chance, ", ".join(where))


def _by_levels(
    residuals: Vector, ranks: Vector, words: dict[str, tuple[Parts, list[str]]]
) -> Iterator[Followed]:
    for name, (codes, levels) in words.items():
        parts = _large(codes)
        low, high = _ends(residuals, parts)
        where = []
        for part in (low, high):
            own = np.unique(codes[part])
            level = quoted(levels[own[0]]) if len(own) == 1 else f"one of {len(own)} rare levels"
            rows = int(part.sum())
            where.append(f"{_off(residuals[part])} where {quoted(name)} is {level} ({rows:,} rows)")
        share, chance = _share(residuals, parts), between(ranks, parts)[1]
        yield Followed("residuals_follow_levels", (name,), share, chance, ", ".join(where))


def _by_pair(residuals: Vector, ranks: Vector, numbers: dict[str, Vector]) -> Iterator[Followed]:
    """The pair of numbers whose product explains most; both as ranks around 0, and 0 where one is
    missing."""
    if not _pairs(len(numbers)):
        return
    names = list(numbers)
    places = np.column_stack([_middling(values) for values in numbers.values()])  # (n, D)
    rows = len(residuals)
    means = places.T @ places / rows
    spread = np.sqrt(np.maximum(np.square(places).T @ np.square(places) / rows - means**2, 0.0))
    shares = []
    for values in (residuals, ranks):
        deviations = values - values.mean()
        size = deviations.std()
        together = places.T @ (deviations[:, None] * places) / rows
        usual = np.where(spread * size > 0, spread * size, np.inf)
        shares.append(np.square(np.triu(together / usual, 1)))
    first, second = np.unravel_index(int(shares[0].argmax()), means.shape)
    same = places[:, first] * places[:, second] > 0
    where = (
        f"{_off(residuals[same])} where {quoted(names[first])} and {quoted(names[second])} are "
        f"both high or both low, {_off(residuals[~same])} elsewhere"
    )
    share, by_ranks = (float(own[first, second]) for own in shares)
    yield Followed(
        "residuals_follow_pair",
        (names[first], names[second]),
        _adjusted(share, rows, 1),
        _chance(by_ranks, rows, 1),
        where,
    )


def _pairs(numbers: int) -> int:
    return numbers * (numbers - 1) // 2 if numbers <= MOST_PAIRED else 0


def _parts(values: Vector) -> Parts:
    """Tenths of a number (n,), and a part of missing ones."""
    known = np.isfinite(values)
    parts: Parts = np.full(len(values), PARTS)
    if known.any():
        edges = np.unique(np.quantile(values[known], np.linspace(0, 1, PARTS + 1)[1:-1]))
        parts[known] = np.searchsorted(edges, values[known], side="right")
    return parts


def _large(parts: Parts) -> Parts:
    """The parts, with those of few rows as one."""
    names, places, sizes = np.unique(parts, return_inverse=True, return_counts=True)
    found: Parts = np.where(sizes < FEWEST_OF_PART, -1, names)[places]
    return found


def _ends(residuals: Vector, parts: Parts) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The rows (n,) of the parts with the lowest and the highest mean."""
    names, places = np.unique(parts, return_inverse=True)
    means = np.bincount(places, residuals) / np.bincount(places)
    return parts == names[means.argmin()], parts == names[means.argmax()]


def _middling(values: Vector) -> Vector:
    """Ranks between −1 and 1, and 0 for a missing number."""
    known = np.isfinite(values)
    placed = np.zeros(len(values))
    if known.any():
        placed[known] = 2 * (rankdata(values[known]) - 0.5) / known.sum() - 1
    return placed


def _share(residuals: Vector, parts: Parts) -> float:
    share, _ = between(residuals, parts)
    return _adjusted(share, len(residuals), len(np.unique(parts)) - 1)


def _adjusted(share: float, rows: int, freedom: int) -> float:
    """Without what chance explains (Ezekiel 1930)."""
    return 1 - (1 - share) * (rows - 1) / max(1, rows - 1 - freedom)


def _chance(share: float, rows: int, freedom: int) -> float:
    left = rows - 1 - freedom
    ratio = (share / freedom) / max((1 - share) / left, np.finfo(float).tiny)
    return float(f_distribution.sf(ratio, freedom, left))


def _off(residuals: Vector) -> str:
    mean = float(residuals.mean()) if len(residuals) else 0.0
    return f"truths are {number(abs(mean))} {'above' if mean > 0 else 'below'} their predictions"


def _range(values: Vector, is_date: bool) -> str:
    known = values[np.isfinite(values)]
    if not known.size:
        return "missing"
    ends = (float(known.min()), float(known.max()))
    if is_date:
        first, last = (datetime.fromtimestamp(end, UTC).date().isoformat() for end in ends)
        return f"from {first} to {last}"
    return f"from {number(ends[0])} to {number(ends[1])}"


def _with_means(run: Evidence, name: str) -> dict[str, object] | None:
    """With group means of a column, if the networks lack them; otherwise the recipe."""
    known = run.spec.features.group_means or []
    takes = any(trial.architecture.takes_extras for trial in run.spec.trials())
    if not takes or known == "auto" or name in known:
        return better(run.spec, len(run.order))
    return changed(run.spec, features={"group_means": [*known, name]})
