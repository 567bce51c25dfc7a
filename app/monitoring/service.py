"""Computes drift and latency from counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.monitoring.schemas import ColumnDrift, Drift, Latency, ModelMonitoring
from app.monitoring.usage import SECONDS
from app.storage.tables import Model, ModelUsage
from models.objectives import OBJECTIVES
from models.serving.manifest import Manifest

# Siddiqi 2006, Credit Risk Scorecards, chapter 8.
MODERATE, LARGE = 0.1, 0.25
LEAST_EXPECTED = 5  # rows of a bin; bins with fewer are merged
SMOOTHING = 0.5  # rows added to each bin, because the logarithm of 0 is infinite
Z_999 = 3.090  # the normal distribution's 0.999 quantile


def usage_since(session: Session, tenant: str, model_id: str, since: date) -> Sequence[ModelUsage]:
    return session.scalars(
        select(ModelUsage).where(
            ModelUsage.tenant == tenant, ModelUsage.model_id == model_id, ModelUsage.day >= since
        )
    ).all()


def summarize(
    model: Model, manifest: Manifest, since: date, usage: Sequence[ModelUsage]
) -> ModelMonitoring:
    """Add up the days and processes."""
    seconds = np.zeros(len(SECONDS) + 1, np.int64)
    warnings: Counter[str] = Counter()
    for row in usage:
        seconds += np.array(row.seconds)
        warnings.update(row.warnings)
    trained = {feature.name: feature.shares for feature in manifest.numeric}
    trained |= {feature.name: feature.shares for feature in manifest.categorical}
    rows = manifest.rows  # of training, about
    drifts = [
        drift
        for name, shares in trained.items()
        if (drift := drift_of(name, shares, rows, usage)) is not None
    ]
    return ModelMonitoring(
        model_id=model.id,
        since=since,
        requests=sum(row.requests for row in usage),
        rows=sum(row.rows for row in usage),
        latency_seconds=Latency(
            p50=_quantile(seconds, 0.5), p90=_quantile(seconds, 0.9), p99=_quantile(seconds, 0.99)
        ),
        warnings=dict(warnings),
        predictions=drift_of(
            manifest.target,
            OBJECTIVES[manifest.task].answering(manifest).shares,
            rows,
            usage,
            has_others=False,
        ),
        columns=sorted(drifts, key=lambda drift: drift.by_chance - drift.psi),
    )


def stability_index(seen: np.ndarray, trained: np.ndarray) -> float:
    """Σ (p − q)·ln(p / q) of two sets of shares above 0, (bins,) each."""
    return float(((seen - trained) * np.log(seen / trained)).sum())


def drift_of(
    name: str,
    shares: Sequence[float],
    rows: int,
    usage: Sequence[ModelUsage],
    *,
    has_others: bool = True,
) -> ColumnDrift | None:
    """None: no rows were predicted, or the model has no shares.

    has_others : whether the last bin counts missing or unknown cells
    """
    if not shares:
        return None
    trained = np.array(shares)
    counts = np.zeros(len(trained))
    for row in usage:
        counts += np.array(row.columns.get(name, counts * 0))
    total = counts.sum()
    if total == 0:
        return None
    # Bins with few rows, expected or in training, say nothing on their own. Unknown levels are
    # counted with the levels that training had once, whose share estimates that of unseen levels
    # in new rows (Good 1953, doi 10.1093/biomet/40.3-4.237).
    rare = trained * min(total, rows) < LEAST_EXPECTED
    rare[-1] |= has_others and bool(rare.any())
    counts = np.append(counts[~rare], counts[rare].sum())
    trained = np.append(trained[~rare], trained[rare].sum())
    bins = len(counts)
    smooth = SMOOTHING * bins
    psi = stability_index(
        (counts + SMOOTHING) / (total + smooth),
        (trained * rows + SMOOTHING) / (rows + smooth),
    )
    by_chance = _chi_squared(bins - 1) * (1 / total + 1 / rows)
    drift: Drift = "none"
    if psi > by_chance:
        drift = "none" if psi < MODERATE else "moderate" if psi < LARGE else "large"
    return ColumnDrift(column=name, psi=psi, by_chance=by_chance, drift=drift)


def _chi_squared(degrees: int) -> float:
    """The 0.999 quantile of a χ² variable (Wilson and Hilferty 1931)."""
    if degrees == 0:
        return 0.0
    step = 2 / (9 * degrees)
    return float(degrees * (1 - step + Z_999 * step**0.5) ** 3)


def _quantile(counts: np.ndarray, share: float) -> float | None:
    total = counts.sum()
    place = int(np.searchsorted(counts.cumsum(), share * total)) if total else len(SECONDS)
    return SECONDS[place] if place < len(SECONDS) else None
