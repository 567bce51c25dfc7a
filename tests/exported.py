"""Runs the script of an exported model as elsewhere: without this project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Fails where more is imported than the export promises to need.
ALONE = """
import os, runpy, sys
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
unwanted = {"app", "models", "onnx", "pandas", "pyarrow", "pydantic", "torch"} & set(sys.modules)
assert not unwanted, unwanted
"""


def run(script: Path, *arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run predict.py of an exported folder."""
    command = [sys.executable, "-c", ALONE, script, *arguments]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60)
