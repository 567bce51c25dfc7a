"""The layers of an architecture by name, as a job's metrics and `freeze` call them."""

from __future__ import annotations

from itertools import pairwise

from models.spec.architectures import (
    Architecture,
    LinearArchitecture,
    MlpArchitecture,
    PerceptronArchitecture,
    Periodic,
    RealMlpArchitecture,
    ResNetArchitecture,
    TabmArchitecture,
)

INPUTS, OUTPUTS = "inputs", "outputs"  # sizes that follow from the table

Size = int | str


def affine_layers(architecture: Architecture) -> dict[str, tuple[Size, Size]]:
    """What each affine map takes and gives, from the inputs on; none if it is solved."""
    match architecture:
        case LinearArchitecture() | PerceptronArchitecture():
            return {"output": (INPUTS, OUTPUTS)}
        case MlpArchitecture() | RealMlpArchitecture() | TabmArchitecture():
            sizes: list[Size] = [INPUTS, *architecture.hidden_sizes]
            found: dict[str, tuple[Size, Size]] = {
                f"hidden.{place}": ends for place, ends in enumerate(pairwise(sizes))
            }
            last = "heads" if isinstance(architecture, TabmArchitecture) else "output"
            found[last] = (sizes[-1], OUTPUTS)
            if isinstance(architecture, MlpArchitecture) and architecture.linear_path:
                found["shortcut"] = (INPUTS, OUTPUTS)
            return found
        case ResNetArchitecture(width=width, block_width=inner):
            blocks = range(architecture.blocks)
            return {
                "first": (INPUTS, width),
                **{f"widen.{place}": (width, inner) for place in blocks},
                **{f"narrow.{place}": (inner, width) for place in blocks},
                "output": (width, OUTPUTS),
            }
        case _:
            return {}


def freezable(architecture: Architecture) -> list[str]:
    """Every part with weights that training moves: the affine maps, and what is between them."""
    found = list(affine_layers(architecture))
    if not found:
        return []
    if isinstance(getattr(architecture, "numeric_embedding", None), Periodic):
        found.append("embedding")
    if getattr(architecture, "normalization", "none") != "none":
        if isinstance(architecture, ResNetArchitecture):
            count = architecture.blocks + 1
        else:
            count = len(getattr(architecture, "hidden_sizes", ()))
        found += [f"norms.{place}" for place in range(count)]
    if isinstance(architecture, RealMlpArchitecture):
        found += [f"activations.{place}" for place in range(len(architecture.hidden_sizes))]
        found.append("input_scale")
    return found


def is_frozen(parameter: str, freeze: list[str]) -> bool:
    """Whether a parameter of a network belongs to a frozen layer."""
    return any(parameter == layer or parameter.startswith(f"{layer}.") for layer in freeze)
