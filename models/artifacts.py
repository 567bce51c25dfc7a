"""The files of a model."""

from __future__ import annotations

CORE = "core.onnx"  # for serving here: numbers and level codes in
ONNX = "model.onnx"  # for the world: raw columns in
MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
OUT_OF_FOLD = "oof.parquet"
REPORT = "report.html"
CHARTS = "charts.json"  # the charts of the report as Vega-Lite documents
