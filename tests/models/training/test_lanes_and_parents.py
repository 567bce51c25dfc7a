"""Lanes of a parent process that is killed, and of one that has computed before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from polling import wait_until
from worker_process import alive

pytestmark = pytest.mark.timeout(60)

TESTS = Path(__file__).parents[2]


DESK = """
import os, threading, torch
from models.training.lanes import run_in_lanes

def tell(desk, word):
    desk.checkpoint(0, (0, 1), f"{word}\\n".encode())

class Desk:
    def checkpoint(self, group, chunk, state):
        os.write(1, state)
    def should_stop(self):
        return False
"""

KILLED = """
def wait(desk):
    tell(desk, os.getpid())
    threading.Event().wait()

def compute(desk):
    weights = torch.eye(256)
    for step in range(10**12):
        weights = weights @ weights
        if step == 1:
            tell(desk, os.getpid())

def talk(desk):
    tell(desk, os.getpid())
    while True:
        tell(desk, 0)

def ask(desk):
    tell(desk, os.getpid())
    while not desk.should_stop():
        pass

run_in_lanes([wait, compute, talk, ask], Desk(), 1)
"""

OPENMP = """
torch.set_num_threads(2)
torch.manual_seed(0)
x = torch.rand(512, 512, requires_grad=True)

def compute():
    grown = torch.exp(torch.linspace(0, 1, 1 << 20)).sum()  # a parallel region of OpenMP
    x.grad = None
    (x @ x).square().sum().backward()  # of the matrix library, and autograd's own threads
    return round(float(grown), 1), round(float(x.grad.sum()), 1), torch.get_num_threads()

def work(desk):
    tell(desk, compute())

tell(Desk(), compute())
run_in_lanes([work, work], Desk(), 2)
"""


def program(text: str) -> list[str]:
    return [sys.executable, "-c", DESK + text]


def test_lanes_end_with_a_parent_that_is_killed() -> None:
    """Whatever they do at the time; none holds the pipe of another open."""
    pids: set[int] = set()
    parent = subprocess.Popen(program(KILLED), cwd=TESTS.parent, stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        while len(pids) < 4:
            line = parent.stdout.readline()
            assert line, "the parent ended by itself"
            pids |= {int(line)} - {0}
        assert all(alive(pid) for pid in pids)
        parent.kill()
        wait_until(lambda: not any(alive(pid) for pid in pids), seconds=10)
    finally:
        parent.kill()
        parent.communicate()
        for pid in pids:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def test_lanes_compute_after_the_parent_did() -> None:
    """OpenMP's threads are not forked: a lane that waited for them would wait for ever."""
    finished = subprocess.run(
        program(OPENMP), cwd=TESTS.parent, stdout=subprocess.PIPE, text=True, timeout=50, check=True
    )
    parent, *lanes = finished.stdout.splitlines()
    assert parent.endswith(", 2)")
    assert lanes == [parent, parent]
