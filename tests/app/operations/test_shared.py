"""The folder in which several API processes count."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.operations.shared import RESERVED_BYTES, shared_folder


def test_it_is_there_while_the_service_runs_with_room_on_the_disk(tmp_path: Path) -> None:
    with shared_folder(tmp_path, 2) as folder:
        files = {path.name: path.stat() for path in folder.iterdir()}
        assert set(files) == {f"{kind}_{n}.db" for kind in ("counter", "histogram") for n in (0, 1)}
        for stat in files.values():
            assert stat.st_size == RESERVED_BYTES
            assert stat.st_blocks * 512 >= RESERVED_BYTES, "a hole has no room yet"
    assert [*tmp_path.iterdir()] == []


def test_what_a_killed_service_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    left = tmp_path / "metrics_of_a_killed_service"
    left.mkdir()
    (left / "counter_0.db").touch()
    with shared_folder(tmp_path, 1) as own, shared_folder(tmp_path, 1) as neighbour:
        assert {*tmp_path.iterdir()} == {own, neighbour}


def test_a_service_does_not_start_without_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"), shared_folder(tmp_path, 1):
        pass
    assert [*tmp_path.iterdir()] == []
