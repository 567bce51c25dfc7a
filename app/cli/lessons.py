"""`lessons` and `lessons run`."""

from __future__ import annotations

import difflib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import IO, Annotated, Any, Literal

import typer

from app.cli.terminal import refuse
from lessons import catalogue
from lessons.catalogue import Lesson
from lessons.outcome import Outcome

Language = Annotated[
    Literal["en", "zh"], typer.Option(help="Language of the texts: English or Chinese.")
]

lessons = typer.Typer(
    invoke_without_command=True, help="Lessons on deep learning that run here and check themselves."
)


@lessons.callback()
def _list(context: typer.Context, language: Language = "en") -> None:
    """List the lessons, or run some."""
    if context.invoked_subcommand is None:
        from app.cli import display_lessons

        display_lessons.listed(catalogue.lessons(), language)


@lessons.command()
def run(
    names: Annotated[list[str] | None, typer.Argument(help="Lessons, by name.")] = None,
    all_of_them: Annotated[bool, typer.Option("--all", help="Run every lesson.")] = False,
    language: Language = "en",
) -> None:
    """Run lessons and check what they claim. The exit code is 0 only if every check holds."""
    from app.cli import display_lessons

    chosen = _chosen(names or [], all_of_them)
    if find_spec("torch") is None:
        refuse(
            "lessons train networks, and torch is not installed: `pip install 'foldhouse[worker]'`"
        )
    held, seconds = 0, 0.0
    with _started(chosen) as lines:
        for lesson in chosen:
            display_lessons.question(lesson, language)
            line = next(lines, None)
            if line is None:
                display_lessons.stopped(lesson)
                break
            result = Result.of(json.loads(line))
            display_lessons.result(lesson, language, result.outcome, result.seconds)
            held += result.outcome.holds
            seconds += result.seconds
    display_lessons.total(held, len(chosen), seconds)
    if held < len(chosen):
        raise typer.Exit(1)


@dataclass(frozen=True)
class Result:
    """A line of `python -m lessons`."""

    seconds: float
    outcome: Outcome

    @classmethod
    def of(cls, line: dict[str, Any]) -> Result:
        outcome = {name: line[name] for name in Outcome.model_fields}
        return cls(line["seconds"], Outcome.model_validate(outcome))


def _chosen(names: Sequence[str], all_of_them: bool) -> list[Lesson]:
    known = {lesson.name: lesson for lesson in catalogue.lessons()}
    if all_of_them:
        return list(known.values())
    if not names:
        refuse("name a lesson, or run `--all`; `foldhouse lessons` lists them")
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
            meant = f"did you mean {', '.join(near)}?" if near else "`foldhouse lessons` lists them"
            refuse(f"no lesson is called '{name}': {meant}")
    return [known[name] for name in names]


@contextmanager
def _started(chosen: Sequence[Lesson]) -> Iterator[IO[str]]:
    """The lines of a child that runs the lessons: this process never imports torch."""
    command = [sys.executable, "-m", "lessons", *(lesson.name for lesson in chosen)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield child.stdout
        finally:
            child.kill()  # of one that has ended, this does nothing
