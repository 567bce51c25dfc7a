"""From counts to drift and latency."""

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
from models.serving.manifest import Manifest

# Siddiqi 2006, Credit Risk Scorecards, chapter 8.
MODERATE, LARGE = 0.1, 0.25
# A bin's share is never taken to be less: the logarithm of none is infinite.
LEAST_SHARE = 1e-4


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
    drifts = [
        drift
        for name, shares in trained.items()
        if (drift := _drift(name, shares, usage)) is not None
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
        columns=sorted(drifts, key=lambda drift: drift.by_chance - drift.psi),
    )


def stability_index(seen: np.ndarray, trained: np.ndarray) -> float:
    """Σ (p − q)·ln(p / q) of two sets of shares, (bins,) each."""
    p, q = np.maximum(seen, LEAST_SHARE), np.maximum(trained, LEAST_SHARE)
    return float(((p - q) * np.log(p / q)).sum())


def _drift(name: str, shares: list[float], usage: Sequence[ModelUsage]) -> ColumnDrift | None:
    """None: nothing was priced, or the model is of a version that kept no shares."""
    trained = np.array(shares)
    counts = np.zeros(len(trained))
    for row in usage:
        counts += np.array(row.columns.get(name, counts * 0))
    total = counts.sum()
    if total == 0:
        return None
    psi = stability_index(counts / total, trained)
    by_chance = max(0, int((trained > 0).sum()) - 1) / total
    excess = psi - by_chance
    drift: Drift = "none" if excess < MODERATE else "moderate" if excess < LARGE else "large"
    return ColumnDrift(column=name, psi=psi, by_chance=by_chance, drift=drift)


def _quantile(counts: np.ndarray, share: float) -> float | None:
    total = counts.sum()
    place = int(np.searchsorted(counts.cumsum(), share * total)) if total else len(SECONDS)
    return SECONDS[place] if place < len(SECONDS) else None
