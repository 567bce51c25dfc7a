"""A sweep: many training specs on one table with the same folds, and how they are drawn."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from models.spec.base import SpecModel

MOST_TRIALS = 1_000
DEFAULT_TRIALS = 32
MOST_PARAMETERS = 50
MOST_CHOICES = 1_000
# Of one choice, which is at most a whole architecture.
DEEPEST_CHOICE = 8
LARGEST_CHOICE = 1_000  # values inside

Sampler = Literal["random", "tpe", "grid"]
Number = Annotated[int, Field(ge=-(2**63), lt=2**63)] | Annotated[float, Field(ge=-1e300, le=1e300)]
ArchitectureType = Annotated[str, Field(min_length=1, max_length=64)]


class _Parameter(SpecModel):
    architectures: list[ArchitectureType] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="Applies only to trials whose architecture has one of these types. Default: "
        "to all that have the field.",
    )


class Range(_Parameter):
    """A number between two others, which are both included."""

    low: Number
    high: Number
    log: bool = Field(default=False, description="Drawn by its logarithm.")
    step: Number | None = Field(
        default=None, description="Only low, low + step, … are drawn. It must divide the range."
    )
    integer: bool | None = Field(
        default=None, description="Whole numbers only. Default: if the field takes no others."
    )


class Choices(_Parameter):
    """One of a list of values: of a number, a word, or a whole object."""

    choices: list[Any] = Field(min_length=1, max_length=MOST_CHOICES)

    @model_validator(mode="after")
    def _bounded(self) -> Choices:
        for place, choice in enumerate(self.choices):
            if not is_small(choice):
                raise ValueError(
                    f"choice {place} is nested too deeply or too long: a choice has at most "
                    f"{DEEPEST_CHOICE} levels and {LARGEST_CHOICE} values"
                )
        return self


def is_small(value: Any) -> bool:
    """Whether a JSON value has few enough levels and values inside. Does not recurse, so that no
    depth breaks it."""
    layer, seen = [value], 1
    for _ in range(DEEPEST_CHOICE):
        inner: list[Any] = []
        for one in layer:
            inside = one.values() if isinstance(one, dict) else one
            inner.extend(inside if isinstance(one, dict | list | tuple) else ())
            if seen + len(inner) > LARGEST_CHOICE:
                return False
        if not inner:
            return True
        layer, seen = inner, seen + len(inner)
    return False


# A parameter of Weights & Biases by its distribution: what it sets here besides the bounds.
_FOREIGN: dict[str, dict[str, Any]] = {
    "uniform": {},
    "q_uniform": {},
    "int_uniform": {"integer": True},
    "log_uniform_values": {"log": True},
}


def from_wandb(given: Any) -> Any:
    """A parameter as Weights & Biases writes it, in our form; all else as it is."""
    if not isinstance(given, dict):
        return given
    kept = dict(given)
    distribution = kept.pop("distribution", None)
    if distribution not in (None, "constant", "categorical"):
        if not isinstance(distribution, str) or distribution not in _FOREIGN:
            raise ValueError(
                "the distribution must be one of "
                + ", ".join(f"'{name}'" for name in ("constant", "categorical", *_FOREIGN))
                + ", with the smallest and the largest value in 'min' and 'max'"
            )
        kept = {**_FOREIGN[distribution], **kept}
    if "value" in kept:
        kept["values"] = [kept.pop("value")]
    for theirs, ours in {"min": "low", "max": "high", "q": "step", "values": "choices"}.items():
        if theirs in kept:
            if ours in kept:
                raise ValueError(f"'{theirs}' and '{ours}' are the same: give one of them")
            kept[ours] = kept.pop(theirs)
    return kept


Parameter = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")],
    Discriminator(
        lambda given: (
            "choices"
            if isinstance(given, Choices) or (isinstance(given, dict) and "choices" in given)
            else "range"
        )
    ),
    BeforeValidator(from_wandb),
]
SearchSpace = dict[
    Annotated[str, Field(min_length=1, max_length=128)],
    Annotated[
        Annotated[Parameter, Tag("parameter")]
        | Annotated[list[Parameter], Field(min_length=1, max_length=16), Tag("list")],
        Discriminator(lambda given: "list" if isinstance(given, list) else "parameter"),
    ],
]


class Halving(SpecModel):
    """Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943): trials that do badly on
    the watched rows stop early."""

    factor: int = Field(default=3, ge=2, le=10, description="One of so many trials goes on.")
    min_epochs: int = Field(
        default=10, ge=1, le=10_000, description="Epochs before the first are stopped."
    )


class SweepSpec(SpecModel):
    """What a sweep tries, and which of its trials it keeps."""

    spec: dict[str, Any] = Field(
        default_factory=dict,
        description="What all trials have in common: a training spec without its target.",
    )
    search_space: SearchSpace | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_PARAMETERS,
        description="Fields of the spec, by dotted name: `{low, high, log?, step?, integer?}` or "
        "`{choices: […]}`, or a list of such for different `architectures`. A field of an "
        "architecture applies only to trials whose architecture has it. Default: a space for the "
        "spec's architecture, or for those that suit the task. Parameters as Weights & Biases "
        "writes them (`values`, `value`, `min` and `max`, `distribution`) are understood.",
    )
    sampler: Sampler = Field(
        default="tpe",
        description="`tpe`: learns from finished trials (Bergstra et al. 2011). `random`: points "
        "that cover the space evenly. `grid`: every combination, in random order.",
    )
    n_trials: int | None = Field(
        default=None,
        ge=1,
        le=MOST_TRIALS,
        description=f"Default: {DEFAULT_TRIALS}, or the whole grid. There are never more than "
        "different combinations.",
    )
    halving: Halving | None = None
    metric: str | None = Field(
        default=None,
        max_length=64,
        description="By which trials are compared. Default: the task's first.",
    )
    timeout_s: float | None = Field(
        default=None, gt=0, le=1e9, description="No trial starts later. What is done counts."
    )
    device_seconds: float | None = Field(
        default=None, gt=0, le=1e9, description="No trial starts once this much time was spent."
    )
    keep: Literal["best", "blend"] = Field(
        default="best", description="The model is the best trial, or a blend of several."
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Of the sampler.")
