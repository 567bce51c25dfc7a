"""Every lesson's folder is whole."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from lessons.catalogue import FOLDER, _text, lessons

FOLDERS = sorted(file.parent for file in FOLDER.glob("*/lesson.py"))
MOST_SECONDS = 30.0


def test_every_folder_with_code_is_a_lesson() -> None:
    names = {folder.name.replace("_", "-") for folder in FOLDERS}
    assert names
    assert {lesson.name for lesson in lessons()} == names


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_lesson_is_written_in_both_languages(folder: Path) -> None:
    [lesson] = [one for one in lessons() if one.name == folder.name.replace("_", "-")]
    assert set(lesson.texts) == {"en", "zh"}
    for language, text in lesson.texts.items():
        for part in (text.title, text.question, text.look_at, text.explanation):
            assert part, (lesson.name, language)
    assert any("\u4e00" <= letter <= "\u9fff" for letter in lesson.texts["zh"].explanation)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_its_settings_are_in_bounds(folder: Path) -> None:
    settings = tomllib.loads((folder / "lesson.toml").read_text())
    assert settings.keys() == {"place", "seconds"}
    assert 0 < settings["seconds"] <= MOST_SECONDS
    assert "def run(lab: Lab) -> Outcome:" in (folder / "lesson.py").read_text()


def test_places_are_unique_and_in_order() -> None:
    places = [lesson.place for lesson in lessons()]
    assert places == sorted(set(places))


def test_a_text_with_other_sections_is_refused() -> None:
    with pytest.raises(ValueError, match="three sections, this one 2"):
        _text("# Title\n\n## One\n\na\n\n## Two\n\nb\n")
    text = _text("# Title\n\n## Q\n\nwhy?\n\n## L\n\nhere\n\n## E\n\nso\n\n### and\n\nmore\n")
    assert (text.title, text.question, text.look_at) == ("Title", "why?", "here")
    assert text.explanation == "so\n\n### and\n\nmore"
