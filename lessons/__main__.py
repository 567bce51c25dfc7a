"""Runs lessons: `python -m lessons NAME …` prints a line of JSON for each, its outcome.

`foldhouse lessons run` calls this, because the command line itself knows no torch.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Sequence

import torch

from lessons.lab import Lab


def main(names: Sequence[str]) -> None:
    # Products of a lesson are so small that a second thread waits more than it multiplies; the
    # engine's lanes use the other cores.
    torch.set_num_threads(1)
    for name in names:
        began = time.perf_counter()
        with Lab() as lab:
            outcome = importlib.import_module(f"lessons.{name.replace('-', '_')}.lesson").run(lab)
        line = {
            "name": name,
            "holds": outcome.holds,
            "seconds": round(time.perf_counter() - began, 1),
            **outcome.model_dump(),
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
