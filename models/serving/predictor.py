"""A registered model, loaded and ready to predict rows. Needs onnxruntime, not torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod

import numpy as np
import onnxruntime
import pyarrow as pa

from models.data.design import Codes, Numbers
from models.objectives import OBJECTIVES
from models.objectives.base import PLAIN, Cells, Outputs, Question, Unanswerable
from models.serving.encoding import EncodedRows, Given, RowEncoder
from models.serving.explain import Explanation, explain, predictions_per_explanation
from models.serving.manifest import MEMBERS, SPREAD, Manifest
from models.serving.oddities import outlier
from models.serving.reference import OutlierCheck, Vector
from models.tables.faults import RowWarning, TableError

# Rows per call of the graph. Their activations stay in the cache, which is twice as fast as 4,096
# rows at a time, and a large table needs little memory.
CHUNK_ROWS = 256
QUICK_BYTES = 32 * 1024 * 1024  # of weights, each read once per row
LIGHT_BYTES = 4 * 1024 * 1024  # with which a row takes less than a switch between threads
# Memory of a session: its weights, the file's bytes (which onnxruntime keeps), and up to this much
# more; measured with 3 KB and with 84 MB of weights.
SESSION_BYTES = 1024 * 1024

Number = Callable[[Vector], Vector]  # of a row's prediction


class RowError(TableError):
    """No column is the model's, or some cells are unusable and `on_unknown=error`."""


@dataclass(frozen=True)
class Predictions:
    """values (N, …) and members (K, N, …) on the target's own scale; K is 0 if the answers do not
    need them.

    cells : (N,) of each column of the answer, by the column's name
    encoded : the rows as passed to the graph, and what is odd about each
    given : the columns of the request, matched to the model's
    about_all : what is odd about all rows
    bins : (N,) the bin of each prediction among the model's `Answering.shares`
    explanations : one per row, if requested
    """

    values: Vector
    members: Vector
    cells: Mapping[str, Cells]
    encoded: EncodedRows
    given: Given
    about_all: list[RowWarning]
    bins: Codes | None = None
    explanations: list[Explanation] | None = None

    @property
    def warnings(self) -> list[list[RowWarning]]:
        return self.encoded.warnings


