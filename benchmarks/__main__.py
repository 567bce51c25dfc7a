"""`make bench` runs every benchmark and prints its tables; `python -m benchmarks NAME` runs one.

What follows the name is the benchmark's own. See benchmarks/README.md.
"""

from __future__ import annotations

import importlib
import sys

NAMES = (
    "folds_against_loop",
    "gpu",
    "scaling",
    "sweeps",
    "estimates",
    "load",
    "tenants",
    "row",
    "serving",
    "floods",
    "watchers",
    "rivals",
    "classes",
    "honesty",
    "coverage",
    "diagnosis",
)


def main(arguments: list[str]) -> None:
    match arguments:
        case []:
            for name in NAMES:
                print(f"\n## {name}\n")
                importlib.import_module(f"benchmarks.{name}").main()
        case [name, *rest] if name in NAMES:
            importlib.import_module(f"benchmarks.{name}").main(rest)
        case _:
            sys.exit(f"usage: python -m benchmarks [{' | '.join(NAMES)}] [ARGUMENT ...]")


if __name__ == "__main__":
    main(sys.argv[1:])
