"""Rows of requests that wait at the same time go through a model's graph together, so that its
weights are read once for all of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.objectives.base import Outputs
from models.serving.encoding import EncodedRows
from models.serving.predictor import Predictor


@dataclass(frozen=True)
class _Waiting:
    rows: EncodedRows
    outputs: asyncio.Future[Outputs]


class Together:
    """For models whose graph takes longer than a switch between threads. Only for the event loop.

    Nothing waits for company: what arrives while the graph runs is its next batch. A request that
    is alone is run at once on the loop.
    """

    def __init__(self) -> None:
        self._running = ThreadPoolExecutor(1, thread_name_prefix="together")
        self._waiting: defaultdict[Predictor, list[_Waiting]] = defaultdict(list)
        self._busy: set[Predictor] = set()

    async def run(self, predictor: Predictor, rows: EncodedRows) -> Outputs:
        """The outputs for some rows."""
        loop = asyncio.get_running_loop()
        outputs: asyncio.Future[Outputs] = loop.create_future()
        self._waiting[predictor].append(_Waiting(rows, outputs))
        if predictor not in self._busy:
            self._busy.add(predictor)
            # After the requests that have arrived at the same time.
            loop.call_soon(self._next, predictor)
        return await outputs

    def close(self) -> None:
        self._running.shutdown()

    def _next(self, predictor: Predictor) -> None:
        """Run what waits for a model."""
        waiting = self._waiting.pop(predictor, None)
        if waiting is None:
            self._busy.remove(predictor)
            return
        loop = asyncio.get_running_loop()
        if len(waiting) == 1:
            done: asyncio.Future[Outputs] = loop.create_future()
            try:
                done.set_result(predictor.run(waiting[0].rows.numbers, waiting[0].rows.codes))
            except Exception as error:
                done.set_exception(error)
        else:
            numbers = np.concatenate([one.rows.numbers for one in waiting])
            codes = np.concatenate([one.rows.codes for one in waiting])
            done = loop.run_in_executor(self._running, predictor.run, numbers, codes)
        done.add_done_callback(partial(self._deal_out, predictor, waiting))

    def _deal_out(
        self, predictor: Predictor, waiting: list[_Waiting], done: asyncio.Future[Outputs]
    ) -> None:
        """Give each request the outputs of its rows, unless its client has gone."""
        start = 0
        for one in waiting:
            stop = start + len(one.rows.numbers)
            if one.outputs.cancelled():
                pass
            elif (error := done.exception()) is not None:
                one.outputs.set_exception(error)
            else:
                one.outputs.set_result(done.result().rows(slice(start, stop)))
            start = stop
        self._next(predictor)
