"""Work that a GPU records once and replays: a CUDA graph.

A step of a small network is dozens of kernels of a few microseconds, and Python takes longer to
launch them than they run. A graph launches them all at once.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import ClassVar

import torch

logger = logging.getLogger(__name__)

# Runs on a side stream before a recording, as in torch.cuda.make_graphed_callables: libraries and
# kernels are loaded, and buffers made, which a recording must not do.
WARM_UPS = 3


class Recorded:
    """Pieces of work, each known by a key. A piece must do the same with the same tensors at each
    run: what Python decides or counts in it is recorded too. Random numbers differ from run to run,
    because a replay moves the generators on.

    Only a CUDA device records. Elsewhere, and once a recording has failed in this process, each run
    is the work.
    """

    failed: ClassVar[bool] = False

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._records = device.type == "cuda"
        self._runs: dict[Hashable, int] = defaultdict(int)
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}
        if self._records:
            self._side = torch.cuda.Stream(device)
            # One for all graphs, which run one after another and keep nothing in it between runs.
            self._pool = torch.cuda.graph_pool_handle()

    @property
    def recordings(self) -> int:
        return len(self._graphs)

    def run(self, key: Hashable, work: Callable[[], None]) -> None:
        """Run the work with this key, recorded or not."""
        if not self._records or Recorded.failed:
            work()
        elif key in self._graphs:
            self._graphs[key].replay()
        elif self._runs[key] < WARM_UPS:
            self._runs[key] += 1
            self._warm_up(work)
        else:
            self._record(key, work)
            self.run(key, work)

    def _warm_up(self, work: Callable[[], None]) -> None:
        usual = torch.cuda.current_stream(self._device)
        self._side.wait_stream(usual)
        with torch.cuda.stream(self._side):
            work()
        usual.wait_stream(self._side)

    def _record(self, key: Hashable, work: Callable[[], None]) -> None:
        """Record the work without doing it. Waits for the device."""
        graph = torch.cuda.CUDAGraph()
        try:
            # The outer one restores the stream if the end of the capture raises.
            with (
                torch.cuda.stream(self._side),
                torch.cuda.graph(graph, self._pool, self._side),
            ):
                work()
        except RuntimeError as error:
            Recorded.failed = True
            logger.warning("training without CUDA graphs, which takes longer: %s", error)
        else:
            self._graphs[key] = graph
