"""Comparables of one row at a time, by sorting all distances."""

from __future__ import annotations

import numpy as np


def plain_features(
    query: np.ndarray, points: np.ndarray, residual: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """(7 A + 3,) for one query (S,), from references (r, S), (r, A) and (r, A)."""
    distance = np.sqrt(((points - query) ** 2).sum(1))
    order = np.argsort(distance, kind="stable")
    residuals, targets, spread, logs = [], [], [], []
    for k in (4, 16, 64):
        near = order[:k]
        farthest = distance[near[-1]]
        weights = 1 - (distance[near] / farthest if farthest > 0 else 0 * distance[near])
        weights = np.maximum(weights - 1e-5, 0)[:, None]
        total = weights.sum() + 1e-2
        residuals.append((weights * residual[near]).sum(0) / total)
        targets.append((weights * target[near]).sum(0) / total)
        if k == 16:
            apart = (residual[near] - residuals[-1]) ** 2
            spread.append(np.sqrt((weights * apart).sum(0) / total))
        logs.append([np.log(farthest + 1e-3)])
    return np.concatenate([*residuals, *targets, *spread, *logs])


def standardised(
    queries: np.ndarray, points: np.ndarray, residual: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """(N, 7 A + 3): by the mean and deviation over references, each without itself."""
    rows = np.arange(len(points))
    own = np.stack(
        [
            plain_features(points[i], points[rows != i], residual[rows != i], target[rows != i])
            for i in rows
        ]
    )
    found = np.stack([plain_features(query, points, residual, target) for query in queries])
    return np.clip((found - own.mean(0)) / own.std(0), -5, 5)
