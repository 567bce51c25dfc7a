"""How many jobs at a time, and on what."""

from __future__ import annotations

import pytest

from app.settings import Settings
from workers.slots import Slots


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("workers.slots.usable_cores", lambda: 8)


def test_on_a_cpu_slots_share_the_cores() -> None:
    slots = Slots(Settings(device="cpu", slots=3))
    assert (slots.device, slots.count) == ("cpu", 3)
    environment = slots.child_environment()
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["KMP_BLOCKTIME"] == "0"
    with slots.taken() as gpu:
        assert gpu is None
        assert slots.free() == 2
    assert slots.free() == 3


def test_one_slot_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    slots = Slots(Settings())
    assert (slots.device, slots.count) == ("cuda", 2)
    with slots.taken() as first, slots.taken() as second:
        assert {first, second} == {0, 1}  # places among the visible ones
        assert slots.free() == 0


def test_more_slots_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    slots = Slots(Settings(slots=2))
    with slots.taken() as first, slots.taken() as second:
        assert (first, second) == (0, 0)


@pytest.mark.parametrize("visible", ["", "-1"])
def test_a_hidden_gpu_is_none(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert Slots(Settings()).device == "cpu"


def test_what_the_operator_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert Slots(Settings(device="cpu")).child_environment()["OMP_NUM_THREADS"] == "5"
