"""`foldhouse lessons` beside a stand-in for the child that trains."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli import cli
from lessons.catalogue import lessons
from lessons.outcome import Check, Figures, Outcome, Plot, Series

COMMAND = sys.modules["app.cli.lessons"]
OUTCOME = Outcome(
    figures=[Figures(title="figures", columns=["model", "error"], rows=[["line", 0.123456]])],
    plots=[
        Plot.lines("a curve", "epoch", "loss", {"mlp": ([1, 2, 3], [3, 0, 1])}, logarithmic="y"),
        Plot(
            title="some bars",
            kind="bars",
            x="fold",
            y="error",
            series=[Series(name=name, x=["first", "second"], y=[1, 2]) for name in ("mlp", "line")],
        ),
    ],
    checks=[Check.at_most("error", 0.1, 0.2)],
    note="emulated here",
)
FAILING = OUTCOME.model_copy(update={"checks": [Check.at_most("error", float("nan"), 0.2)]})

Lesson = Callable[..., Result]


def line(name: str, outcome: Outcome) -> str:
    return json.dumps(
        {"name": name, "seconds": 1.5, "holds": outcome.holds, **outcome.model_dump()}
    )


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lesson:
    """Runs the command with a child that prints lines and takes no notice of its arguments."""

    def run(*arguments: str, printed: tuple[str, ...] = ()) -> Result:
        child = tmp_path / "python"
        # Names of lessons end up in `$3` and further on.
        told = "\n".join(printed)
        child.write_text(f"#!/bin/sh\necho \"$@\" >{tmp_path}/asked\ncat <<'END'\n{told}\nEND\n")
        if not printed:
            child.write_text("#!/bin/sh\nexit 1\n")
        child.chmod(0o755)
        monkeypatch.setattr(COMMAND.sys, "executable", str(child))
        return CliRunner().invoke(cli, ["lessons", *arguments], env={"COLUMNS": "100"})

    return run


def test_lists_every_lesson(run: Lesson) -> None:
    output = run().output
    for lesson in lessons():
        assert f"{lesson.place}  {lesson.name}" in output
    assert "异或" in run("--language", "zh").output


def test_prints_what_a_lesson_found(run: Lesson, tmp_path: Path) -> None:
    result = run("run", "xor", printed=(line("xor", OUTCOME),))

    assert result.exit_code == 0, result.output
    assert (tmp_path / "asked").read_text().split() == ["-m", "lessons", "xor"]
    [xor] = [lesson for lesson in lessons() if lesson.name == "xor"]
    places = [
        result.output.index(text)
        for text in (
            xor.texts["en"].title,
            "Question",
            "a curve",
            "some bars",
            "second",
            "0.1235",
            "emulated here",
            "Look at",
            "Explanation",
            "✓ error ≤ 0.2: 0.1",
            "1 of 1 lesson holds, 2 s",
        )
    ]
    assert places == sorted(places)
    assert "\x1b" not in result.output


def test_a_check_that_fails_is_the_exit_code(run: Lesson) -> None:
    result = run("run", "xor", "xor", printed=(line("xor", OUTCOME), line("xor", FAILING)))
    assert result.exit_code == 1
    assert "✗ error ≤ 0.2: nan" in result.output
    assert "1 of 2 lessons hold, 3 s" in result.output


def test_a_child_that_ends_early_is_a_failure(run: Lesson) -> None:
    result = run("run", "xor")
    assert result.exit_code == 1
    assert "xor stopped with an error" in result.output
    assert "0 of 1 lesson holds" in result.output


def test_all_means_every_lesson(run: Lesson, tmp_path: Path) -> None:
    printed = tuple(line(lesson.name, OUTCOME) for lesson in lessons())
    assert run("run", "--all", printed=printed).exit_code == 0
    assert (tmp_path / "asked").read_text().split()[2:] == [lesson.name for lesson in lessons()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("xorr",), "no lesson is called 'xorr': did you mean xor"),
        (("qqqqqq",), "no lesson is called 'qqqqqq': `foldhouse lessons` lists them"),
        ((), "name a lesson, or run `--all`"),
    ],
)
def test_what_it_cannot_run_is_refused(
    run: Lesson, arguments: tuple[str, ...], message: str
) -> None:
    result = run("run", *arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_without_torch_it_says_what_to_install(
    run: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: Any = COMMAND.find_spec
    monkeypatch.setattr(COMMAND, "find_spec", lambda name: None if name == "torch" else found(name))
    result = run("run", "xor")
    assert result.exit_code == 2
    assert "pip install 'foldhouse[worker]'" in result.output
