"""Makes the charts and the page of a finished run."""

from __future__ import annotations

import json
from pathlib import Path

from models import artifacts
from models.objectives.trained import learning_of
from models.report.common import against_baselines, errors_by_rows, importance, learning_curves
from models.report.dependence import dependence
from models.report.page import page
from models.report.run import Run


def write_report(run: Run, folder: Path) -> dict[str, Path]:
    """Write the files, and give their paths by their names in `models.artifacts`."""
    sections = {
        "worth": [*against_baselines(run)],
        "errs": learning_of(run.spec).charts(run.charted),
        "uses": [*importance(run)],
        "depends": [*dependence(run)],
        "learnt": [*learning_curves(run), *errors_by_rows(run)],
    }
    documents = [chart.document() for charts in sections.values() for chart in charts]
    texts = {
        artifacts.CHARTS: json.dumps(documents, ensure_ascii=False, allow_nan=False),
        artifacts.REPORT: page(run, sections),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return {name: folder / name for name in texts}
