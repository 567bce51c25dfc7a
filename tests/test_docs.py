"""The commands of the README and of the docs, as they stand but for the port."""

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
    return blocks(text, language)[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def curl_examples() -> list[str]:
    """Of all pages in docs/; the rest of their commands starts or changes an installation."""
    pages = [page.read_text() for page in sorted((ROOT / "docs").glob("*.md"))]
    return [shell for page in pages for shell in blocks(page, "sh") if "curl " in shell]


def written_by(shell: str, url: str) -> str:
    """What the commands write, asked of the service at `url`."""
    # Whatever an answer above 399 is must fail here, while a reader wants to see its body.
    checked = shell.replace(PRINTED, url).replace("curl ", "curl --fail-with-body ")
    flow = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", checked],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert flow.returncode == 0, shell + flow.stdout[-2000:] + flow.stderr[-2000:]
    return flow.stdout


def test_the_commands_work_as_printed(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as (_, url):
        answers = written_by(block("The same with curl", "sh"), url)
        assert '"status":"succeeded"' in answers
        submission = answers[answers.rindex("Id,SalePrice") :].split()
        assert len(submission) == 1 + 2930

        python = block("The same with Python", "python").replace(PRINTED, url)
        script = subprocess.run(
            [sys.executable, "-c", python], cwd=ROOT, capture_output=True, text=True, timeout=240
        )
        assert script.returncode == 0, script.stderr
        assert 0.1 < float(script.stdout.split()[0]) < 0.15

        # After the README's: a sweep that they submit would keep its job waiting.
        examples = curl_examples()
        assert examples
        for example in examples:
            written_by(example, url)
