"""A registered model, loaded and ready to price rows. Needs onnxruntime, not torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnxruntime
import pyarrow as pa
from numpy.typing import NDArray

from models.data.faults import TableError
from models.serving.encoding import EncodedRows, RowEncoder, RowWarning
from models.serving.manifest import Manifest

# Rows that go through the graph at once: their activations stay in the cache, which is twice as
# fast as 4,096 rows at a time, and a large table takes little memory.
CHUNK_ROWS = 256

OnUnknown = Literal["warn", "error"]


class RowError(TableError):
    """No column is the model's, or `on_unknown=error` and it cannot take some cells as they are."""


@dataclass(frozen=True)
class Predictions:
    """values (N,) and members (K, N) on the target's own scale, and N lists of warnings.

    `ignored`: columns that came and are not the model's.
    """

    values: NDArray[np.float64]
    members: NDArray[np.float64]
    warnings: list[list[RowWarning]]
    ignored: list[str]


class Predictor:
    """One model's session. Its methods may be called from several threads."""

    def __init__(self, core: bytes, manifest: Manifest) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # requests are what runs in parallel
        self.manifest = manifest
        self._session = onnxruntime.InferenceSession(
            core, options, providers=["CPUExecutionProvider"]
        )
        self._encoder = RowEncoder(manifest)

    def predict_rows(
        self, rows: Sequence[Mapping[str, object]], on_unknown: OnUnknown = "warn"
    ) -> Predictions:
        """Price JSON objects.

        Raises
        ------
        RowError: no row has a column of the model, or `on_unknown` is "error" and a cell is
            unknown, no number, or missing.
        """
        given: dict[str, None] = {}
        for row in rows:
            given.update(dict.fromkeys(row))
        return self._predict(self._encoder.rows(rows), list(given), on_unknown)

    def predict_table(self, cells: pa.Table, on_unknown: OnUnknown = "warn") -> Predictions:
        """Price the rows of a table of texts, as `models.data.table.read_text` gives it.

        Raises
        ------
        RowError: as in `predict_rows`.
        """
        return self._predict(self._encoder.table(cells), cells.column_names, on_unknown)

    def _predict(
        self, encoded: EncodedRows, given: list[str], on_unknown: OnUnknown
    ) -> Predictions:
        used = set(self._encoder.columns)
        if len(encoded.numbers) > 0 and not used.intersection(given):
            names = ", ".join(self._encoder.columns[:5])
            raise RowError(f"none of the columns is one that the model uses, such as {names}")
        if on_unknown == "error" and (faults := encoded.faults()):
            raise RowError(f"{len(faults)} cells cannot be taken as they are", faults)
        parts = [
            self._session.run(
                ["value", "members"],
                {
                    "numbers": encoded.numbers[start : start + CHUNK_ROWS],
                    "codes": encoded.codes[start : start + CHUNK_ROWS],
                },
            )
            for start in range(0, max(1, len(encoded.numbers)), CHUNK_ROWS)
        ]
        return Predictions(
            values=np.concatenate([value for value, _ in parts]),
            members=np.concatenate([members for _, members in parts], axis=1),
            warnings=encoded.warnings,
            ignored=[name for name in given if name not in used],
        )
