"""Which package may import which, and that the API starts without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
IMPORT_THE_API = """
import sys
import app.main, app.cli.server, app.cli.jobs, app.cli.display, app.cli.doctor
from app.accounts.persons import Persons
from app.settings import Settings
Persons(Settings())
heavy = {"torch", "onnx", "onnxscript", "sklearn", "scipy", "workers"} & set(sys.modules)
heavy |= {"authlib", "joserfc"} & set(sys.modules)  # without an identity provider
print(*heavy)
"""


def test_the_import_contracts_hold() -> None:
    linter = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert linter.returncode == 0, linter.stdout


def test_the_api_and_the_command_line_start_without_torch() -> None:
    """In a process of its own: other tests of this one import torch."""
    answer = subprocess.run(
        [sys.executable, "-c", IMPORT_THE_API], capture_output=True, text=True, timeout=120
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split() == []
