"""Processes that share the cores: what arrives, what is raised, and that none is left behind."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from polling import wait_until
from worker_process import alive

from models.training.desk import Chunk, Desk
from models.training.lanes import LaneDied, RemoteDesk, Work, run_in_lanes
from models.training.progress import Interrupted

pytestmark = pytest.mark.timeout(60)

# More than a pipe holds: whoever sends it waits for the one who reads.
LARGE = bytes(range(256)) * 8_192
TESTS = Path(__file__).parents[2]


def tell(desk: Desk, word: Any) -> None:
    """Whatever can be pickled, as a chunk's state."""
    desk.checkpoint(0, (0, 1), pickle.dumps(word))


class Notes(Desk):
    """A desk that keeps what it is told; `stop` decides when it asks the lanes to stop."""

    def __init__(self, stop: Callable[[Notes], bool] = lambda _: False) -> None:
        self.told: list[Any] = []
        self._stop = stop

    def checkpoint(self, group: int, chunk: Chunk, state: bytes) -> None:  # noqa: ARG002
        self.told.append(pickle.loads(state))

    def shoot(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    def split(self, group: int, chunk: Chunk, halves: list[Chunk]) -> None:  # noqa: ARG002
        raise ValueError("not at this desk")

    def should_stop(self) -> bool:
        return self._stop(self)


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """No lane outlives the call that started it, and no pipe."""
    before = pipes()
    yield
    left = multiprocessing.active_children()
    for lane in left:
        lane.kill()
        lane.join()
    assert not left
    if pipes() != before:  # one of a lane that never was, in the frame of an exception
        gc.collect()
    assert pipes() == before


def pipes() -> set[str]:
    """This process' open ends of pipes that carry both ways, which are sockets."""
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
    files = {os.readlink(link) for link in links if link.is_symlink()}
    return {file for file in files if file.startswith("socket:")}


# Works.


def telling(*words: Any) -> Work:
    def work(desk: Any) -> None:
        for word in words:
            tell(desk, word)

    return work


def raising(error: BaseException) -> Work:
    def work(_desk: Any) -> None:
        raise error

    return work


def wait_for_ever(desk: Any) -> None:
    tell(desk, os.getpid())
    threading.Event().wait()


def give_way(desk: Any) -> None:
    """Go on until asked to stop."""
    tell(desk, "begun")
    wait_until(desk.should_stop)
    tell(desk, "gave way")
    raise Interrupted


# What arrives.


def test_what_each_work_tells_arrives_in_its_order() -> None:
    notes = Notes()
    works = [telling(*((lane, number) for number in range(50))) for lane in range(3)]
    run_in_lanes(works, notes, threads=1)
    for lane in range(3):
        assert [told[1] for told in notes.told if told[0] == lane] == list(range(50))


def test_what_a_pipe_does_not_hold_at_once_arrives() -> None:
    notes = Notes()
    run_in_lanes([telling(LARGE, LARGE), telling(LARGE)], notes, threads=1)
    assert notes.told == [LARGE] * 3


def test_each_work_has_a_process_of_its_own() -> None:
    notes = Notes()

    def work(desk: Any) -> None:
        tell(desk, os.getpid())

    run_in_lanes([work] * 3, notes, threads=1)
    assert len({os.getpid(), *notes.told}) == 4
    assert not any(alive(pid) for pid in notes.told)


def test_lanes_have_their_own_number_of_threads() -> None:
    notes, own = Notes(), torch.get_num_threads()

    def work(desk: Any) -> None:
        tell(desk, torch.get_num_threads())

    run_in_lanes([work, work], notes, threads=own + 2)
    assert notes.told == [own + 2] * 2
    assert torch.get_num_threads() == own


# What is raised.


class Unportable(Exception):
    """Neither to be pickled, nor to be made from its message alone."""

    def __init__(self, code: int, callback: Callable[[], None]) -> None:
        super().__init__(f"code {code}")
        self.callback = callback


class TwoNumbers(Exception):
    """Pickles, but is made from its message alone when it is read."""

    def __init__(self, code: int, place: int) -> None:
        super().__init__(f"code {code} at {place}")


@pytest.mark.parametrize(
    ("error", "type_", "message"),
    [
        (ValueError("the members' specs must agree"), ValueError, "the members' specs must agree"),
        (RuntimeError("mat1 and mat2 shapes"), RuntimeError, "mat1 and mat2 shapes"),
        (MemoryError("no room"), MemoryError, "no room"),
        (Unportable(7, lambda: None), RuntimeError, "Unportable: code 7"),
        (TwoNumbers(7, 8), RuntimeError, "TwoNumbers: code 7 at 8"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_a_lane_raises_is_raised(
    error: Exception, type_: type[Exception], message: str
) -> None:
    """At once, while another lane goes on; one that does not pickle says at least what it was."""
    notes = Notes()
    with pytest.raises(type_) as caught:
        run_in_lanes([wait_for_ever, raising(error)], notes, threads=1)
    assert type(caught.value) is type_
    assert str(caught.value) == message
    assert not any(alive(pid) for pid in notes.told)


def test_what_the_desk_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="not at this desk"):
        run_in_lanes([wait_for_ever, lambda desk: desk.split(0, (0, 2), [])], Notes(), threads=1)


def test_a_lane_that_is_killed(capfd: pytest.CaptureFixture[str]) -> None:
    """As the kernel does for memory: the others end too, and nobody waits for ever."""
    notes = Notes()

    def fall(_desk: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()

    with pytest.raises(LaneDied, match=f"exit code -{signal.SIGKILL}") as caught:
        run_in_lanes([wait_for_ever, fall, wait_for_ever], notes, threads=1)
    assert caught.value.signal is signal.SIGKILL
    assert not any(alive(pid) for pid in notes.told)
    assert capfd.readouterr().err == ""


def test_a_lane_that_is_killed_in_the_middle_of_a_word() -> None:
    def stutter(desk: RemoteDesk) -> None:
        # The head of a message of 1,000 bytes, as `Connection` writes it, and ten of them.
        os.write(desk._pipe.fileno(), (1_000).to_bytes(4, "big") + bytes(10))
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(LaneDied) as caught:
        run_in_lanes([wait_for_ever, stutter], Notes(), threads=1)
    assert caught.value.signal is signal.SIGKILL


def test_a_lane_that_ends_by_itself() -> None:
    with pytest.raises(LaneDied, match="exit code 3") as caught:
        run_in_lanes([wait_for_ever, lambda _desk: os._exit(3)], Notes(), threads=1)
    assert caught.value.signal is None


def test_a_lane_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ones before it end."""
    fork, forks = os.fork, 0

    def scarce() -> int:
        nonlocal forks
        forks += 1
        if forks == 3:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    monkeypatch.setattr(os, "fork", scarce)
    with pytest.raises(BlockingIOError) as caught:
        run_in_lanes([wait_for_ever] * 3, Notes(), threads=1)
    assert caught.value.errno == errno.EAGAIN
    assert multiprocessing.active_children() == []


# Stopping.


def test_a_request_to_stop_reaches_all_lanes() -> None:
    """Those that still run: one has ended by then."""
    notes = Notes(lambda desk: desk.told.count("begun") == 2 and "ended" in desk.told)
    with pytest.raises(Interrupted):
        run_in_lanes([give_way, telling("ended"), give_way], notes, threads=1)
    assert notes.told.count("gave way") == 2


def test_what_lanes_tell_on_giving_way_arrives() -> None:
    """A checkpoint, before the call ends."""

    def save(desk: Any) -> None:
        wait_until(desk.should_stop)
        tell(desk, LARGE)
        raise Interrupted

    notes = Notes(lambda _: True)
    with pytest.raises(Interrupted):
        run_in_lanes([save, save], notes, threads=1)
    assert notes.told == [LARGE] * 2


def test_works_that_end_before_they_give_way_are_not_interrupted() -> None:
    def heed_and_end(desk: Any) -> None:
        wait_until(desk.should_stop)
        tell(desk, "ended")

    notes = Notes(lambda _: True)
    run_in_lanes([heed_and_end, heed_and_end], notes, threads=1)
    assert notes.told == ["ended"] * 2


def test_one_work_that_gives_way_is_an_interruption() -> None:
    """The others are let end."""

    def heed_and_end(desk: Any) -> None:
        wait_until(desk.should_stop)
        tell(desk, "ended")

    notes = Notes(lambda desk: "begun" in desk.told)
    with pytest.raises(Interrupted):
        run_in_lanes([heed_and_end, give_way], notes, threads=1)
    assert sorted(notes.told) == ["begun", "ended", "gave way"]


def test_trouble_outweighs_an_interruption() -> None:
    def fail(desk: Any) -> None:
        wait_until(desk.should_stop)
        raise ValueError("too late")

    with pytest.raises(ValueError, match="too late"):
        run_in_lanes([give_way, fail], Notes(lambda desk: "begun" in desk.told), threads=1)


def test_a_lane_that_is_killed_just_before_it_is_asked_to_stop() -> None:
    def kill_first(desk: Notes) -> bool:
        if len(desk.told) < 2:
            return False
        desk.shoot(desk.told[0])
        wait_until(lambda: not alive(desk.told[0]))
        return True

    with pytest.raises(LaneDied) as caught:
        run_in_lanes([wait_for_ever] * 2, Notes(kill_first), threads=1)
    assert caught.value.signal is signal.SIGKILL


# Programs of their own: a parent that is killed, and one with OpenMP threads.
