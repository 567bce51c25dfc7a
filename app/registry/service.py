"""Naming, deleting and exporting models."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from app.errors import Conflict, Forbidden, Invalid
from app.http.parameters import LATEST
from app.registry import history, repository, versions
from app.registry.readme import readme
from app.storage import idempotency, removals
from app.storage.blobs import CHUNK, Blobs, artifacts_key
from app.storage.database import Database
from app.storage.tables import Alias, AliasChange, Model, ModelUsage
from models import artifacts
from models.objectives import OBJECTIVES
from models.serving.manifest import Manifest

# The files that are needed elsewhere. core.onnx is only for serving here.
EXPORTED = (artifacts.ONNX, artifacts.MANIFEST, artifacts.WEIGHTS, artifacts.OUT_OF_FOLD)
# A tested example, and the modules that it reads a CSV with, which also read uploads.
SCRIPT = resources.files("models.serving") / "standalone.py"
ANSWERS = "answers.py"
# What the script imports; another objective's takes its place.
REGRESSION_ANSWERS = "models.objectives.regression.standalone"
READER = ("header.py", "dialect.py", "quoting.py", "faults.py")


def manifest(model: Model, blobs: Blobs) -> Manifest:
    """The model's manifest; raises ArtifactCorrupt."""
    return Manifest.model_validate_json(read_file(model, blobs, artifacts.MANIFEST))


def read_file(model: Model, blobs: Blobs, name: str) -> bytes:
    """One of the model's small artifacts; raises ArtifactCorrupt."""
    return blobs.read_artifact(model.folder, name, model.artifacts[name])


def open_file(model: Model, blobs: Blobs, name: str) -> BinaryIO:
    """One of the model's artifacts, of any size; raises ArtifactCorrupt."""
    return blobs.open_artifact(model.folder, name, model.artifacts[name])


def put_alias(session: Session, tenant: str, name: str, reference: str, *, force: bool) -> Alias:
    """Point an alias at a model.

    Raises
    ------
    NotFound
    Invalid: the name already has another meaning.
    Conflict: the alias points at a model of another target, without `force`.
    """
    if name == LATEST:
        raise Invalid(f"'{LATEST}' always names the newest model. Use another alias.")
    if name.startswith(repository.ID_PREFIX):
        raise Invalid(f"An alias must not begin with '{repository.ID_PREFIX}' like a model's id.")
    model = repository.get(session, tenant, reference)
    return history.point(session, tenant, name, model, force=force)


def require_may_move(session: Session, tenant: str, name: str, *, is_admin: bool) -> bool:
    """Whether the alias is protected; raises Forbidden if it is and only admins may move it."""
    alias = session.get(Alias, (tenant, name))
    is_protected = alias is not None and alias.protected
    if is_protected and not is_admin:
        raise Forbidden(f"The alias '{name}' is protected: only admins move or delete it.")
    return is_protected


def protect(session: Session, tenant: str, name: str, *, protected: bool) -> Alias:
    """Raises NotFound."""
    alias = repository.alias(session, tenant, name)
    alias.protected = protected
    session.flush()
    return alias


def roll_back(
    database: Database, tenant: str, name: str, key: str | None, if_match: str | None
) -> AliasChange:
    """Roll an alias back one step; returns the change. A repeated request returns the first one.

    Raises
    ------
    NotFound, IdempotencyMismatch
    PreconditionFailed: the alias has another version than `if_match`.
    Conflict: there is no step left, or another request moved the alias while this one waited.
    """
    request = idempotency.fingerprint("POST /v1/aliases/{alias}/rollback", name)
    with database.reading() as session:
        known = idempotency.recall(session, tenant, key, request)
        if known is not None:
            return session.get_one(AliasChange, int(known))
        seen = repository.version(session, tenant, name)
    with database.writing() as session:
        # Concurrent requests wait for each other here, then check the version again.
        repository.lock_alias(session, tenant, name)

        def step() -> str:
            versions.require(session, tenant, name, if_match)
            if repository.version(session, tenant, name) != seen:
                raise Conflict(
                    f"Another request moved '{name}' while this one waited. Check where it points "
                    "now, and roll back again if you still want to."
                )
            return str(history.roll_back(session, tenant, name).id)

        made = idempotency.once(session, tenant, key, request, step)
        return session.get_one(AliasChange, int(made))


def delete(session: Session, tenant: str, reference: str) -> None:
    """Delete the row, and record its files for removal.

    Raises
    ------
    NotFound
    Conflict: an alias points at it.
    """
    model = repository.get(session, tenant, reference)
    names = repository.alias_names(session, [model.id]).get(model.id)
    if names:
        raise Conflict(
            f"Model {model.id} has the alias {' and '.join(names)}. Point it at another model, or "
            "delete it, first."
        )
    session.execute(delete_rows(ModelUsage).where(ModelUsage.model_id == model.id))
    removals.write_down(session, artifacts_key(model.folder))
    session.delete(model)


def export_zip(model: Model, blobs: Blobs) -> BinaryIO:
    """The export as a temporary file, at its start; it is deleted when it is closed.

    Raises
    ------
    ArtifactCorrupt
    """
    with ExitStack() as unless_it_fails:
        target = unless_it_fails.enter_context(tempfile.TemporaryFile())
        with zipfile.ZipFile(target, "w") as archive:
            objective = OBJECTIVES[manifest(model, blobs).task]
            archive.writestr("README.txt", readme(objective.guide))
            answering = objective.standalone
            for name, module in [("predict.py", SCRIPT), *_modules(answering)]:
                archive.writestr(name, _beside_each_other(module, answering))
            for name in READER:
                module = resources.files("models.tables") / name
                archive.writestr(name, _beside_each_other(module, answering))
            for name in EXPORTED:
                with (
                    open_file(model, blobs, name) as source,
                    archive.open(name, "w", force_zip64=True) as member,
                ):
                    shutil.copyfileobj(source, member, CHUNK)
        target.seek(0)
        unless_it_fails.pop_all()
    return target


def _modules(names: Sequence[str]) -> Iterator[tuple[str, Traversable]]:
    """The files of an objective's modules: the first is `answers.py`."""
    for place, name in enumerate(names):
        package, _, module = name.rpartition(".")
        file = f"{module}.py"
        yield (file if place else ANSWERS), resources.files(package) / file


def _beside_each_other(module: Traversable, answering: Sequence[str]) -> str:
    """A module's source with its imports changed to modules in the same folder."""
    text = module.read_text(encoding="utf-8").replace("from models.tables.", "from ")
    text = text.replace(f"from {REGRESSION_ANSWERS} import", f"from {Path(ANSWERS).stem} import")
    for name in answering[1:]:
        text = text.replace(f"from {name} import", f"from {name.rpartition('.')[2]} import")
    return text
