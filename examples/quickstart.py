"""Train on examples/ames.csv and price a house, against a running `foldhouse serve`."""

from __future__ import annotations

import json
from pathlib import Path

from foldhouse_client import Foldhouse

EXAMPLES = Path(__file__).parent

with Foldhouse() as client:
    dataset = client.upload(EXAMPLES / "ames.csv")
    spec = json.loads((EXAMPLES / "specs" / "baseline.json").read_text())
    plan = client.validate(spec, dataset["id"])
    print(f"{plan['parameters']:,} weights per fold, about {plan['estimate']['seconds']:.0f} s")

    job = client.submit(spec, dataset["id"])
    for state in client.watch(job["id"]):
        progress = state["progress"]
        print(f"{state['status']:>9} epoch {progress['epoch']} of {progress['max_epochs']}")

    result = client.wait(job["id"])["result"]
    print("out-of-fold:", result["metrics"])

    house = {"LotArea": 8450, "Neighborhood": "CollgCr", "OverallQual": 7, "YearBuilt": 2003}
    for prediction in client.predict([house], result["model_id"]):
        print(f"${prediction['value']:,.0f}", [w["detail"] for w in prediction["warnings"]][:3])

    client.export(result["model_id"], result["model_id"])