class Predictor:
    """One model's session. Its methods are safe to call from several threads."""

    def __init__(self, core: bytes, manifest: Manifest) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # requests run in parallel instead
        self.manifest = manifest
        self._session = onnxruntime.InferenceSession(
            core, options, providers=["CPUExecutionProvider"]
        )
        self._encoder = RowEncoder(manifest)
        objective = OBJECTIVES[manifest.task]
        self.answering = objective.answering(manifest)
        self.columns = self.answering.columns
        numbers = {
            output.name: prod(size for size in output.shape if isinstance(size, int))
            for output in self._session.get_outputs()
        }
        self._outputs = [objective.output]
        if self.answering.needs_members:
            self._outputs += [name for name in (MEMBERS, SPREAD) if name in numbers]
        # Of a row: its columns, or what the graph makes of them.
        self.cells_per_row = max(
            len(manifest.columns), sum(numbers[name] for name in self._outputs)
        )
        self.memory_bytes = 2 * len(core) + SESSION_BYTES
        self.explanation_bytes = len(core) * predictions_per_explanation(len(manifest.columns))
        # Whether a row takes about a millisecond at most. Dates, and numbers that are levels, are
        # parsed by vectorised code, which takes as long for a single cell.
        self.is_quick = len(core) <= QUICK_BYTES and not self._encoder.has_costly_text
        self.is_light = len(core) <= LIGHT_BYTES
        self._outliers = None if manifest.outliers is None else OutlierCheck(manifest.outliers)

    def check(self, question: Question) -> None:
        """Raise Unanswerable for options that do not apply to the model."""
        self.answering.check(question)
        if question.comparables and self.manifest.likeness is None:
            raise Unanswerable(
                "comparables",
                "the model was trained by an earlier version, which did not learn what makes rows "
                "alike: train it again",
            )

    def given(self, names: Collection[str]) -> Given:
        """Match the columns of a request, each named once, with the model's."""
        return self._encoder.given(names)

    def predict_rows(
        self,
        rows: Sequence[Mapping[str, object]],
        question: Question = PLAIN,
        given: Given | None = None,
    ) -> Predictions:
        """Predict JSON objects.

        Parameters
        ----------
        given : the columns of the whole request; by default those of `rows`.

        Raises
        ------
        RowError: no row has a column of the model, a cell is unknown, not a number, or missing
            while `on_unknown` is "error", or the model is too old to be explained.
        """
        if given is None:
            given = self.given(dict.fromkeys(chain.from_iterable(rows)))
        return self._predict(self.encoded(rows, given), given, question)

    def predict_table(
        self, cells: pa.Table | pa.RecordBatch, question: Question = PLAIN
    ) -> Predictions:
        """Predict the rows of a table of texts from `models.tables.table.read_text`.

        Raises
        ------
        RowError: as for `predict_rows`.
        """
        given = self.given(cells.column_names)
        self._check_columns(given, len(cells))
        return self._predict(self._encoder.table(cells, given), given, question)

    def encoded(self, rows: Sequence[Mapping[str, object]], given: Given) -> EncodedRows:
        """JSON objects as the graph takes them: the first of three steps of `predict_rows`, for
        callers that run the rows of several requests together. Raises RowError."""
        self._check_columns(given, len(rows))
        return self._encoder.rows(rows, given)

    def run(self, numbers: Numbers, codes: Codes) -> Outputs:
        """The graph's outputs for numbers (N, D) and codes (N, C). Their last digits depend on how
        many rows are run together."""
        parts = [
            self._session.run(
                self._outputs,
                {
                    "numbers": numbers[start : start + CHUNK_ROWS],
                    "codes": codes[start : start + CHUNK_ROWS],
                },
            )
            for start in range(0, max(1, len(numbers)), CHUNK_ROWS)
        ]
        values, *more = map(list, zip(*parts, strict=True))
        value = _joined(values, axis=0)
        members = _joined(more[0], axis=1) if more else np.empty((0, *value.shape))
        spread = _joined(more[1], axis=0) if len(more) > 1 else None
        return Outputs(value, members, numbers, codes, spread)

    def _predict(self, encoded: EncodedRows, given: Given, question: Question) -> Predictions:
        if question.on_unknown == "error" and (faults := encoded.faults()):
            raise RowError("some cells are not usable as they are", faults)
        outputs = self.run(encoded.numbers, encoded.codes)
        return self.answered(encoded, given, outputs, question)

    def answered(
        self, encoded: EncodedRows, given: Given, outputs: Outputs, question: Question = PLAIN
    ) -> Predictions:
        """The answers to rows that were run: the last of the three steps."""
        self._warn_of_outliers(encoded)
        answer = self.answering.answer(outputs, question)
        explain = question.explain
        explanations = self._explain(encoded, outputs.values, question) if explain else None
        for row, warning in answer.odd:
            encoded.warnings[row].append(warning)
        return Predictions(
            values=outputs.values,
            members=outputs.members,
            cells=answer.cells,
            encoded=encoded,
            given=given,
            about_all=answer.about_all,
            bins=answer.bins,
            explanations=explanations,
        )

    def _check_columns(self, given: Given, rows: int) -> None:
        if rows > 0 and not given.numeric and not given.categorical:
            known = ", ".join(self._encoder.columns[:5])
            raise RowError(f"none of the columns is one that the model uses, such as {known}")

    def _warn_of_outliers(self, encoded: EncodedRows) -> None:
        if self._outliers is None:
            return
        parts = self._outliers.parts(encoded.numbers)
        for row in (parts.sum(1) > self._outliers.limit).nonzero()[0]:
            names = [self._encoder.columns[place] for place in self._outliers.most(parts[row])]
            encoded.warnings[row].append(outlier(names))

    def _explain(
        self, encoded: EncodedRows, values: Vector, question: Question
    ) -> list[Explanation]:
        background = self.manifest.background
        if background is None:
            raise RowError(
                "the model was trained by an earlier version, which kept no rows to explain "
                "predictions: train it again"
            )
        found = []
        for place, (numbers, codes) in enumerate(zip(encoded.numbers, encoded.codes, strict=True)):
            level, number = self.answering.explained(values[[place]], question)

            def predict(numbers: Numbers, codes: Codes, number: Number = number) -> Vector:
                return number(self.run(numbers, codes).values)

            found.append(explain(predict, background, numbers, codes, level))
        return found


def _joined(parts: Sequence[Vector], axis: int) -> Vector:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis)
