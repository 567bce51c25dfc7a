"""The newest whole checkpoint is found, whatever happened to the last one."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.storage.blobs import Blobs
from workers.checkpoints import Checkpoints, remove_checkpoints


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "storage"))


def reopened(blobs: Blobs, workdir: Path) -> Checkpoints:
    """As the next attempt finds them."""
    return Checkpoints(blobs, "shd_1", workdir)


def files(tmp_path: Path) -> list[Path]:
    """Oldest first."""
    found = (tmp_path / "storage/checkpoints/shd_1").iterdir()
    return sorted(found, key=lambda path: path.read_bytes()[32:40])


def test_the_two_newest_are_kept(blobs: Blobs, tmp_path: Path) -> None:
    checkpoints = reopened(blobs, tmp_path)
    assert list(checkpoints.newest_first()) == []
    for data in (b"one", b"two"):
        checkpoints.save(data)
    resumed = reopened(blobs, tmp_path)
    assert list(resumed.newest_first()) == [b"two", b"one"]
    resumed.save(b"three")
    assert list(reopened(blobs, tmp_path).newest_first()) == [b"three", b"two"]
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("damage", ["cut short", "one bit", "empty"])
def test_a_broken_newest_one_is_passed_over(damage: str, blobs: Blobs, tmp_path: Path) -> None:
    checkpoints = reopened(blobs, tmp_path)
    for data in (b"one", b"two", b"three"):
        checkpoints.save(data)
    newest = files(tmp_path)[-1]
    content = bytearray(newest.read_bytes())
    if damage == "one bit":
        content[-1] ^= 1
    newest.write_bytes({"cut short": content[:-1], "one bit": content, "empty": b""}[damage])

    resumed = reopened(blobs, tmp_path)
    assert list(resumed.newest_first()) == [b"two"]
    resumed.save(b"three again")
    assert list(reopened(blobs, tmp_path).newest_first()) == [b"three again", b"two"]


def test_removal(blobs: Blobs, tmp_path: Path) -> None:
    reopened(blobs, tmp_path).save(b"one")
    remove_checkpoints(blobs, "shd_1")
    remove_checkpoints(blobs, "shd_1")
    assert list(reopened(blobs, tmp_path).newest_first()) == []
