"""What the API's process is made of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "sklearn", "onnx", "scipy", "workers")
MOST_MEMORY = 256  # MiB

PROGRAM = """
import json, pathlib, sys
from app.main import create_app
from app.settings import Settings
create_app(Settings(data_dir=sys.argv[1])).openapi()
status = pathlib.Path("/proc/self/status").read_text()
peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
print(json.dumps([sorted(sys.modules), int(peak)]))
"""


def test_the_api_starts_without_torch_and_stays_small(tmp_path: Path) -> None:
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, check=True, text=True
    ).stdout
    modules, kibibytes = json.loads(output)

    assert [name for name in HEAVY if name in modules] == []
    assert kibibytes / 1024 < MOST_MEMORY
