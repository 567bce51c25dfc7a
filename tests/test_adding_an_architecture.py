"""docs/adding-an-architecture.md, followed to the letter on a copy of the packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "adding-an-architecture.md"
COPIED = ("app", "lessons", "migrations", "models", "tests", "workers")

# A block of Python, and the line above it that says where it goes.
BLOCK = re.compile(
    r"^(?:`(?P<file>\S+)`, (?:new|before `(?P<before>[^\n]+)`):\n\n)?"
    r"```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

TRAIN_AND_EXPORT = """
import sys
from pathlib import Path

import models
from houses import build, house_frame, lay
from models.planning.estimate import parameters as estimated
from models.networks.cross import CrossNetwork
from models.export.graph import verify

folder = Path(sys.argv[1])
assert Path(models.__file__).is_relative_to(folder), models.__file__
case = lay(
    folder, house_frame(), architecture={"type": "cross"}, k_folds=3, max_epochs=3, batch_size=16
)
built = build(case)
network = built.trained.network
assert isinstance(network, CrossNetwork)
weights = [len(parameter) for parameter in network.parameters()]
assert set(weights) == {3}, weights
parameters = sum(parameter[0].numel() for parameter in network.parameters())
assert estimated(case.spec, case.profile) == parameters
scored = [case.folds[fold].validation for fold in built.served.folds]
assert len(scored) == 3
verify(built.core, built.full, case.design, built.served, scored, built.scores.out_of_fold)
"""

ASK_THE_API = """
import sys
from pathlib import Path

from fastapi.testclient import TestClient

import app.main
from app.settings import Settings
from app.storage.migrate import upgrade

folder = Path(sys.argv[1])
assert Path(app.main.__file__).is_relative_to(folder), app.main.__file__
settings = Settings(data_dir=folder / "data", database_url=f"sqlite:///{folder}/foldhouse.sqlite")
upgrade(settings.resolved_database_url)
rows = [f"{40 + row},{row % 3},{1000 + 7 * row}" for row in range(60)]
with TestClient(app.main.create_app(settings), base_url="http://localhost") as client:
    document = client.get("/openapi.json").json()
    kinds = document["components"]["schemas"]["JobCreate"]["properties"]["architecture"]
    assert "cross" in kinds["discriminator"]["mapping"], kinds
    table = "\\n".join(["area,floors,price", *rows])
    client.post("/v1/datasets", content=table, headers={"Content-Type": "text/csv"})
    job = {"dataset_id": "latest", "target": "price", "k_folds": 3}
    taken = client.post("/v1/jobs:validate", json=job | {"architecture": {"type": "cross"}})
    assert taken.status_code == 200, taken.text
    resolved = taken.json()["resolved_spec"]["architecture"]
    assert (resolved["type"], resolved["cross_layers"]) == ("cross", 2), resolved
    wrong = {"type": "cross", "cross_layers": 0}
    refused = client.post("/v1/jobs:validate", json=job | {"architecture": wrong})
    assert refused.status_code == 422, refused.text
    assert "cross_layers" in refused.text
assert "torch" not in sys.modules
"""


class GuideOutdated(Exception):
    """A block of the guide cannot be applied to the code as it is."""


@dataclass(frozen=True)
class Block:
    """Lines for a new file, or for the place in front of the line `before`."""

    file: str
    before: str | None
    code: str


def blocks_of(text: str) -> list[Block]:
    """Every Python block of the guide.

    Raises
    ------
    GuideOutdated: the line above one does not say where it goes.
    """
    found = []
    for match in BLOCK.finditer(text):
        if match["file"] is None:
            raise GuideOutdated(
                "above a block must stand '`FILE`, new:' or '`FILE`, before `LINE`:' and a blank "
                f"line, however it is not above\n{match['code']}"
            )
        found.append(Block(match["file"], match["before"], match["code"]))
    return found


def apply(block: Block, root: Path) -> None:
    """Make one change of the guide in the code under `root`.

    After the block come as many blank lines as stood in front of the line.

    Raises
    ------
    GuideOutdated: the file is there already, or it has not just one such line.
    """
    path = root / block.file
    if block.before is None:
        if path.exists():
            raise GuideOutdated(f"{block.file} is not new")
        path.write_text(block.code)
        return
    lines = path.read_text().splitlines()
    places = [place for place, line in enumerate(lines) if line.strip() == block.before]
    if len(places) != 1:
        raise GuideOutdated(
            f"{block.file} must have the line `{block.before}` once, however it has it "
            f"{len(places)} times"
        )
    (place,) = places
    blank = 0
    while lines[place - 1 - blank] == "":
        blank += 1
    lines[place:place] = block.code.splitlines() + [""] * blank
    path.write_text("\n".join(lines) + "\n")


def follow(text: str, root: Path) -> None:
    """Make all changes of a guide, in its order."""
    for block in blocks_of(text):
        apply(block, root)


def run(folder: Path, *arguments: str | Path) -> None:
    """A Python process that finds the packages in `folder`, and must succeed."""
    path = os.pathsep.join([str(folder), str(folder / "tests")])
    answer = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert answer.returncode == 0, answer.stdout[-4000:] + answer.stderr[-4000:]


@pytest.fixture
def extended(tmp_path: Path) -> Path:
    """A copy of the code to which the guide was applied."""
    for package in COPIED:
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=skipped)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    follow(GUIDE.read_text(), tmp_path)
    return tmp_path


def test_the_new_architecture_trains_and_is_exported(extended: Path) -> None:
    run(extended, "-c", TRAIN_AND_EXPORT, extended)


def test_the_api_takes_the_new_architecture(extended: Path) -> None:
    run(extended, "-c", ASK_THE_API, extended)


def test_the_proof_in_the_guide_holds(extended: Path) -> None:
    """By the command that the guide names."""
    command = re.search(r"^\.venv/bin/python (-m pytest .*)$", GUIDE.read_text(), re.MULTILINE)
    assert command is not None
    run(extended, *command[1].split())


def test_the_blocks_read_as_the_code_should(extended: Path) -> None:
    for check in (["check"], ["format", "--check"]):
        run(extended, "-m", "ruff", *check, "--no-cache", "models", "tests")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```python\nx = 1\n```", "above a block must stand"),
        ("In `a.py`:\n\n```python\nx = 1\n```", "above a block must stand"),
        ("`a.py`, new:\n\n```python\nx = 1\n```", "a.py is not new"),
        ("`a.py`, before `y = 2`:\n\n```python\nx = 1\n```", "`y = 2` once, .* it 2 times"),
        ("`a.py`, before `z = 3`:\n\n```python\nx = 1\n```", "`z = 3` once, .* it 0 times"),
    ],
)
def test_a_block_that_cannot_be_applied_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.py").write_text("y = 2\n\n\nif y:\n    y = 2\n")

    with pytest.raises(GuideOutdated, match=message):
        follow(text, tmp_path)
