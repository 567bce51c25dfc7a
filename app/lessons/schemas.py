"""Lessons as the API shows them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from app.storage.tables import LessonRun, State
from lessons.catalogue import Language, Lesson
from lessons.outcome import Check, Figures, Plot


class LessonOut(BaseModel):
    """A lesson that `foldhouse lessons run` runs."""

    name: str
    title: str
    question: str = Field(description="Asked before the lesson runs. Markdown.")
    seconds: float = Field(description="What a run took on two cores.")

    @classmethod
    def of(cls, lesson: Lesson, language: Language) -> LessonOut:
        text = lesson.texts[language]
        return cls(
            name=lesson.name, title=text.title, question=text.question, seconds=lesson.seconds
        )


class LessonList(BaseModel):
    """All lessons, in the order in which they build on each other."""

    data: list[LessonOut]


class LessonOutcome(BaseModel):
    """What a run found. `holds`: whether all checks do."""

    name: str
    holds: bool
    seconds: float
    figures: list[Figures]
    plots: list[Plot]
    checks: list[Check]
    note: str | None = Field(description="What the run could not do here.")


class LessonRunOut(BaseModel):
    """A run of a lesson."""

    id: str
    lesson: str
    status: State
    created_at: datetime
    error: str | None = Field(description="Why there is no outcome, if it failed.")
    outcome: LessonOutcome | None

    @classmethod
    def of(cls, run: LessonRun) -> LessonRunOut:
        return cls(
            id=run.id,
            lesson=run.lesson,
            status=run.state,
            created_at=run.created_at,
            error=run.error,
            outcome=run.outcome and LessonOutcome.model_validate(run.outcome),
        )
