"""docs/operating.md names every setting with its default, and only commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from app.cli import cli
from app.settings import Settings

TEXT = (Path(__file__).parent.parent / "docs" / "operating.md").read_text()


def test_every_setting_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `FOLDHOUSE_(\w+)` \| (.*?) \|", TEXT, re.M))
    assert {name.lower() for name in rows} == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        shown = rows[name.upper()]
        if shown.startswith("`"):
            typed = Settings.model_validate({name: shown.strip("`")})
            assert getattr(typed, name) == field.default
        else:  # an address that is made from the data folder
            assert field.default == ""


def test_the_commands_it_names_exist() -> None:
    named = set(re.findall(r"foldhouse ([a-z]+)\b", TEXT))
    assert {"serve", "api", "worker", "migrate", "doctor"} <= named
    assert named <= set(typer.main.get_group(cli).commands)
