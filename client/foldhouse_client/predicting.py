"""Predicting rows and files."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from foldhouse_client.cells import rows_of
from foldhouse_client.connection import CSV, Connection, Json
from foldhouse_client.errors import FoldhouseError
from foldhouse_client.predictions import Predictions, facts_of, given

# Keeps a request near a megabyte; the service accepts four, and a million values.
ROWS_PER_REQUEST = 1_000
CELLS_PER_REQUEST = 80_000


class Predicting(Connection):
    """Calls that predict."""

    def predict(
        self,
        rows: Any,
        model: str = "champion",
        *,
        coverage: float | None = None,
        on_unknown: str | None = None,
        explain: bool = False,
        explained_class: str | None = None,
        threshold: float | None = None,
        classes: Sequence[str] = (),
        by_class: bool = False,
        comparables: int | None = None,
    ) -> Predictions:
        """Predict each row; `value` is a number on the target's own scale, or a class.

        Parameters
        ----------
        rows: mappings by column, or a pandas data frame. NaN, NaT, NA and None are missing.
        coverage: share of the true values that the intervals, or sets of classes, should contain,
            0.5 to 0.99.
        on_unknown: "error" refuses unknown levels, wrong types and missing cells.
        explain: adds what each column contributes.
        explained_class: the class to explain; by default the predicted one.
        threshold: of two classes, from which probability the positive one is predicted.
        classes: those whose probabilities each row lists, "*" for all; by default all, or those of
            its set if there are more than 20.
        by_class: sets contain that share of the rows of each class, instead of all rows together.
        comparables: adds so many training rows that are most like each row, with their targets.

        Raises
        ------
        FoldhouseError: with the row (from 1) and column of each cell at fault.
        """
        cells = rows_of(rows)
        params = given(
            model=model,
            coverage=coverage,
            on_unknown=on_unknown,
            explain=explain,
            explained_class=explained_class,
            threshold=threshold,
            classes=list(classes),
            by_class=by_class,
            comparables=comparables,
        )
        found: list[Json] = []
        facts: Json = {}
        names = dict.fromkeys(chain.from_iterable(cells))
        length = min(ROWS_PER_REQUEST, CELLS_PER_REQUEST // max(1, len(names)))
        # The answer has the columns of the model for each comparable.
        length = max(1, length // max(1, comparables or 1))
        for start in range(0, max(1, len(cells)), length):
            part = cells[start : start + length]
            # Every part names all columns, so that none counts as missing in only one part.
            part[:1] = [{**names, **row} for row in part[:1]]
            try:
                answer = self._json("POST", "/v1/predict", params=params, json={"rows": part})
            except FoldhouseError as error:
                raise error.moved(start) from None
            found += answer.pop("predictions")
            facts = facts or answer
        return Predictions(found, facts)

    def predict_csv(
        self,
        source: str | Path,
        target: str | Path | BinaryIO,
        model: str = "champion",
        *,
        passthrough: Sequence[str] = (),
        name: str | None = None,
        columns: Sequence[str] = (),
        coverage: float | None = None,
        on_unknown: str | None = None,
        threshold: float | None = None,
        classes: Sequence[str] = (),
        by_class: bool = False,
    ) -> Json:
        """Predict the rows of a CSV file into another, in the same order.

        Parameters
        ----------
        target: a path, or an open binary file.
        passthrough: columns of `source` to copy to the front.
        name: header of the prediction column.
        columns: the columns to write; by default all.
        coverage, on_unknown, threshold, by_class: as in `predict`.
        classes: adds the columns of their probabilities, "*" those of all.

        Returns
        -------
        `model_id`, `target`, `unit`, `alias`, `missing_columns`, `ignored_columns`, `warnings`
        (codes).
        """
        params = given(
            model=model,
            passthrough=list(passthrough),
            columns=list(columns),
            name=name,
            coverage=coverage,
            on_unknown=on_unknown,
            threshold=threshold,
            classes=list(classes),
            by_class=by_class,
        )
        with Path(source).open("rb") as file:
            headers = self._download(
                target,
                "POST",
                "/v1/predict",
                params=params,
                content=file,
                headers={"Content-Type": CSV, "Accept": CSV},
            )
        return facts_of(headers)
