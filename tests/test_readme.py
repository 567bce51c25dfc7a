"""The README's commands, as they stand but for the port."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_serve import serving

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

ROOT = Path(__file__).parent.parent
PRINTED = "http://127.0.0.1:8000"


def block(heading: str, language: str) -> str:
    """The first code block below a heading of the README."""
    text = (ROOT / "README.md").read_text().split(f"## {heading}\n", 1)[1]
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_commands_work_as_printed(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as (_, url):
        shell = block("The same with curl", "sh").replace(PRINTED, url)
        # Whatever an answer above 399 is must fail here, while a reader wants to see its body.
        checked = shell.replace("curl ", "curl --fail-with-body ")
        flow = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", checked],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert flow.returncode == 0, flow.stdout[-2000:] + flow.stderr[-2000:]
        assert '"status":"succeeded"' in flow.stdout
        submission = flow.stdout[flow.stdout.rindex("Id,SalePrice") :].split()
        assert len(submission) == 1 + 2930

        python = block("The same with Python", "python").replace(PRINTED, url)
        script = subprocess.run(
            [sys.executable, "-c", python], cwd=ROOT, capture_output=True, text=True, timeout=240
        )
        assert script.returncode == 0, script.stderr
        assert 0.1 < float(script.stdout.split()[0]) < 0.15
