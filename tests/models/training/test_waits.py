"""Inside an epoch nothing waits for the device.

Counted on a CPU: whatever would make the host wait for a GPU to get there. That is a look at a
tensor's values, an operation whose result has a size that depends on them, and a copy from memory
of the host that is not pinned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from houses import house_frame, lay, trainer_of
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten

# Python's looks at values, and its copies from the host and to it. A copy on the same device is no
# operation of its own, so these do not show below.
LOOKS = {f"torch.Tensor.{name}" for name in ("cpu", "numpy", "tolist", "__array__", "to")}
COPIES = {"torch.tensor", "torch.as_tensor", "torch.from_numpy", "torch.Tensor.new_tensor"}
SIZED_BY_VALUES = {
    aten._local_scalar_dense,
    aten.equal,
    aten.is_nonzero,
    aten.masked_select,
    aten.nonzero,
    aten._unique2,
    aten.unique_consecutive,
    aten.unique_dim,
    aten.bincount,
    aten.repeat_interleave,
}
INDEXED = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


class _Python(TorchFunctionMode):
    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = resolve_name(func) or ""
        is_cast = name == "torch.Tensor.to" and isinstance(args[1], torch.dtype)
        if name in LOOKS | COPIES and not is_cast:
            self._seen.append(name)
        return func(*args, **(kwargs or {}))


class _Torch(TorchDispatchMode):
    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func.overloadpacket
        masks = [leaf for leaf in tree_leaves(args[1:2]) if isinstance(leaf, Tensor)]
        if packet in SIZED_BY_VALUES or (
            packet in INDEXED and any(mask.dtype is torch.bool for mask in masks)
        ):
            self._seen.append(str(packet))
        return func(*args, **(kwargs or {}))


@contextmanager
def waits() -> Iterator[list[str]]:
    """What would wait for a GPU meanwhile."""
    seen: list[str] = []
    with _Python(seen), _Torch(seen):
        yield seen


VALUES = torch.tensor([1.0, 0.0])
WAITING: dict[str, Callable[[], Any]] = {
    "item": lambda: VALUES.sum().item(),
    "bool": lambda: bool(VALUES.any()),
    "if": lambda: 1 if VALUES[0] > 0 else 2,
    "float": lambda: float(VALUES[0]),
    "int": lambda: int(VALUES[0]),
    "tolist": VALUES.tolist,
    "cpu": VALUES.cpu,
    "numpy": VALUES.numpy,
    "to": lambda: VALUES.to("cpu"),
    "nonzero": VALUES.nonzero,
    "mask": lambda: VALUES[VALUES > 0],
    "mask written": lambda: VALUES.clone().__setitem__(VALUES > 0, VALUES[:1]),
    "unique": VALUES.unique,
    "repeated": lambda: torch.repeat_interleave(torch.ones(2).long()),
    "from a list": lambda: torch.tensor([1.0]),
}


@pytest.mark.parametrize("name", WAITING)
def test_what_waits_is_seen(name: str) -> None:
    with waits() as seen:
        WAITING[name]()
    assert seen


def test_what_does_not_wait_is_not() -> None:
    places = torch.zeros(2, dtype=torch.int64)
    with waits() as seen:
        (VALUES + 1).to(torch.float64).index_select(0, places)[places].where(VALUES > 0, 0.0)
    assert not seen


MLP = {"type": "mlp", "hidden_sizes": [6]}
CLASSES = {"target": "quarter"}
SPECS: dict[str, dict[str, Any]] = {
    "mlp": {"architecture": MLP, "dropout": 0.2, "weight_decay": 0.1},
    "clip": {"architecture": MLP, "optimizer": {"gradient_clip": 0.1, "schedule": "cosine"}},
    "sgd": {"architecture": MLP, "optimizer": {"name": "sgd"}, "loss": "huber"},
    "batch norm": {"architecture": MLP | {"normalization": "batch"}, "precision": "bfloat16"},
    "replicas": {"architecture": MLP, "members_per_fold": 2},
    "linear": {"architecture": {"type": "linear"}},
    "resnet": {"architecture": {"type": "resnet", "blocks": 1, "width": 4}},
    "realmlp": {"architecture": {"type": "realmlp", "hidden_sizes": [6]}},
    "tabm": {"architecture": {"type": "tabm", "hidden_sizes": [6]}},
    "classes": CLASSES | {"architecture": MLP, "class_weights": "balanced"},
    "hinge": CLASSES | {"architecture": MLP, "loss": "hinge"},
    "perceptron": CLASSES | {"architecture": {"type": "perceptron"}},
}


@pytest.mark.parametrize("encoded", [0, 2**30], ids=["encoded by block", "encoded once"])
@pytest.mark.parametrize("name", SPECS)
def test_nothing_waits_for_the_device_inside_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, encoded: int
) -> None:
    monkeypatch.setattr("models.training.engine.BLOCK_ROWS", 16)
    monkeypatch.setattr("models.training.inputs.ENCODED_BYTES", encoded)
    case = lay(tmp_path, house_frame(61), batch_size=8, max_epochs=3, k_folds=3, **SPECS[name])
    trainer = trainer_of(case)
    trainer._looks = False
    while not trainer.finished:
        order = trainer._epoch_order()
        with waits() as seen:
            for block in range(trainer._blocks(order)):
                trainer._train_block(order, block)
        assert not seen
        with waits() as seen:
            trainer._end_epoch()
        assert seen


def test_rates_and_steps_are_copied_from_pinned_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step, and without waiting: a copy of the host's numbers, which change meanwhile."""
    case = lay(tmp_path, house_frame(61), k_folds=3, architecture=MLP)
    optimizer = trainer_of(case)._step.optimizer
    pinned: list[Tensor] = []

    def pin_memory(own: Tensor) -> Tensor:
        pinned.append(own.clone())
        return pinned[-1]

    monkeypatch.setattr(Tensor, "pin_memory", pin_memory)
    optimizer._rates, optimizer._counts = optimizer._rates.clone(), optimizer._counts.clone()
    copied: list[tuple[Tensor, bool]] = []

    class Copies(TorchFunctionMode):
        def __torch_function__(
            self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func is Tensor.copy_:
                copied.append((args[1], (kwargs or {}).get("non_blocking", False)))
            return func(*args, **(kwargs or {}))

    with Copies():
        optimizer.prepare([0.1, 0.2, 0.3])
    assert [source.data_ptr() for source, _ in copied] == [own.data_ptr() for own in pinned]
    assert [non_blocking for _, non_blocking in copied] == [True, True]
    assert optimizer._rates[0].tolist() == [0.1, 0.2, 0.3]
