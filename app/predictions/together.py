"""Rows of requests that wait at the same time go through a model's graph together, so that its
weights are read once for all of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from models.machine import usable_cores
from models.objectives.base import Outputs
from models.serving.encoding import EncodedRows
from models.serving.predictor import CHUNK_ROWS, Predictor


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
        self._threads = ThreadPoolExecutor(usable_cores(), thread_name_prefix="together")
        self._waiting: defaultdict[Predictor, deque[_Waiting]] = defaultdict(deque)
        self._running: dict[Predictor, asyncio.Task[None]] = {}

    async def run(self, predictor: Predictor, rows: EncodedRows) -> Outputs:
        """The outputs for some rows; raises what the graph does."""
        loop = asyncio.get_running_loop()
        outputs: asyncio.Future[Outputs] = loop.create_future()
        self._waiting[predictor].append(_Waiting(rows, outputs))
        if predictor not in self._running:
            # It begins after the requests that have arrived at the same time.
            self._running[predictor] = loop.create_task(self._run(predictor))
        return await outputs

    def close(self) -> None:
        self._threads.shutdown()

    async def _run(self, predictor: Predictor) -> None:
        """Run what waits for a model, batch by batch."""
        loop = asyncio.get_running_loop()
        while batch := self._next(predictor):
            try:
                if len(batch) == 1:
                    outputs = _outputs(predictor, batch)
                else:
                    outputs = await loop.run_in_executor(self._threads, _outputs, predictor, batch)
                parts = _parts(outputs, batch)
            except Exception as error:
                for one in batch:
                    if not one.outputs.done():
                        one.outputs.set_exception(error)
                continue
            for one, part in zip(batch, parts, strict=True):
                if not one.outputs.done():  # otherwise its client has gone
                    one.outputs.set_result(part)
        del self._running[predictor]

    def _next(self, predictor: Predictor) -> list[_Waiting]:
        """Requests with as many rows as the graph takes at a time."""
        waiting = self._waiting[predictor]
        batch: list[_Waiting] = []
        rows = 0
        while waiting and rows < CHUNK_ROWS:
            rows += len(waiting[0].rows.numbers)
            batch.append(waiting.popleft())
        if not batch:
            del self._waiting[predictor]
        return batch


def _outputs(predictor: Predictor, batch: list[_Waiting]) -> Outputs:
    """Those of all rows of a batch."""
    numbers = np.concatenate([one.rows.numbers for one in batch])
    codes = np.concatenate([one.rows.codes for one in batch])
    return predictor.run(numbers, codes)


def _parts(outputs: Outputs, batch: list[_Waiting]) -> list[Outputs]:
    """Those of each request."""
    stops = np.cumsum([len(one.rows.numbers) for one in batch]).tolist()
    return [
        outputs.rows(slice(start, stop)) for start, stop in zip([0, *stops], stops, strict=False)
    ]
