"""Starts networks from those of an earlier model, fold by fold.

An input's weights go with its name: a column, a level, a bin of a number's code. What a column's
numbers became in the earlier fold, they become again, so that the weights mean the same: fill,
scaling and bins stay. Inputs that the earlier fold did not have start without weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from models.members import Member
from models.networks.keys import Key, embedded_keys
from models.networks.population import Network, take
from models.objectives.learning import Target
from models.planning.layers import OUTPUTS, affine_layers
from models.training.earlier import EarlierNetworks
from models.training.inputs import Inputs

UNKNOWN: Key = (None,)  # an input that taught the earlier fold nothing


@torch.no_grad()
def start_from(network: Network, members: Sequence[Member], inputs: Inputs) -> None:
    """Fill the weights of members whose trial has earlier networks of their fold, in place."""
    if not any(member.trial in inputs.earlier for member in members):
        return
    keys, numeric = inputs.keys, inputs.shape.numeric
    state = dict(network.state_dict())
    axes = network.input_axes()
    embedding = getattr(network, "embedding", None)
    added = (embedding.width - len(keys)) // max(numeric, 1) if embedding is not None else 0
    new = embedded_keys(keys, numeric, added)
    for place, member in enumerate(members):
        own = inputs.earlier.get(member.trial)
        fold = None if own is None else own.place(member.fold)
        if own is None or fold is None:
            continue
        before = own.weights(fold, member.replica)
        known = own.learnt(fold)
        old = embedded_keys(
            [key if key in known else UNKNOWN for key in own.keys], own.numeric, added
        )
        places = {key: number for number, key in enumerate(old)}
        found = [(number, places[key]) for number, key in enumerate(new) if key in places]
        numbers = [pair for pair in found if pair[0] < numeric]
        for name, value in state.items():
            weights = before[name].to(value)
            if name.startswith("embedding."):
                _put(value[place], weights, 0, numbers)
            elif name in axes:
                if name.endswith("weight"):
                    value[place].zero_()
                    weights = weights * network.input_factor(len(old), len(new))
                _put(value[place], weights, axes[name], found)
            else:
                value[place].copy_(weights)
        _rescale(state, place, member, inputs.target, own)


def _put(own: Tensor, earlier: Tensor, axis: int, found: list[tuple[int, int]]) -> None:
    """Fill the entries that both have along an axis, given as pairs of places."""
    new, old = (torch.tensor(places, device=own.device) for places in zip(*found, strict=True))
    own.index_copy_(axis, new, earlier.index_select(axis, old))


def _rescale(
    state: Mapping[str, Tensor], place: int, member: Member, target: Target, own: EarlierNetworks
) -> None:
    """Let the outputs mean the same to the fold's own target."""
    old = own.place(member.fold)
    assert old is not None
    per_fold = {name: len(value) // len(own.folds) for name, value in own.target.items()}
    earlier = {name: value[[old * per_fold[name]]] for name, value in own.target.items()}
    found = take(target, torch.tensor([member.fold])).rescaling(earlier)
    if found is None:
        return
    factor, shift = (value.item() for value in found)
    layers = affine_layers(member.spec.architecture)
    ends = [name for name, (_, gives) in layers.items() if gives == OUTPUTS]
    for name in ends:
        for part in ("weight", "bias"):
            state[f"{name}.{part}"][place] *= factor
    state[f"{ends[0]}.bias"][place] += shift
