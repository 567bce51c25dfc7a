"""Naming, deleting and exporting models."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from contextlib import ExitStack
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from app.errors import Conflict, Invalid
from app.http.parameters import LATEST
from app.registry import history, repository, versions
from app.storage import idempotency, removals
from app.storage.blobs import CHUNK, Blobs, artifacts_key
from app.storage.database import Database
from app.storage.tables import Alias, AliasChange, Model, ModelUsage
from models import artifacts
from models.objectives import OBJECTIVES
from models.serving.manifest import Manifest

# What is needed elsewhere: core.onnx is for serving here.
EXPORTED = (artifacts.ONNX, artifacts.MANIFEST, artifacts.WEIGHTS, artifacts.OUT_OF_FOLD)
# An example that is tested, and what it reads a CSV with: the modules that uploads are read with.
SCRIPT = resources.files("models.serving") / "standalone.py"
ANSWERS = "answers.py"
READER = ("header.py", "dialect.py", "quoting.py", "faults.py")

README = """\
predict.py           Prices the rows of a CSV file, each with an interval that holds 90 % of the
                     truths, with numpy and onnxruntime alone; to be read and changed:

                         python predict.py houses.csv > prices.csv

answers.py           What it makes of the model's numbers.
header.py and the    How it reads a CSV: exactly as the service does.
three that it needs

model.onnx           The model, preprocessing included, for any ONNX runtime. One input a column,
                     [N, 1]: double (NaN is missing) or string (empty is missing). Outputs:
                     value [N] and members [K, N], on the scale of the target.
manifest.json        Its columns, their levels and ranges, its metrics, what it was trained with,
                     and the scores from which intervals follow.
weights.safetensors  Its weights by name.
oof.parquet          The out-of-fold predictions that its metrics were computed from.
"""


def manifest(model: Model, blobs: Blobs) -> Manifest:
    """What the model says of itself; raises ArtifactCorrupt."""
    return Manifest.model_validate_json(read_file(model, blobs, artifacts.MANIFEST))


def read_file(model: Model, blobs: Blobs, name: str) -> bytes:
    """One of the model's small artifacts; raises ArtifactCorrupt."""
    return blobs.read_artifact(model.folder, name, model.artifacts[name])


def open_file(model: Model, blobs: Blobs, name: str) -> BinaryIO:
    """One of the model's artifacts, of whatever size; raises ArtifactCorrupt."""
    return blobs.open_artifact(model.folder, name, model.artifacts[name])


def put_alias(session: Session, tenant: str, name: str, reference: str, *, force: bool) -> Alias:
    """Point an alias at a model.

    Raises
    ------
    NotFound
    Invalid: the name means another model already.
    Conflict: the alias points at a model of another target, and there is no `force`.
    """
    if name == LATEST:
        raise Invalid(f"'{LATEST}' is the newest model always: take another name for the alias.")
    if name.startswith(repository.ID_PREFIX):
        raise Invalid(f"An alias must not begin with '{repository.ID_PREFIX}', as models' ids do.")
    model = repository.get(session, tenant, reference)
    return history.point(session, tenant, name, model, force=force)


def roll_back(
    database: Database, tenant: str, name: str, key: str | None, if_match: str | None
) -> AliasChange:
    """Point an alias a step back; gives the step, of a repeated request the one it took first.

    Raises
    ------
    NotFound, IdempotencyMismatch
    PreconditionFailed: the alias is at another version than `if_match`.
    Conflict: there is no step left, or another request moved the alias while this one waited.
    """
    request = idempotency.fingerprint("POST /v1/aliases/{alias}/rollback", name)
    with database.reading() as session:
        known = idempotency.recall(session, tenant, key, request)
        if known is not None:
            return session.get_one(AliasChange, int(known))
        seen = repository.version(session, tenant, name)
    with database.writing() as session:
        # Requests wait for each other here, and then look again.
        repository.lock_alias(session, tenant, name)

        def step() -> str:
            versions.require(session, tenant, name, if_match)
            if repository.version(session, tenant, name) != seen:
                raise Conflict(
                    f"Another request moved '{name}' while this one waited: look where it points "
                    "now, and roll back again if you still want to."
                )
            return str(history.roll_back(session, tenant, name).id)

        made = idempotency.once(session, tenant, key, request, step)
        return session.get_one(AliasChange, int(made))


def delete(session: Session, tenant: str, reference: str) -> None:
    """Delete the row; its files are written down as removals.

    Raises
    ------
    NotFound
    Conflict: an alias points at it.
    """
    model = repository.get(session, tenant, reference)
    names = repository.alias_names(session, [model.id]).get(model.id)
    if names:
        raise Conflict(
            f"Model {model.id} has the alias {' and '.join(names)}: point that at another model or "
            "delete it first."
        )
    session.execute(delete_rows(ModelUsage).where(ModelUsage.model_id == model.id))
    removals.write_down(session, artifacts_key(model.folder))
    session.delete(model)


def export_zip(model: Model, blobs: Blobs) -> BinaryIO:
    """A temporary file, at its beginning, that vanishes when it is closed.

    Raises
    ------
    ArtifactCorrupt
    """
    with ExitStack() as unless_it_fails:
        target = unless_it_fails.enter_context(tempfile.TemporaryFile())
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr("README.txt", README)
            archive.writestr("predict.py", _beside_each_other(SCRIPT))
            archive.writestr(ANSWERS, _answers(manifest(model, blobs)))
            for name in READER:
                archive.writestr(name, _beside_each_other(resources.files("models.tables") / name))
            for name in EXPORTED:
                with (
                    open_file(model, blobs, name) as source,
                    archive.open(name, "w", force_zip64=True) as member,
                ):
                    shutil.copyfileobj(source, member, CHUNK)
        target.seek(0)
        unless_it_fails.pop_all()
    return target


def _beside_each_other(module: Traversable) -> str:
    """The module's text where those that it imports lie in its own folder."""
    text = module.read_text(encoding="utf-8").replace("from models.tables.", "from ")
    return re.sub(r"from models\.objectives\..* import", f"from {Path(ANSWERS).stem} import", text)


def _answers(manifest: Manifest) -> str:
    package, _, module = OBJECTIVES[manifest.task].standalone.rpartition(".")
    return _beside_each_other(resources.files(package) / f"{module}.py")
