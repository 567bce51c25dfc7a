"""The architectures of a spec; `models.networks` has their networks."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from models.spec.base import SpecModel

Activation = Literal[
    "relu",
    "leaky_relu",
    "gelu",
    "silu",
    "mish",
    "selu",
    "tanh",
    "sigmoid",
    "scaled_sigmoid",
    "identity",
]
InitializationRule = Literal[
    "xavier_uniform",
    "xavier_normal",
    "kaiming_uniform",
    "kaiming_normal",
    "lecun_normal",
    "uniform",
    "normal",
    "constant",
    "default",
]


class NormalWeights(SpecModel):
    """Weights from N(0, std²)."""

    type: Literal["normal"]
    std: float = Field(gt=0, le=1e6)


class UniformWeights(SpecModel):
    """Weights from U(−bound, bound)."""

    type: Literal["uniform"]
    bound: float = Field(gt=0, le=1e6)


class ConstantWeights(SpecModel):
    """All weights equal: hidden units that start equal stay equal."""

    type: Literal["constant"]
    value: float = Field(ge=-1e6, le=1e6)


# A rule by its name (`normal` has std 0.01, `uniform` bound 0.1, `constant` value 0), or with
# your own number.
_OwnWeights = Annotated[
    Annotated[NormalWeights | UniformWeights | ConstantWeights, Field(discriminator="type")],
    Tag("weights"),
]
_by_form = Discriminator(lambda given: "weights" if isinstance(given, dict | SpecModel) else "rule")
Initialization = Annotated[Annotated[InitializationRule, Tag("rule")] | _OwnWeights, _by_form]
LinearInitialization = Annotated[
    Annotated[InitializationRule | Literal["least_squares"], Tag("rule")] | _OwnWeights, _by_form
]


class ArchitectureModel(SpecModel):
    """The settings of an architecture.

    is_fitted : whether a fold is solved (`models.networks.fitted`) instead of trained in epochs
    levels : how inputs tell a categorical column's level: one input a level, or the level's place
        among the column's levels by frequency
    takes_extras : whether comparables and group means are inputs
    """

    is_fitted: ClassVar[bool] = False
    takes_extras: ClassVar[bool] = True
    levels: ClassVar[Literal["one_hot", "codes"]] = "one_hot"


class LinearArchitecture(ArchitectureModel):
    """Linear or logistic regression: inputs to outputs, no hidden layer."""

    type: Literal["linear"]
    initialization: LinearInitialization = Field(
        default="least_squares",
        description="`least_squares` starts from the ridge regression on the fold's training rows; "
        "for classes from logistic regression.",
    )


class PerceptronArchitecture(ArchitectureModel):
    """The perceptron of Rosenblatt 1958 (doi 10.1037/h0042519): one layer that starts at zero,
    moves only when it is wrong, and stops after an epoch without a mistake. Default settings: the
    loss `perceptron`, plain SGD with a rate of 1, batches of 1."""

    type: Literal["perceptron"]
    initialization: Initialization = "constant"


class PiecewiseLinear(SpecModel):
    """Each number and its piecewise-linear code over quantile bins (Gorishniy et al. 2022,
    arXiv 2203.05556)."""

    type: Literal["piecewise_linear"]
    bins: int = Field(
        default=16, ge=2, le=256, description="Largest number of quantile bins per column."
    )


class Periodic(SpecModel):
    """Each number and learnt sines and cosines of it (Gorishniy et al. 2022, arXiv 2203.05556;
    in the form of Holzmüller et al. 2024, arXiv 2407.04491)."""

    type: Literal["periodic"]
    frequencies: int = Field(default=16, ge=1, le=256, description="Waves a column.")
    scale: float = Field(
        default=0.1, gt=0, le=100, description="Standard deviation of initial frequencies."
    )
    size: int = Field(
        default=4, ge=2, le=64, description="Outputs per column, including the number."
    )


NumericEmbedding = Annotated[PiecewiseLinear | Periodic, Field(discriminator="type")]


LinearPath = bool | Literal["least_squares"]


class MlpArchitecture(ArchitectureModel):
    """A multilayer perceptron."""

    type: Literal["mlp"] = "mlp"
    hidden_sizes: list[Annotated[int, Field(ge=1, le=16_384)]] = Field(
        default=[256, 64], min_length=1, max_length=16, description="Units of each hidden layer."
    )
    activation: Activation = "silu"
    normalization: Literal["none", "batch", "layer"] = "none"
    initialization: Initialization = "xavier_uniform"
    numeric_embedding: NumericEmbedding | None = Field(
        default=None, description="Added to the scaled numbers; learnt per fold."
    )
    linear_path: LinearPath = Field(
        default=False,
        description="Adds a linear model of the inputs to the output. With `least_squares` it "
        "starts from the best line (see `linear`) and the layers beside it from zero outputs, so "
        "that they learn what the line leaves.",
    )

    @model_validator(mode="after")
    def _line_of_inputs(self) -> MlpArchitecture:
        if self.linear_path == "least_squares" and isinstance(self.numeric_embedding, Periodic):
            raise ValueError(
                "linear_path 'least_squares' needs fixed inputs, and a periodic embedding learns "
                "its own: use 'piecewise_linear', null, or linear_path true"
            )
        return self


class ResNetArchitecture(ArchitectureModel):
    """The residual network for tables of Gorishniy et al. 2021, arXiv 2106.11959."""

    type: Literal["resnet"]
    blocks: int = Field(default=2, ge=1, le=16)
    width: int = Field(default=128, ge=1, le=4_096, description="Units between blocks.")
    block_width: int = Field(default=256, ge=1, le=8_192, description="Units inside a block.")
    activation: Activation = "relu"
    normalization: Literal["none", "batch", "layer"] = "batch"
    initialization: Initialization = "default"
    numeric_embedding: NumericEmbedding | None = None


class RealMlpArchitecture(ArchitectureModel):
    """RealMLP of Holzmüller et al. 2024, arXiv 2407.04491."""

    type: Literal["realmlp"]
    hidden_sizes: list[Annotated[int, Field(ge=1, le=16_384)]] = Field(
        default=[256, 256, 256], min_length=1, max_length=16
    )
    activation: Activation = "mish"
    initialization: Literal["default"] = "default"
    numeric_embedding: NumericEmbedding | None = Field(
        default_factory=lambda: Periodic(type="periodic")
    )


class TabmArchitecture(ArchitectureModel):
    """TabM of Gorishniy et al. 2024, arXiv 2410.24210."""

    type: Literal["tabm"]
    hidden_sizes: list[Annotated[int, Field(ge=1, le=16_384)]] = Field(
        default=[256, 256], min_length=1, max_length=16
    )
    ensemble_size: int = Field(
        default=32, ge=1, le=256, description="Predictions that are averaged."
    )
    activation: Activation = "relu"
    initialization: Initialization = "default"
    numeric_embedding: NumericEmbedding | None = None


class BoostedTreesArchitecture(ArchitectureModel):
    """Gradient boosted regression trees (Friedman 2001, doi 10.1214/aos/1013203451), grown leaf by
    leaf on histograms by LightGBM (Ke et al. 2017)."""

    is_fitted: ClassVar[bool] = True
    takes_extras: ClassVar[bool] = False
    levels: ClassVar[Literal["one_hot", "codes"]] = "codes"

    type: Literal["boosted_trees"]
    iterations: int = Field(
        default=1_000,
        ge=1,
        le=5_000,
        description="Trees. With three or more classes, each iteration has one for each.",
    )
    learning_rate: float = Field(
        default=0.03, gt=0, le=1, description="Share of its best step that a tree takes."
    )
    leaves: int | None = Field(
        default=None,
        ge=2,
        le=256,
        description="Most leaves of a tree. Default: 16, and 48 from 5,000 training rows.",
    )
    leaf_rows: int = Field(
        default=10, ge=1, le=10_000, description="Fewest training rows in a leaf."
    )
    column_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of the columns, at random, among which each split chooses.",
    )
    row_share: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="Share of the training rows, at random, from which each tree learns (Friedman "
        "2002, stochastic gradient boosting).",
    )


class KernelArchitecture(ArchitectureModel):
    """Kernel ridge regression of a number, with a Laplace kernel on what each column contributes to
    a line; columns are weighted by a recursive feature machine (Radhakrishnan et al. 2024, doi
    10.1126/science.adi5639)."""

    is_fitted: ClassVar[bool] = True
    takes_extras: ClassVar[bool] = False

    type: Literal["kernel"]
    penalty: float = Field(
        default=0.03, ge=1e-6, le=1e6, description="Added to the kernel matrix's diagonal of ones."
    )
    width: float = Field(
        default=3.0,
        ge=0.01,
        le=100,
        description="The kernel's, as a factor of the median distance of two training rows.",
    )


class RidgeArchitecture(ArchitectureModel):
    """Ridge regression of a number (Hoerl and Kennard 1970, doi 10.1080/00401706.1970.10488634),
    with the penalty that has the lowest error on training rows left out one at a time."""

    is_fitted: ClassVar[bool] = True
    takes_extras: ClassVar[bool] = False

    type: Literal["ridge"]


FittedArchitecture = BoostedTreesArchitecture | KernelArchitecture | RidgeArchitecture


Architecture = Annotated[
    LinearArchitecture
    | MlpArchitecture
    | ResNetArchitecture
    | RealMlpArchitecture
    | TabmArchitecture
    | BoostedTreesArchitecture
    | KernelArchitecture
    | RidgeArchitecture
    | PerceptronArchitecture,
    Field(discriminator="type"),
]


def bins_of(architecture: Architecture) -> int:
    """Quantile bins per column in the architecture's inputs."""
    embedding = getattr(architecture, "numeric_embedding", None)
    return embedding.bins if isinstance(embedding, PiecewiseLinear) else 0
