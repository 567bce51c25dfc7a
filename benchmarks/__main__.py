"""`make bench`: runs every benchmark once and prints its table. See benchmarks/README.md."""

from __future__ import annotations

from benchmarks import folds_against_loop

if __name__ == "__main__":
    folds_against_loop.main()
