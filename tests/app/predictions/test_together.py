"""Rows that wait at the same time are run together, and each request gets its own."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError
from typing import cast

import numpy as np
import pytest

from app.predictions.together import Together
from models.objectives.base import Outputs
from models.serving.encoding import EncodedRows
from models.serving.predictor import CHUNK_ROWS, Predictor


class Graph:
    """Answers each row with its own number, times ten."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.error: Exception | None = None

    def run(self, numbers: np.ndarray, codes: np.ndarray) -> Outputs:
        self.sizes.append(len(numbers))
        if self.error is not None:
            raise self.error
        values = 10 * numbers[:, 0]
        return Outputs(values, np.stack([values, -values]), numbers, codes, values + 1)


def rows(*numbers: float) -> EncodedRows:
    return EncodedRows(
        np.array(numbers, np.float64)[:, None], np.zeros((len(numbers), 1), np.int64), []
    )


def asked(graph: Graph, *requests: EncodedRows, together: Together) -> list[Outputs]:
    async def ask() -> list[Outputs]:
        predictor = cast(Predictor, graph)
        return await asyncio.gather(*(together.run(predictor, one) for one in requests))

    return asyncio.run(ask())


@pytest.fixture
def together() -> Together:
    return Together()


def test_each_request_gets_its_own_rows(together: Together) -> None:
    graph = Graph()
    found = asked(graph, rows(1), rows(2, 3), rows(4), together=together)
    assert graph.sizes == [4]
    assert [one.values.tolist() for one in found] == [[10], [20, 30], [40]]
    assert found[1].members.tolist() == [[20, 30], [-20, -30]]
    assert found[1].spread is not None
    assert found[1].spread.tolist() == [21, 31]
    assert found[1].numbers.tolist() == [[2], [3]]


def test_one_alone_is_run_alone(together: Together) -> None:
    graph = Graph()
    for _ in range(2):
        assert asked(graph, rows(7), together=together)[0].values.tolist() == [70]
    assert graph.sizes == [1, 1]


def test_what_arrives_meanwhile_is_the_next_batch(together: Together) -> None:
    graph = Graph()
    predictor = cast(Predictor, graph)

    async def ask() -> list[list[float]]:
        first = [asyncio.ensure_future(together.run(predictor, rows(n))) for n in (1, 2)]
        await asyncio.sleep(0)  # they have asked
        await asyncio.sleep(0)  # and are run
        later = [asyncio.ensure_future(together.run(predictor, rows(n))) for n in (3, 4, 5)]
        return [(await one).values.tolist() for one in (*first, *later)]

    assert asyncio.run(ask()) == [[10], [20], [30], [40], [50]]
    assert graph.sizes == [2, 3]


def test_models_do_not_mix(together: Together) -> None:
    one, another = Graph(), Graph()

    async def ask() -> list[Outputs]:
        graphs = cast(list[Predictor], [one, another, one])
        return await asyncio.gather(
            *(together.run(graph, rows(n)) for n, graph in enumerate(graphs, 1))
        )

    assert [found.values.tolist() for found in asyncio.run(ask())] == [[10], [20], [30]]
    assert (one.sizes, another.sizes) == ([2], [1])


def test_rows_that_cannot_be_put_together_hang_nobody(together: Together) -> None:
    graph = Graph()
    predictor = cast(Predictor, graph)
    wider = EncodedRows(np.zeros((1, 2)), np.zeros((1, 1), np.int64), [])

    async def ask() -> list[object]:
        runs = (together.run(predictor, one) for one in (rows(1), wider))
        found: list[object] = await asyncio.gather(*runs, return_exceptions=True)
        return [*found, (await together.run(predictor, rows(8))).values.tolist()]

    *failed, after = asyncio.run(ask())
    assert [type(one) for one in failed] == [ValueError, ValueError]
    assert after == [80]


def test_a_batch_has_as_many_rows_as_the_graph_takes(together: Together) -> None:
    graph = Graph()
    requests = [rows(1, 2, 3, 4)] * (CHUNK_ROWS // 4 + 1)
    found = asked(graph, *requests, together=together)
    assert graph.sizes == [CHUNK_ROWS, 4]
    assert {tuple(one.values.tolist()) for one in found} == {(10, 20, 30, 40)}


@pytest.mark.parametrize("count", [1, 3])
def test_a_failure_is_told_to_all_and_the_next_are_run(together: Together, count: int) -> None:
    graph = Graph()
    error = graph.error = ValueError("no memory")
    predictor = cast(Predictor, graph)

    async def ask() -> list[object]:
        runs = (together.run(predictor, rows(n)) for n in range(count))
        found: list[object] = await asyncio.gather(*runs, return_exceptions=True)
        graph.error = None
        return [*found, (await together.run(predictor, rows(8))).values.tolist()]

    *failed, after = asyncio.run(ask())
    assert failed == [error] * count
    assert after == [80]


def test_a_client_that_goes_takes_nobody_along(together: Together) -> None:
    graph = Graph()
    predictor = cast(Predictor, graph)

    async def ask() -> list[float]:
        gone = asyncio.ensure_future(together.run(predictor, rows(1)))
        stays = asyncio.ensure_future(together.run(predictor, rows(2)))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises((CancelledError, asyncio.CancelledError)):
            await gone
        return (await stays).values.tolist()

    assert asyncio.run(ask()) == [20]
