"""Lessons on a terminal: their texts, figures, plots and checks."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from app.cli.display import console, one_line, say
from app.cli.plots import draw
from lessons.catalogue import Language, Lesson
from lessons.outcome import Cell, Figures, Outcome

HEADINGS: dict[Language, tuple[str, str, str]] = {
    "en": ("Question", "Look at", "Explanation"),
    "zh": ("问题", "看什么", "说明"),
}


def listed(lessons: Sequence[Lesson], language: Language) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("place", justify="right")
    table.add_column("name", no_wrap=True)
    table.add_column("title")
    table.add_column("seconds", justify="right")
    for lesson in lessons:
        title = lesson.texts[language].title
        table.add_row(str(lesson.place), lesson.name, one_line(title), f"{lesson.seconds:g}")
    console.print(table)


def question(lesson: Lesson, language: Language) -> None:
    text = lesson.texts[language]
    console.rule(f"[bold]{one_line(text.title)}", align="left")
    _section(HEADINGS[language][0], text.question)


def result(lesson: Lesson, language: Language, outcome: Outcome, seconds: float) -> None:
    text = lesson.texts[language]
    for plot in outcome.plots:
        drawn = draw(plot, console.width, colours=console.is_terminal)
        console.print()
        console.print(Text.from_ansi(drawn), soft_wrap=True)
    for figures in outcome.figures:
        say(f"\n[bold]{one_line(figures.title)}[/bold]")
        console.print(_table(figures))
    if outcome.note is not None:
        console.print()
        say(one_line(outcome.note))
    _section(HEADINGS[language][1], text.look_at)
    _section(HEADINGS[language][2], text.explanation)
    console.print()
    for check in outcome.checks:
        mark = "[green]✓[/green]" if check.holds else "[red]✗[/red]"
        say(f"{mark} {one_line(check.claim)}: {number(check.found)}")
    say(f"[dim]{lesson.name}: {seconds:.1f} s[/dim]\n")


def stopped(lesson: Lesson) -> None:
    say(f"[red]✗[/red] {lesson.name} stopped with an error, which is above; so did the others")


def total(held: int, count: int, seconds: float) -> None:
    say(f"{held} of {count} lesson{'s' * (count != 1)} hold{'s' * (count == 1)}, {seconds:.0f} s")


def number(value: Cell) -> str:
    """Four significant digits; thousands, and whole numbers, in full."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if 1_000 <= abs(value) < 1e9 else f"{value:.4g}"


def _section(heading: str, text: str) -> None:
    console.print(f"\n[bold]{heading}[/bold]")
    console.print(Markdown(text))


def _table(figures: Figures) -> Table:
    table = Table(box=None, pad_edge=False)
    for place, column in enumerate(figures.columns):
        words = any(isinstance(row[place], str) for row in figures.rows)
        table.add_column(one_line(column), justify="left" if words else "right")
    for row in figures.rows:
        table.add_row(*(one_line(number(cell)) for cell in row))
    return table
