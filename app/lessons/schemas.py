"""Lessons as the API shows them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from lessons.catalogue import Language, Lesson


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
