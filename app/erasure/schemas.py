"""Traces of a value as the API shows them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MOST_ROWS = 100  # named of a dataset
MOST_JOBS = 200
LONGEST = 1_000  # characters


class Sought(BaseModel):
    """A value in a column, by which a person is known."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"column": "Neighborhood", "value": "GrnHill"}]},
    )

    column: str = Field(min_length=1, max_length=LONGEST)
    value: str = Field(
        min_length=1,
        max_length=LONGEST,
        description="The whole cell. Upper and lower case are the same, and so are characters that "
        "Unicode writes in several ways; a number or a date is read as those of the column were.",
    )


class ModelTrace(BaseModel):
    """A model that learnt from the rows, and the aliases that must be moved before it can go."""

    id: str
    aliases: list[str]


class JobTrace(BaseModel):
    """A job or a sweep that learnt from the rows; its models are deleted with it."""

    id: str
    models: list[ModelTrace]


class DatasetTrace(BaseModel):
    """A dataset that has the value."""

    id: str
    name: str
    rows: int = Field(description="Rows with the value.")
    first_rows: list[int] = Field(
        description=f"The first {MOST_ROWS} of them, from 1 below the header."
    )
    jobs: list[JobTrace] = Field(
        description="What learnt from it, also jobs on other datasets that started from a model of "
        f"it, newest first; at most {MOST_JOBS}."
    )
    jobs_total: int


class TracesOut(BaseModel):
    """What was found in a page of datasets, of which `next` begins the next."""

    data: list[DatasetTrace]
    examined: int = Field(description="Datasets that were looked through.")
    unread: list[str] = Field(
        description="Ids of those among them whose stored table is damaged, so that it may have "
        "the value."
    )
    has_more: bool
    next: str | None
