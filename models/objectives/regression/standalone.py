"""The answers of an exported model that predicts a number, with numpy only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from models.objectives.conformal import bound, rank


def answer(
    found: dict[str, np.ndarray],
    numbers: np.ndarray,  # noqa: ARG001
    codes: np.ndarray,  # noqa: ARG001
    manifest: dict[str, Any],
    coverage: float,
) -> tuple[dict[str, list[Any]], list[str]]:
    """Columns of predictions and of bounds that contain a share `coverage` of the truths, and notes
    on them. `found`: the model's outputs for rows with numbers (N, D) and codes (N, C). A bound is
    NaN if there is none."""
    value, members = found["value"], found["members"]
    low, high = interval(value, members, found.get("spread"), manifest, coverage)
    rows, lowest, highest = cut_off(members, manifest)
    notes = []
    if rows.any():
        notes.append(
            f"{rows.sum()} predictions were clipped near the range of the training targets"
        )
        low = np.where(rows, np.minimum(low, lowest), low)
        high = np.where(rows, np.maximum(high, highest), high)
    columns = {"prediction": value.tolist(), "low": low.tolist(), "high": high.tolist()}
    return columns, notes


def interval(
    value: np.ndarray,
    members: np.ndarray,
    spread: np.ndarray | None,
    manifest: dict[str, Any],
    coverage: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds that contain a share `coverage` of the truths; NaN if there are none. `spread`: of a
    blend's parts."""
    calibration = manifest.get("calibration")
    if calibration is None:  # trained by a version without intervals
        return np.full(len(value), math.nan), np.full(len(value), math.nan)
    largest = bound(calibration, coverage)
    units = calibration.get("measured")  # None in a model of an earlier version
    if units is None:
        units = calibration["groups"] or rank(calibration["rows"], coverage)
    if units < coverage / (1 - coverage) - 1e-9:
        largest = math.inf  # few groups are little evidence, even with many rows
    if math.isinf(largest):
        largest = math.nan
    is_log = manifest["target_transform"] == "log"
    if spread is None:
        scale = np.log(members) if is_log else members
        per_fold = members_per_fold(manifest)
        if manifest["spec"]["folds"]["type"] == "time":  # only the last fold's are averaged
            scale = scale[-per_fold:]
        spread = scale.reshape(-1, per_fold, len(value)).std(axis=1).mean(axis=0)
    difficulty = calibration["difficulty"]
    radius = (difficulty["constant"] + difficulty["spread"] * spread) * largest
    if is_log:
        shift = calibration.get("shift", 0.0)
        low, high = value * np.exp(shift - radius), value * np.exp(shift + radius)
        return np.minimum(low, value), np.maximum(high, value)
    return value - radius, value + radius


def cut_off(members: np.ndarray, manifest: dict[str, Any]) -> tuple[np.ndarray, float, float]:
    """The rows for which a network went beyond the training targets, and the range."""
    bounds = manifest.get("bounds")
    if bounds is None:  # trained by an earlier version without them
        return np.zeros(members.shape[1], bool), math.inf, -math.inf
    in_time = manifest["spec"]["folds"]["type"] == "time"
    first = len(members) - members_per_fold(manifest) if in_time else 0
    low, high, overflow = (
        np.array(bounds[end][first:])[:, None] for end in ("low", "high", "overflow")
    )
    served = members[first:]
    rows = ((served <= low) | (served >= high) | (served == overflow)).any(axis=0)
    return rows, low.min(), high.max()


def members_per_fold(manifest: dict[str, Any]) -> int:
    """Members of the graph that share a fold; a blend's are one."""
    spec = manifest["spec"]
    return 1 if spec.get("members") else int(spec["members_per_fold"])
