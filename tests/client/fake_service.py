"""A service that answers an estimator from memory: its model is one of scikit-learn's own."""

from __future__ import annotations

import io
import json
from typing import Any
from urllib.parse import parse_qs

import httpx
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

PROBLEM = {"Content-Type": "application/problem+json"}
Json = dict[str, Any]


class FakeService(httpx.MockTransport):
    """tables, runs : what was uploaded and submitted, in order; ending : of the next runs"""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.tables: list[str] = []
        self.runs: list[Json] = []
        self.cancelled: list[str] = []
        self.ending: Json = {"status": "succeeded"}
        self._models: list[Any] = []

    def _answer(self, request: httpx.Request) -> httpx.Response:
        _, _, noun, *rest = request.url.path.split("/")
        if noun == "datasets":
            self.tables.append(request.read().decode())
            return httpx.Response(201, json={"id": f"ds_{len(self.tables) - 1}"})
        if noun == "predict":
            asked = parse_qs(request.url.query.decode())
            rows = json.loads(request.content)["rows"]
            model = self._models[int(asked["model"][0].removeprefix("mdl_"))]
            return httpx.Response(200, json={"predictions": predictions(model, rows)})
        if noun == "models":
            levels = [*self._models[int(rest[0].removeprefix("mdl_"))].classes_]
            return httpx.Response(200, json={"classes": {"levels": levels}})
        if rest[1:] == ["cancel"]:
            self.cancelled.append(rest[0])
            return httpx.Response(202, json={})
        if not rest:
            return self._submit(noun, json.loads(request.content))
        return httpx.Response(200, json=self._run(rest[0]))

    def _submit(self, noun: str, body: Json) -> httpx.Response:
        self.runs.append(body)
        number = len(self.runs) - 1
        if body.get("spec", body).get("k_folds") == 1:
            detail = "'k_folds' must be at least 2"
            faults = [{"detail": detail, "pointer": "/k_folds"}]
            problem = {"title": "Invalid", "status": 422, "detail": detail, "errors": faults}
            return httpx.Response(422, json=problem, headers=PROBLEM)
        table = pd.read_csv(io.StringIO(self.tables[int(body["dataset_id"][3:])]))
        self._models.append(trained(table, body["target"], body.get("spec", body)["task"]))
        kind = "job" if noun == "jobs" else "swp"
        return httpx.Response(202, json={"id": f"{kind}_{number}"})

    def _run(self, run_id: str) -> Json:
        model = {"model_id": f"mdl_{len(self._models) - 1}"}
        result = model if run_id.startswith("swp_") else {"result": model}
        return {"id": run_id, "error": None, **result, **self.ending}


def trained(table: pd.DataFrame, target: str, task: str) -> Any:
    y = table.pop(target)
    is_classes = task == "classification"
    kind = ExtraTreesClassifier if is_classes else ExtraTreesRegressor
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    words = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    table[words] = table[words].astype(object).where(table[words].notna(), None)
    prepared = make_column_transformer((encoder, words), remainder="passthrough")
    model = make_pipeline(prepared, kind(20, random_state=0))
    return model.fit(table, y.astype(str) if is_classes else y)


def predictions(model: Any, rows: list[Json]) -> list[Json]:
    table = pd.DataFrame(rows)
    values = model.predict(table)
    if not hasattr(model, "classes_"):
        return [
            {"value": value, "interval": {"low": value - 1, "high": None}}
            for value in values.tolist()
        ]
    shares = model.predict_proba(table)
    return [
        {"value": value, "probabilities": dict(zip(model.classes_, map(float, row), strict=True))}
        for value, row in zip(values, np.asarray(shares), strict=True)
    ]
