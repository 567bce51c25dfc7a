"""The cells of answers about classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from models.objectives.base import ALL_CLASSES, Codes, Outputs, Question, Vector
from models.objectives.classification.sets import chance, listed, members

PREDICTION, PROBABILITY, PROBABILITIES, SET = "prediction", "probability", "probabilities", "set"
COVERAGE = "coverage"
LABEL = "label"  # the predictions in tensors and in model.onnx
# With more classes, a row lists only the probabilities of those in its set.
FEW_CLASSES = 20


def column_of(level: str) -> str:
    """The name of the column with a class's probability."""
    return f"p({level})"


class Levels:
    """The classes by name and by place.

    words : (C,) the names
    places : by name
    by_column : places by the name of the class's column
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.words = np.array(self.names, object)
        self.places = {name: place for place, name in enumerate(self.names)}
        self.by_column = {column_of(name): place for name, place in self.places.items()}

    def __len__(self) -> int:
        return len(self.names)


class Cells(Mapping[str, Any]):
    """The cells (N,) of an answer by column. They are made when they are read, because most
    answers leave some of them out.

    predicted : (N,) the places of the predicted classes
    bounds : (C,) the largest score with which each class is in a set
    """

    def __init__(
        self,
        levels: Levels,
        outputs: Outputs,
        question: Question,
        predicted: Codes,
        bounds: Vector,
    ) -> None:
        self._levels, self._outputs, self._question = levels, outputs, question
        self._predicted, self._bounds = predicted, bounds
        self._makers: dict[str, Callable[[], Any]] = {
            PREDICTION: lambda: levels.words[predicted].tolist(),
            PROBABILITY: lambda: np.take_along_axis(outputs.values, predicted[:, None], 1)[:, 0],
            PROBABILITIES: lambda: self._probabilities,
            SET: lambda: self._sets,
            COVERAGE: lambda: np.full(len(predicted), question.coverage),
        }

    def __getitem__(self, name: str) -> Any:
        if name in self._makers:
            return self._makers[name]()
        return self._outputs.values[:, self._levels.by_column[name]]

    def __iter__(self) -> Iterator[str]:
        return chain(self._makers, self._levels.by_column)

    def __len__(self) -> int:
        return len(self._makers) + len(self._levels)

    @cached_property
    def _sets(self) -> list[list[str]]:
        outputs = self._outputs
        shares = chance(outputs.numbers, outputs.codes)
        inside = members(outputs.values, shares, self._bounds)
        rows = zip(outputs.values, inside, strict=True)
        return [listed(*row, self._levels.names) for row in rows]

    @cached_property
    def _probabilities(self) -> list[dict[str, float]]:
        """For each row, the probabilities of the classes that the request names."""
        values, places, asked = self._outputs.values, self._levels.places, self._question.classes
        if not asked and len(self._levels) > FEW_CLASSES:
            predicted = self._levels.words[self._predicted].tolist()
            rows = zip(values, self._sets, predicted, strict=True)
            return [
                {level: float(row[places[level]]) for level in dict.fromkeys((own, *levels))}
                for row, levels, own in rows
            ]
        every = not asked or ALL_CLASSES in asked
        # A URL can name one class thousands of times.
        names = self._levels.names if every else tuple(dict.fromkeys(asked))
        chosen = values[:, [places[name] for name in names]].tolist()
        return [dict(zip(names, row, strict=True)) for row in chosen]
