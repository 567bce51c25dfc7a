"""A chart: a Vega-Lite document, in words, and as a table of the same numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np

from models.charts.theme import CONFIG, HEIGHT, WIDTH

Json = dict[str, Any]
# The name of its data while a chart is drawn: the numbers are put in afterwards, because checking
# each of them against Vega-Lite's schema takes as long as everything else.
DATA = alt.NamedData(name="table")


@dataclass(frozen=True)
class Chart:
    """`spec`: a whole Vega-Lite document. columns: the titles of the table's columns by the names
    of the fields; rows: the numbers, by field."""

    name: str
    title: str
    description: str
    spec: Json
    columns: Mapping[str, str]
    rows: Sequence[Json]

    def document(self) -> Json:
        """As it is stored: pages draw `spec`, and show `table` behind it."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "spec": self.spec,
            "table": {
                "columns": [*self.columns.values()],
                "rows": [[row[field] for field in self.columns] for row in self.rows],
            },
        }


def chart(
    name: str,
    title: str,
    description: str,
    layers: Sequence[Any],
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    *,
    height: int = HEIGHT,
) -> Chart:
    """A chart of `layers`, which are drawn from `DATA`, and so from `rows`.

    Raises
    ------
    altair.SchemaValidationError: it is no Vega-Lite.
    """
    numbers = [{field: _json(value) for field, value in row.items()} for row in rows]
    drawn = alt.layer(*layers, data=DATA).properties(
        width=WIDTH, height=height, description=description
    )
    spec = drawn.to_dict() | {"config": CONFIG}
    spec["datasets"] = {**spec.get("datasets", {}), DATA.name: numbers}
    return Chart(name, title, description, spec, columns, numbers)


def base() -> alt.Chart:
    """What a layer begins with that draws each row."""
    return alt.Chart(DATA)


def once() -> alt.Chart:
    """What a layer begins with that draws one thing."""
    return alt.Chart(alt.InlineData(values=[{}]))


def _json(value: Any) -> Any:
    """A number as JSON has it: None if it is not finite."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
