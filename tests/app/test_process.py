"""What the API's process is made of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MOST_MEMORY = 256  # MiB

PROGRAM = """
import pathlib, sys
from app.main import create_app
from app.settings import Settings
create_app(Settings(data_dir=sys.argv[1])).openapi()
status = pathlib.Path("/proc/self/status").read_text()
peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
print(peak)
"""


def test_the_api_stays_small(tmp_path: Path) -> None:
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, check=True, text=True
    ).stdout

    assert int(output) / 1024 < MOST_MEMORY
