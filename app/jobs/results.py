"""The result of a job, as the API shows it."""

from __future__ import annotations

from operator import not_
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.http.openapi import is_none
from models.objectives.classification.answers import MeasuredSet
from models.objectives.regression.answers import MeasuredInterval
from models.planning.review import SpecWarning

Metrics = dict[str, float | None]
MetricErrors = Annotated[
    Metrics,
    Field(
        description="Each metric's standard error over rows, over groups in `group` folds, or over "
        "blocks of rows in `time` folds. Empty for a job of an earlier version."
    ),
]


class _Part(BaseModel):
    """What an objective reports; it may add figures."""

    model_config = ConfigDict(extra="allow")


class FoldOut(BaseModel):
    """The result of one fold."""

    fold: int
    rows_train: int
    rows_validation: int
    epochs: int
    best_epoch: int
    stopped_by: str = Field(
        description="`max_epochs`, `early_stopping`, `no_mistakes` (of a perceptron: an epoch "
        "without an update), `keep_best` or `non_finite`."
    )
    metrics: Metrics


MeasuredSets = Annotated[
    list[MeasuredSet],
    Field(
        exclude_if=not_,
        description="Of classes: for each coverage, the share of rows whose true class was in its "
        "set. Out of fold, a set is made from the rows of the other folds.",
    ),
]


class HoldoutOut(BaseModel):
    """The finished model's scores on the rows that no fold saw."""

    rows: int
    metrics: Metrics
    metrics_error: MetricErrors = {}
    intervals: list[MeasuredInterval] = Field(
        default=[],
        description="Of numbers: coverage of the finished model's intervals; empty for a job of an "
        "earlier version.",
    )
    sets: MeasuredSets = []


class Numbers(BaseModel):
    """What a run computed, as far as another run can come to the same."""

    metrics: Metrics
    metrics_error: Metrics = {}
    folds: list[FoldOut]
    holdout: HoldoutOut | None = None
    intervals: list[MeasuredInterval] | None = None
    sets: list[MeasuredSet] = []


class FindingOut(BaseModel):
    """One thing that the numbers show about the fit, and what to try."""

    code: str
    asks: str | None = Field(
        default=None,
        description="For a `change` of the spec, for a `look` at the rows, or for `nothing`; a "
        "`hint` says that nothing is wrong with the spec, and another does better. Null for a job "
        "of an earlier version.",
    )
    evidence: str
    advice: str
    next_spec: dict[str, Any] | None = Field(
        default=None,
        description="A whole spec that follows the advice, to be submitted as it is; null if no "
        "spec would help.",
    )


class ClassScoreOut(_Part):
    """One class against the others, out of fold. Null without rows, or if it is never predicted."""

    level: str
    rows: int
    precision: float | None
    recall: float | None
    f1: float | None


class ConfusedOut(_Part):
    """Rows of one class that were predicted as another."""

    actual: str
    predicted: str
    rows: int


class ConfusionOut(_Part):
    """Out-of-fold rows by actual and predicted class."""

    levels: list[str] | None = Field(description="Null for more than 50 classes, like `rows`.")
    rows: list[list[int]] | None = Field(description="`rows[actual][predicted]`.")
    most_confused: list[ConfusedOut]


class DecisionOut(_Part):
    """Of two classes: the positive one is predicted from this probability on."""

    positive: str
    threshold: float
    by_fold: list[float] = Field(
        description="The thresholds with which each fold's rows were scored, chosen on the rows of "
        "the other folds."
    )


class CalibrationOut(_Part):
    """How the networks' outputs became probabilities."""

    method: str
    temperatures: list[float] = Field(description="Of each fold, learnt on the other folds' rows.")
    before: Metrics = Field(description="Metrics of the uncalibrated probabilities.")
    after: Metrics


class ReproductionOut(BaseModel):
    """A job beside the one that it trained again."""

    of: str = Field(description="The other job's id, here or on another installation.")
    elsewhere: bool = Field(default=False, description="Whether another installation trained it.")
    equal: bool | None = Field(
        description="Whether every number is equal, to the last bit; null if the other job was "
        "deleted in the meantime."
    )
    differs: list[str] = Field(description="What is not equal.")
    surroundings: list[str] = Field(
        description="Parts of the receipt that are not equal, and may be why."
    )


class BaselineOut(_Part):
    """A simple model on the same folds, or why there is none."""

    metrics: Metrics = Field(default={}, exclude_if=not_)
    difference: float | None = Field(
        default=None,
        exclude_if=is_none,
        description="The networks' mean error minus the baseline's.",
    )
    standard_error: float | None = Field(default=None, exclude_if=is_none)
    better_by: float | None = Field(
        default=None,
        exclude_if=is_none,
        description="The share of the baseline's error by which the networks err less.",
    )
    better_by_error: float | None = Field(
        default=None, exclude_if=is_none, description="Its standard error."
    )
    skipped: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="Why it was left out, if it was.",
    )


