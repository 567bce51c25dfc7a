"""The Python client of foldhouse, for scripts, notebooks and the command line.

    with Foldhouse() as client:
        dataset = client.upload("train.csv")
        job = client.submit({"target": "SalePrice"}, dataset["id"])
        model_id = client.wait(job["id"])["result"]["model_id"]
        values = [row["value"] for row in client.predict(rows, model_id)]

Answers are the JSON objects of the HTTP API; `foldhouse_client.errors` draws the tree of errors.
`foldhouse_client.estimators`, which needs scikit-learn, fits and predicts as its estimators do.
"""

from foldhouse_client.client import Foldhouse
from foldhouse_client.errors import Fault, FoldhouseError, Unfinished, Unreachable
from foldhouse_client.events import Event
from foldhouse_client.predictions import Predictions

__all__ = [
    "Event",
    "Fault",
    "Foldhouse",
    "FoldhouseError",
    "Predictions",
    "Unfinished",
    "Unreachable",
]
