"""Estimators for scikit-learn whose fit is a job, or a sweep, of a service.

    model = FoldhouseRegressor("http://127.0.0.1:8000", spec={"effort": "quick"})
    model.fit(X, y).predict(X)
    cross_val_score(model, X, y)

Needs scikit-learn and pandas: `pip install 'foldhouse-client[sklearn]'`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from foldhouse_client.client import Foldhouse
from foldhouse_client.connection import Json
from foldhouse_client.errors import FitFailed, FoldhouseError, Unfinished, Unreachable
from foldhouse_client.estimator_tables import features_of, target_name, target_values
from foldhouse_client.ids import is_sweep
from foldhouse_client.predictions import Predictions

OWN_FIELDS = ("dataset_id", "target", "task")  # of a spec; X and y decide them
Array = np.ndarray[Any, Any]


class _Estimator(BaseEstimator):
    """What both kinds share.

    Parameters
    ----------
    url: of the service; by default FOLDHOUSE_URL or http://127.0.0.1:8000.
    spec: of the job, without its target, such as `{"k_folds": 5}`. Of a sweep, what trials share.
    sweep: trains a sweep instead of a job: its other fields, such as `search_space` and `n_trials`.
    name: of the job or sweep.
    timeout: seconds to wait for it. After that it is cancelled, as it is by Ctrl-C.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        spec: Json | None = None,
        sweep: Json | None = None,
        name: str | None = None,
        timeout: float | None = None,
    ) -> None:
        self.url = url
        self.spec = spec
        self.sweep = sweep
        self.name = name
        self.timeout = timeout

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags

    def _train(self, table: pd.DataFrame, target: str, values: Any, task: str) -> None:
        """Set `job_` and `model_id_`; raises FitFailed with the service's reason."""
        body = self._body(table, target, task)
        title = self.name or type(self).__name__
        with Foldhouse(self.url) as client, _failing():
            # The marks say that a float such as 1.234 has a decimal point.
            dataset = client.upload(
                table.assign(**{target: values}), title, separator=",", decimal="."
            )
            submit = client.submit if self.sweep is None else client.submit_sweep
            run = submit(body, dataset["id"])
            try:
                self.job_ = client.wait(run["id"], timeout=self.timeout)
            except (Unfinished, KeyboardInterrupt):
                with suppress(FoldhouseError):  # it may have just ended
                    (client.cancel_sweep if is_sweep(run["id"]) else client.cancel)(run["id"])
                raise
        self.model_id_ = (self.job_ if self.sweep is not None else self.job_["result"])["model_id"]

    def _body(self, table: pd.DataFrame, target: str, task: str) -> Json:
        spec, sweep = dict(self.spec or {}), self.sweep
        for field in OWN_FIELDS:
            if field in spec or field in (sweep or {}):
                raise ValueError(f"spec and sweep must not have {field!r}: X and y decide it")
        features = spec.get("features") or {}
        kinds = {
            name: "categorical"
            for name in table.columns
            if isinstance(table[name].dtype, pd.CategoricalDtype) and table[name].nunique() > 1
        }
        if kinds:
            kinds |= features.get("kinds") or {}
            spec["features"] = {**features, "kinds": kinds}
        named = {} if self.name is None else {"name": self.name}
        if sweep is None:
            return {**spec, **named, "target": target, "task": task}
        return {**sweep, **named, "spec": {**spec, "task": task}, "target": target}

    def _predicted(self, X: Any, **asked: Any) -> Predictions:
        check_is_fitted(self, "model_id_")
        table = features_of(self, X, is_fit=False)
        with Foldhouse(self.url) as client:
            return client.predict(table, self.model_id_, **asked)


class FoldhouseRegressor(RegressorMixin, _Estimator):
    """Predicts numbers.

    Attributes
    ----------
    model_id_ : the model's id
    job_ : the job or sweep, as the service shows it once it has succeeded
    n_features_in_, feature_names_in_ : as of all estimators; names only of a data frame
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Upload X with y, train, and wait.

        Missing cells, words, categories, booleans and dates in X may stay as they are.

        Raises
        ------
        FitFailed: the service refused the spec, or training failed.
        ValueError: X or y cannot be sent.
        """
        table = features_of(self, X, is_fit=True)
        values = target_values(y, len(table), dtype="numeric")
        self._train(table, target_name(y, table), values.astype(float), "regression")
        return self

    def predict(self, X: Any) -> Array:
        """Shape (n,), on the target's own scale."""
        return np.array([row["value"] for row in self._predicted(X)], dtype=float)

    def predict_interval(self, X: Any, coverage: float = 0.9) -> Array:
        """The lower and upper bounds that contain so many of the true values, shape (n, 2).

        NaN where the model has too few rows for that coverage.
        """
        bounds = [row["interval"] for row in self._predicted(X, coverage=coverage)]
        return np.array([[each["low"], each["high"]] for each in bounds], dtype=float)


class FoldhouseClassifier(ClassifierMixin, _Estimator):
    """Predicts classes, which may be words, numbers or booleans.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
    model_id_, job_, n_features_in_, feature_names_in_ : as of FoldhouseRegressor
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Upload X with y, train, and wait; raises as FoldhouseRegressor does."""
        table = features_of(self, X, is_fit=True)
        values = target_values(y, len(table), dtype=None)
        check_classification_targets(values)
        self.classes_, places = np.unique(values, return_inverse=True)
        if len(self.classes_) == 1:
            raise ValueError("y has one class: a classifier needs at least two")
        texts = [_text(label) for label in self.classes_.tolist()]
        words = np.array(texts, dtype=object)[places]
        self._train(table, target_name(y, table), words, "classification")
        with Foldhouse(self.url) as client:
            levels = client.model(self.model_id_)["classes"]["levels"]
        if {*levels} != {*texts}:
            raise FitFailed(
                "The classes were read differently",
                None,
                f"y has {', '.join(sorted(texts))}; the model has {', '.join(sorted(levels))}",
            )
        self._places = {text: place for place, text in enumerate(texts)}
        return self

    def predict(self, X: Any) -> Array:
        """Shape (n,), of `classes_`."""
        places = [self._places[row["value"]] for row in self._predicted(X)]
        chosen: Array = self.classes_[places]
        return chosen

    def predict_proba(self, X: Any) -> Array:
        """Shape (n, n_classes), in the order of `classes_`."""
        rows = self._predicted(X, classes=["*"])
        return np.array([[row["probabilities"][text] for text in self._places] for row in rows])


def _text(label: Any) -> str:
    """A class as the service names it: 1 for 1.0."""
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label)


@contextmanager
def _failing() -> Iterator[None]:
    """What the service refuses or reports becomes FitFailed; that it is away does not."""
    try:
        yield
    except Unreachable:
        raise
    except FoldhouseError as error:
        raise FitFailed(error.title, error.status, error.detail, error.errors) from error
