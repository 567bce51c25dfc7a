#!/usr/bin/env bash
# Train on ames.csv and price houses with curl, against a running `foldhouse serve`.
# `latest` stands for the newest dataset or job, `champion` for the first model of a target.
set -euo pipefail
cd "$(dirname "$0")"
url="${FOLDHOUSE_URL:-http://127.0.0.1:8000}"
ask() { curl --fail-with-body --silent --show-error "$@"; }

echo "Upload:"
ask -F file=@ames.csv "$url/v1/datasets" | cut -c 1-300

echo "Submit:"
job=$(ask -H 'Content-Type: application/json' "$url/v1/jobs" -d '{
  "dataset_id": "latest", "target": "SalePrice", "features": {"exclude": ["Id"]},
  "architecture": {"type": "mlp", "hidden_sizes": [256, 64]},
  "weight_decay": 1e-4, "dropout": 0.1, "k_folds": 5}' | sed 's/.*"id":"\(job_[^"]*\)".*/\1/')
echo "$job"

echo "Wait:"
state=
until [[ $state =~ succeeded|failed|cancelled ]]; do
  sleep 1
  state=$(ask "$url/v1/jobs/$job" | sed 's/.*"status":"\([a-z]*\)".*/\1/')
  echo "$state"
done

echo "Losses of every fold and epoch, and the out-of-fold predictions:"
ask -H 'Accept: text/csv' "$url/v1/jobs/$job/metrics" | sed -n 1,3p
ask -H 'Accept: text/csv' "$url/v1/jobs/$job/oof" | sed -n 1,3p

echo "Price one house, then a whole file:"
ask -H 'Content-Type: application/json' "$url/v1/predict?model=champion" -d '{
  "rows": [{"LotArea": 8450, "Neighborhood": "CollgCr", "OverallQual": 7, "YearBuilt": 2003}]}' |
  cut -c 1-300
ask -H 'Content-Type: text/csv' --data-binary @ames.csv \
  "$url/v1/predict?model=champion&passthrough=Id" | sed -n 1,4p
