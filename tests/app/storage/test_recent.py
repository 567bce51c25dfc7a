"""A value in use is looked up again before it is too old, and not while anyone waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest
from polling import wait_until

from app.storage import recent
from app.storage.recent import Recent


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(recent, "time", clock)
    return clock


@pytest.fixture
def known() -> Recent[str, int]:
    return Recent(fresh=1.0, most=2)


def counting() -> Callable[[], int]:
    """1, 2, 3 …"""
    numbers = iter(range(1, 100))
    return lambda: next(numbers)


def test_it_is_known_while_it_is_fresh(clock: Clock, known: Recent[str, int]) -> None:
    look_up = counting()
    assert known.known("a") is None
    assert known.get("a", look_up) == 1
    clock.now += 0.4
    assert (known.get("a", look_up), known.known("a")) == (1, 1)
    clock.now += 0.6
    assert known.known("a") is None
    assert known.get("a", look_up) == 2


def test_a_value_in_use_never_goes(clock: Clock, known: Recent[str, int]) -> None:
    known.get("a", counting())
    for expected in (2, 3, 4):
        clock.now += 0.5
        assert known.known("a") == expected - 1  # at once
        wait_until(partial(lambda new: known.known("a") == new, expected), 10)


def test_one_look_up_at_a_time(clock: Clock, known: Recent[str, int]) -> None:
    may_go, asked = threading.Event(), []

    def look_up() -> int:
        asked.append(threading.current_thread().name)
        if len(asked) > 1:
            may_go.wait(10)
        return len(asked)

    known.get("a", look_up)
    clock.now += 0.6
    assert [known.known("a") for _ in range(5)] == [1] * 5
    clock.now += 0.5
    assert known.known("a") is None  # a look-up that takes too long does not make it older
    may_go.set()
    clock.now -= 0.5
    wait_until(lambda: known.known("a") == 2, 10)
    assert len(asked) == 2
    assert asked[1].startswith("renewing")


def test_what_a_request_has_looked_up_meanwhile_is_not_looked_up_again(
    clock: Clock, known: Recent[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    later: list[Callable[[], None]] = []
    monkeypatch.setattr(
        recent._renewing, "submit", lambda call, *given: later.append(partial(call, *given))
    )
    look_up = counting()
    known.get("a", look_up)
    clock.now += 0.6
    assert known.known("a") == 1
    clock.now += 0.6
    assert known.get("a", look_up) == 2  # the thread is late
    later[0]()
    assert known.known("a") == 2
    assert len(later) == 1


def test_it_is_as_old_as_its_look_up_began(clock: Clock, known: Recent[str, int]) -> None:
    def slow() -> int:
        clock.now += 1.0
        return 1

    assert known.get("a", slow) == 1
    assert known.known("a") is None


def test_what_cannot_be_looked_up_again_goes(clock: Clock, known: Recent[str, int]) -> None:
    may_fail = False

    def look_up() -> int:
        if may_fail:
            raise LookupError
        return 1

    known.get("a", look_up)
    may_fail = True
    clock.now += 0.6
    assert known.known("a") == 1
    wait_until(lambda: known.known("a") is None, 10)
    with pytest.raises(LookupError):
        known.get("a", look_up)


@pytest.mark.usefixtures("clock")
def test_a_change_during_a_look_up_is_not_overwritten(known: Recent[str, int]) -> None:
    def look_up() -> int:
        known.forget()
        return 1

    assert known.get("a", look_up) == 1
    assert known.known("a") is None


@pytest.mark.usefixtures("clock")
def test_the_least_recently_used_makes_way(known: Recent[str, int]) -> None:
    for key in "abac":
        known.get(key, counting())
    assert [known.known(key) for key in "abc"] == [1, None, 1]
