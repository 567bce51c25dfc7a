"""The lessons that there are, and their texts. Without torch."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

FOLDER = Path(__file__).parent
Language = Literal["en", "zh"]


@dataclass(frozen=True)
class Text:
    """One language of a lesson.

    question : asked before the run
    look_at : what to see in the numbers and plots
    explanation : what is behind them, Markdown, with sources
    """

    title: str
    question: str
    look_at: str
    explanation: str


@dataclass(frozen=True)
class Lesson:
    """`seconds`: of a run on two cores, as measured."""

    name: str
    place: int
    seconds: float
    texts: dict[Language, Text]


@cache
def lessons() -> tuple[Lesson, ...]:
    """All, in the order in which they build on each other."""
    found = [_read(file.parent) for file in FOLDER.glob("*/lesson.toml")]
    return tuple(sorted(found, key=lambda lesson: (lesson.place, lesson.name)))


def _read(folder: Path) -> Lesson:
    settings = tomllib.loads((folder / "lesson.toml").read_text())
    return Lesson(
        name=folder.name.replace("_", "-"),
        place=settings["place"],
        seconds=settings["seconds"],
        texts={
            "en": _text((folder / "en.md").read_text()),
            "zh": _text((folder / "zh.md").read_text()),
        },
    )


def _text(markdown: str) -> Text:
    """A title, then three sections: the question, what to look at, the explanation.

    Raises
    ------
    ValueError: the sections are others.
    """
    head, *sections = markdown.removeprefix("# ").split("\n## ")
    if len(sections) != 3:
        raise ValueError(f"a lesson has three sections, this one {len(sections)}: {head[:40]!r}")
    bodies = [section.partition("\n")[2].strip() for section in sections]
    return Text(head.strip(), *bodies)
