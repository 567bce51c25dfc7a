"""CUDA graphs on a CPU: a graph is the list of torch's own calls, and a replay makes them again.

As on a GPU, a recording does not do the work, tensors are recorded by reference, and everything
else by value. So is a Python number that changes from batch to batch: training goes wrong by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from models.training.recorded import Recorded


class Graph(TorchDispatchMode):
    """Records what is computed while it is entered, and takes it back at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.replays = 0
        self._calls: list[tuple[Any, Any, Any, Any]] = []
        self._storages: dict[int, tuple[Any, Any]] = {}
        self._generators: dict[int, tuple[torch.Generator, Tensor]] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Any = (),
        kwargs: Any = None,
    ) -> Any:
        args, kwargs = tree_map(lambda leaf: leaf, (args, kwargs or {}))  # lists are copied
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                self._storages.setdefault(storage.data_ptr(), (storage, storage.clone()))
            elif isinstance(leaf, torch.Generator):
                self._generators.setdefault(id(leaf), (leaf, leaf.get_state()))
        results = func(*args, **kwargs)
        self._calls.append((func, args, kwargs, results))
        return results

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        for storage, before in self._storages.values():
            storage.copy_(before)
        for generator, state in self._generators.values():
            generator.set_state(state)

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, recorded in self._calls:
            results = func(*args, **kwargs)
            for place, result in zip(tree_leaves(recorded), tree_leaves(results), strict=True):
                if isinstance(place, Tensor) and place.data_ptr() != result.data_ptr():
                    place.copy_(result)


class Stream:
    def __init__(self, device: torch.device) -> None:
        pass

    def wait_stream(self, other: Stream) -> None:
        pass


class FakeCuda:
    """What `Recorded` takes of torch.cuda.

    graphs : all that were recorded
    refuses : recordings fail
    """

    def __init__(self) -> None:
        self.graphs: list[Graph] = []
        self.refuses = False

    @contextmanager
    def graph(self, graph: Graph, pool: object, stream: Stream) -> Iterator[None]:  # noqa: ARG002
        if self.refuses:
            raise RuntimeError("operation not permitted when stream is capturing")
        with graph:
            yield
        self.graphs.append(graph)


def install(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """Training on the CPU records its steps from now on, as on a GPU."""
    fake = FakeCuda()
    monkeypatch.setattr("torch.cuda.Stream", Stream)
    monkeypatch.setattr("torch.cuda.current_stream", Stream)
    monkeypatch.setattr("torch.cuda.stream", lambda _: nullcontext())
    monkeypatch.setattr("torch.cuda.graph_pool_handle", object)
    monkeypatch.setattr("torch.cuda.CUDAGraph", Graph)
    monkeypatch.setattr("torch.cuda.graph", fake.graph)
    cuda = torch.device("cuda")
    monkeypatch.setattr("models.training.step.Recorded", lambda _: Recorded(cuda))
    monkeypatch.setattr(Recorded, "failed", False)
    return fake
