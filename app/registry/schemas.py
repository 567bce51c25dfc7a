"""Models and aliases as the API shows them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from operator import not_
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.http.openapi import is_none
from app.http.paging import Identified
from app.http.parameters import ID_PATTERN
from app.storage.tables import Alias, AliasChange, Model
from models.evaluation.comparison import Comparison
from models.objectives import OBJECTIVES
from models.objectives.base import Error
from models.objectives.classification.answers import MeasuredSet
from models.objectives.regression.answers import MeasuredInterval
from models.planning.review import SpecWarning
from models.serving.manifest import (
    CategoricalFeature,
    Importance,
    Manifest,
    NumericFeature,
)
from models.sweeps.outcome import SweepOutcome


class ModelOut(Identified):
    """A registered model: the average of the fold models of a job, or of a sweep's trial."""

    job_id: str = Field(description="The job's id, or the sweep's.")
    dataset_id: str
    target: str
    metrics: dict[str, float | None] = Field(description="Over the pooled out-of-fold predictions.")
    aliases: list[str]
    artifacts: dict[str, str] = Field(description="File names, and the SHA-256 of each file.")
    created_at: datetime

    @classmethod
    def of(cls, model: Model, aliases: list[str]) -> ModelOut:
        return cls(
            id=model.id,
            job_id=model.job_id,
            dataset_id=model.dataset_id,
            target=model.target,
            metrics=model.metrics,
            aliases=aliases,
            artifacts=model.artifacts,
            created_at=model.created_at,
        )


class ClassesOut(BaseModel):
    """The classes that a model predicts."""

    levels: list[str] = Field(description="In the order of a row's probabilities.")
    positive: str | None = Field(description="Of two classes; null of more.")
    threshold: float = Field(
        description="The probability from which the positive one of two classes is predicted. Of "
        "more classes the most probable one is."
    )


class ModelDetail(ModelOut):
    """A model, the columns that it uses and their importance."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())  # an objective's own members

    intervals: list[MeasuredInterval] | None = Field(
        default=None,
        exclude_if=is_none,
        description="Of numbers: the measured coverage of intervals; empty for a model of an "
        "earlier version.",
    )
    classes: ClassesOut | None = Field(default=None, exclude_if=is_none, description="Of classes.")
    sets: list[MeasuredSet] = Field(
        default=[],
        exclude_if=not_,
        description="Of classes: the measured coverage of sets.",
    )
    numeric: list[NumericFeature]
    categorical: list[CategoricalFeature]
    metrics_error: dict[str, float | None] = Field(
        description="Each metric's standard error; empty for a model of an earlier version."
    )
    importance: list[Importance]
    warnings: list[SpecWarning] = Field(
        description="What the table said against the spec that it was trained with; empty for a "
        "model of an earlier version."
    )
    sweep: SweepOutcome | None = Field(
        default=None,
        exclude_if=is_none,
        description="Of a sweep's model: what its error is worth, since it was picked.",
    )
    spec: dict[str, Any] = Field(
        description="The spec that it was trained with, with every default filled in."
    )
    receipt: dict[str, Any]

    @classmethod
    def with_columns(cls, model: ModelOut, manifest: Manifest) -> ModelDetail:
        return cls(
            **dict(model),
            numeric=manifest.numeric,
            categorical=manifest.categorical,
            metrics_error=manifest.metrics_error,
            importance=manifest.importance,
            warnings=manifest.warnings,
            sweep=manifest.sweep,
            spec=manifest.spec,
            receipt=manifest.receipt,
            **OBJECTIVES[manifest.task].shown(manifest),
        )


class AliasPut(BaseModel):
    """The model that the alias should point at."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"model_id": "champion"},
                {"model_id": "latest", "if_better_than": "champion"},
                {"model_id": "latest", "force": True},
            ]
        },
    )

    model_id: str = Field(pattern=ID_PATTERN, description="A model's id, or another alias.")
    if_better_than: str | None = Field(
        None,
        pattern=ID_PATTERN,
        description="A model's id, or an alias. The alias moves only if the error of `model_id` is "
        "lower than that model's by more than 1.645 standard errors of the difference, on the rows "
        "for which both have out-of-fold predictions.",
    )
    force: bool = Field(
        default=False,
        strict=True,
        description="Move the alias even if `if_better_than` does not show the model to be better, "
        "or if the alias points at a model of another target.",
    )
    protected: bool | None = Field(
        default=None,
        strict=True,
        description="Whether from now on only admins may move or delete the alias; by default as "
        "it is. Only admins may say so.",
    )


class ComparisonOut(BaseModel):
    """The errors of two models on the same rows, out of fold."""

    metric: Error = Field(
        description="The error that both were trained to minimise. Of numbers: `mae` if both have "
        "the loss `absolute_error`, otherwise `rmse`; on logarithms (`_log`) if both have the "
        "target transform `log`. Of classes: `log_loss`, the mean of −log of the probability of "
        "the true class."
    )
    rows: int
    challenger: float = Field(description="Error of the model that the alias now points at.")
    champion: float = Field(description="Error of the model that it was compared with.")
    difference: float = Field(description="champion − challenger.")
    standard_error: float = Field(
        description="Standard error of the difference, over rows (over groups in `group` folds) "
        "and over fold models."
    )


class AliasOut(BaseModel):
    """A name that points at a model."""

    alias: str
    model_id: str
    version: str = Field(
        description="The id of the newest change in its history, and its ETag. Send it as If-Match "
        "to change the alias only if nobody else has."
    )
    protected: bool = Field(description="Whether only admins may move or delete it.")
    updated_at: datetime
    comparison: ComparisonOut | None = Field(
        description="The comparison that `if_better_than` asked for."
    )

    @classmethod
    def of(cls, alias: Alias, version: int | str, comparison: Comparison | None = None) -> AliasOut:
        return cls(
            alias=alias.name,
            model_id=alias.model_id,
            version=str(version),
            protected=alias.protected,
            updated_at=alias.updated_at,
            comparison=None if comparison is None else ComparisonOut(**asdict(comparison)),
        )

    @classmethod
    def after(cls, step: AliasChange, *, protected: bool) -> AliasOut:
        """An alias as it was after one of its changes."""
        assert step.model_id is not None
        return cls(
            alias=step.alias,
            model_id=step.model_id,
            version=str(step.id),
            protected=protected,
            updated_at=step.changed_at,
            comparison=None,
        )


class AliasChangeOut(Identified):
    """A change of an alias. `model_id` is null if the change deleted it."""

    model_id: str | None
    changed_at: datetime

    @classmethod
    def of(cls, change: AliasChange) -> AliasChangeOut:
        return cls(id=str(change.id), model_id=change.model_id, changed_at=change.changed_at)


class AliasList(BaseModel):
    """All aliases, by name."""

    data: list[AliasOut]
