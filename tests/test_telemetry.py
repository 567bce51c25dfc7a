"""No library reports to its maker what a service of one's own does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import app.cli


@pytest.mark.parametrize("as_foldhouse", [True, False])
def test_onnxruntime_prepares_no_report(
    as_foldhouse: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reports wait in a file under the home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "")
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    monkeypatch.delenv("CI", raising=False)  # onnxruntime reports none from there either
    monkeypatch.setattr(app.cli, "cli", lambda: None)
    if as_foldhouse:
        app.cli.main()
    subprocess.run([sys.executable, "-c", "import onnxruntime"], check=True)
    assert any(tmp_path.rglob("*")) is not as_foldhouse
