"""What is needed to train the same model again."""

from __future__ import annotations

import hashlib
import platform
from importlib import metadata
from typing import Any

import numpy as np
import torch

from models.artifacts import EarlierModel
from models.spec import TrainingSpec
from models.spec.digest import sha256_of


def receipt_of(
    spec: TrainingSpec,
    dataset_sha256: str,
    parquet_sha256: str,
    device: str,
    earlier: EarlierModel | None,
) -> dict[str, Any]:
    """Everything needed to train the same model again."""
    start = {}
    if earlier is not None:
        with earlier.weights.open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        start = {"started_from": {"model_id": earlier.id, "weights_sha256": weights}}
    return {
        "dataset_sha256": dataset_sha256,
        "parquet_sha256": parquet_sha256,
        "spec_sha256": sha256_of(spec.model_dump(mode="json")),
        "seed": spec.seed,
        "versions": {
            "foldhouse": metadata.version("foldhouse"),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "device": device,
        "threads": torch.get_num_threads(),
        **start,
    }
