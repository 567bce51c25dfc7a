"""A job spec in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.terminal import refuse
from app.http.json_text import repeated

Spec = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="The job spec, a JSON file.")
]


def read_spec(path: Path) -> dict[str, Any]:
    """Refuses anything but a JSON object without duplicate names."""
    try:
        text = path.read_bytes()
        spec, twice = json.loads(text), repeated(text)
    except ValueError as error:
        refuse(f"{path} is not JSON: {error}")
    if twice is not None:
        refuse(f"{path} has {twice} twice: keep one of the two")
    if not isinstance(spec, dict):
        refuse(f'{path} must hold a JSON object, such as {{"target": "SalePrice"}}')
    return spec