class BlendMemberOut(_Part):
    """A member of a blend. What is null could not be measured, because the member failed."""

    architecture: str
    weight: float = Field(description="The mean over the folds' weights.")
    bytes: int | None
    error: float | None = Field(
        description="Its own error out of fold, on the scale that is learnt: the root mean squared "
        "error, of classes the log loss."
    )
    difference: float | None = Field(description="Its error minus the blend's.")
    standard_error: float | None = Field(description="Of the difference.")
    left_out: str | None = Field(description="Why it is not in the model's files; null if it is.")


class BlendOut(_Part):
    """The members of a blend, in the order of the spec."""

    members: list[BlendMemberOut]
    cheaper: int | None = Field(
        description="The place of the smallest member that is less than half as large as the blend "
        "and no worse by more than one standard error; null if there is none."
    )


class ComparablesOut(_Part):
    """The inputs of networks that come from other rows' targets."""

    used: list[str]
    explained: dict[str, float] = Field(
        description="The share of what a ridge regression leaves that the mean of 16 comparables "
        "explains, on rows that neither has seen; by the kinds that `auto` tried."
    )


class CurvePointOut(_Part):
    """An error out of fold by training rows of a fold, on the scale that is learnt."""

    rows: float
    error: float
    standard_error: float


class LawOut(_Part):
    """error(n) = floor + scale · n^(−exponent), the law that fits the points best."""

    floor: float
    scale: float
    exponent: float


class ForecastOut(_Part):
    """The error expected with twice the rows, the mean over all laws that the points allow."""

    rows: float
    error: float
    low: float
    high: float
    coverage: float = Field(description="How often such an interval should hold the error.")


class LearningCurveOut(_Part):
    """Errors against rows, or why there are none."""

    points: list[CurvePointOut] = []
    law: LawOut | None = None
    forecast: ForecastOut | None = None
    skipped: str | None = Field(default=None, description="Why there is no curve; null if it is.")


class PerceptronOut(_Part):
    """What a perceptron did in one fold, and what Novikoff's bound says."""

    fold: int
    updates: int
    epochs: int
    converged: bool = Field(description="Whether its last epoch had no mistake.")
    margin: float = Field(description="Below 0 if some training rows are on the wrong side.")
    radius: float
    bound: float | None = Field(
        description="(radius / margin)², the most updates that separating the rows can take. Null "
        "unless they are separated."
    )
    summary: str


class ResultOut(BaseModel):
    """The result of a succeeded job. `metrics` are over the pooled out-of-fold predictions."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())  # an objective's own members

    model_id: str
    metrics: Metrics = Field(
        description="Of numbers: `mape` is a fraction; `bias` is the sum of predictions divided by "
        "the sum of true values. Of classes: `brier` is summed over the classes, `roc_auc` and "
        "`f1` are means over them, `ece` is the calibration error."
    )
    metrics_error: MetricErrors = {}
    folds: list[FoldOut]
    fold_mean: Metrics
    fold_std: Metrics
    holdout: HoldoutOut | None
    intervals: list[MeasuredInterval] | None = Field(
        default=None,
        description="Of numbers: for each coverage, the share of out-of-fold rows whose true value "
        "lay inside an interval made from the residuals of the other folds. Null for classes, and "
        "for a job of an earlier version.",
    )
    classes: list[ClassScoreOut] = Field(
        default=[], exclude_if=not_, description="Of classes: how well each is recognised."
    )
    confusion: ConfusionOut | None = Field(default=None, exclude_if=not_)
    decision: DecisionOut | None = Field(default=None, exclude_if=not_)
    calibration: CalibrationOut | None = Field(default=None, exclude_if=not_)
    sets: MeasuredSets = []
    perceptron: list[PerceptronOut] = Field(
        default=[], exclude_if=not_, description="Of the architecture `perceptron`."
    )
    baselines: dict[str, BaselineOut] = Field(
        default={}, exclude_if=not_, description="Simple models on the same folds."
    )
    comparison: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="How much better the networks are than each baseline, in a sentence.",
    )
    blend: BlendOut | None = Field(default=None, exclude_if=is_none)
    comparables: ComparablesOut | None = Field(default=None, exclude_if=is_none)
    learning_curve: LearningCurveOut | None = Field(
        default=None, exclude_if=is_none, description="Only with `learning_curve: true`."
    )
    warnings: list[SpecWarning] = Field(
        default=[],
        description="The warnings of `validate`; empty for a job of an earlier version.",
    )
    diagnosis: list[FindingOut]
    seconds: dict[str, float]
    reproduction: ReproductionOut | None = Field(
        default=None, exclude_if=is_none, description="Of a job that reproduces another."
    )
    receipt: dict[str, Any] = Field(description="What is needed to train the same model again.")
