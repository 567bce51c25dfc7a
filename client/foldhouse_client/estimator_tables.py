"""What estimators are fitted on, as a table that the service reads as it stands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.validation import validate_data

from foldhouse_client.cells import rows_of
from foldhouse_client.errors import FoldhouseError

TARGET = "y"  # the name of a target that has none
FEWEST_ROWS = 2
SHORT_FLOATS = ("float16", "float32")


def features_of(estimator: Any, X: Any, *, is_fit: bool) -> pd.DataFrame:
    """The columns of X, under the names that they had when the estimator was fitted.

    Sets `n_features_in_` and, of a data frame, `feature_names_in_`. Those of an array are called
    x0, x1, …

    Raises
    ------
    ValueError: a cell or a name cannot be sent, or X differs from what the estimator was fitted on.
    TypeError: X is sparse.
    """
    fewest = FEWEST_ROWS if is_fit else 1
    if isinstance(X, pd.DataFrame):
        _check_frame(X, fewest)
        validate_data(estimator, X, reset=is_fit, skip_check_array=True)
        table = X.reset_index(drop=True)
    else:
        cells = validate_data(
            estimator,
            X,
            reset=is_fit,
            dtype=None,
            ensure_all_finite="allow-nan",
            ensure_min_samples=fewest,
        )
        table = pd.DataFrame(cells)
    names = getattr(estimator, "feature_names_in_", None)
    table.columns = pd.Index(
        [f"x{place}" for place in range(table.shape[1])] if names is None else [*names]
    )
    # A float32 has fewer digits in a CSV than in JSON, where it is a float64.
    single = {name: float for name in table.columns if str(table[name].dtype) in SHORT_FLOATS}
    table = table.astype(single)
    try:
        for name in table.columns:
            if table[name].dtype.kind in "Om":
                rows_of(table[[name]])
    except FoldhouseError as error:
        raise ValueError(str(error)) from None
    return table


def target_name(y: Any, table: pd.DataFrame) -> str:
    """The target's own name, or `y`; raises ValueError if a column of X is called that."""
    own = y.columns[0] if isinstance(y, pd.DataFrame) else getattr(y, "name", None)
    name = own if isinstance(own, str) else TARGET
    if name in table.columns:
        raise ValueError(f"the target and a column of X are both called {name!r}: rename one")
    _check_name(name)
    return name


def target_values(y: Any, rows: int, *, dtype: Any) -> np.ndarray[Any, Any]:
    """The target of each row, without missing ones; raises ValueError."""
    if y is None:
        raise ValueError("fit requires y to be passed, but the target y is None")
    if pd.isna(np.asarray(y, dtype=object)).any():
        raise ValueError("Input y contains NaN")
    values = check_array(y, ensure_2d=False, dtype=dtype, input_name="y")
    values = column_or_1d(values, warn=True)
    if len(values) != rows:
        raise ValueError(f"X has {rows} rows and y {len(values)}: inconsistent numbers of samples")
    return np.asarray(values)


def _check_frame(X: pd.DataFrame, fewest: int) -> None:
    # Without names, as pandas makes it of an array, it counts as one.
    if not isinstance(X.columns, pd.RangeIndex):
        for name in X.columns:
            _check_name(name)
    twice = [*X.columns[X.columns.duplicated()]]
    if twice:
        raise ValueError(f"X has the column {twice[0]!r} twice: rename one of the two")
    if X.shape[1] == 0:
        raise ValueError("0 feature(s) in X: a minimum of 1 is required")
    if len(X) < fewest:
        raise ValueError(f"{len(X)} sample(s) in X: a minimum of {fewest} is required")
    for name in X.columns:
        kind = X[name].dtype.kind
        if isinstance(X[name].dtype, pd.SparseDtype):
            raise TypeError(f"column {name!r} of X is sparse: use X.sparse.to_dense()")
        if kind == "c":
            raise ValueError(f"column {name!r} of X has complex data, which is not supported")
        if kind == "f" and np.isinf(X[name].to_numpy(dtype=float, na_value=np.nan)).any():
            raise ValueError(f"column {name!r} of X contains infinity")


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise ValueError(
            f"column names must be strings, got {name!r}: try X.columns = X.columns.astype(str)"
        )
    if not name or name != " ".join(name.split("\n")).strip():
        raise ValueError(f"the service would read the column name {name!r} as another: rename it")
