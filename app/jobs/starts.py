"""The model that a run starts from: found, checked against the spec, and fetched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from app.errors import Fault, InvalidSpec, NotFound
from app.registry import repository
from app.storage.blobs import Blobs
from app.storage.tables import Dataset, Model
from models import artifacts
from models.artifacts import EarlierModel
from models.serving.manifest import Manifest
from models.spec import TrainingSpec

POINTER = "/initialize_from"


@dataclass(frozen=True)
class Start:
    """A model, the folder of its artifacts and their SHA-256 by name, and its table's key in
    storage."""

    model_id: str
    folder: str
    artifacts: dict[str, str]
    parquet: str
    parquet_sha256: str | None

    @classmethod
    def of(cls, session: Session, model: Model) -> Start:
        dataset = session.get_one(Dataset, model.dataset_id)
        return cls(model.id, model.folder, model.artifacts, dataset.parquet, dataset.parquet_sha256)


def find(session: Session, tenant: str, reference: str) -> Start:
    """The model with this id or alias.

    Raises
    ------
    NotFound
    InvalidSpec: an earlier version made it, without the roles of its rows.
    """
    try:
        model = repository.get(session, tenant, reference)
    except NotFound as error:
        error.errors = [Fault(pointer=POINTER, detail=error.detail)]
        raise
    if artifacts.ROLES not in model.artifacts:
        raise refusal(
            f"{model.id} is of an earlier version, which did not record the rows that each fold "
            "has learnt from: train it again first"
        )
    return Start.of(session, model)


def of_resolved(session: Session, tenant: str, spec: dict[str, Any]) -> Start | None:
    """That of a resolved spec; None if it has none, or the model has been deleted."""
    model = session.get(Model, spec.get("initialize_from") or "")
    return Start.of(session, model) if model is not None and model.tenant == tenant else None


def manifest_of(start: Start, blobs: Blobs) -> Manifest:
    """Raises ArtifactCorrupt."""
    sha256 = start.artifacts[artifacts.MANIFEST]
    data = blobs.read_artifact(start.folder, artifacts.MANIFEST, sha256)
    return Manifest.model_validate_json(data)


def spec_of(manifest: Manifest) -> TrainingSpec:
    """The resolved spec of a model; raises InvalidSpec if this version does not take it."""
    try:
        return TrainingSpec.model_validate(manifest.spec)
    except ValidationError:
        raise refusal(
            "the spec of this model is not valid in this version: train it again first"
        ) from None


def refusal(detail: str) -> InvalidSpec:
    return InvalidSpec(f"{detail}.", [Fault(pointer=POINTER, detail=detail)])


@contextmanager
def fetched(start: Start, blobs: Blobs) -> Iterator[EarlierModel]:
    """The model with its files on this machine; raises ArtifactCorrupt."""
    with ExitStack() as stack:
        weights, roles = (
            stack.enter_context(blobs.local_artifact(start.folder, name, start.artifacts[name]))
            for name in (artifacts.WEIGHTS, artifacts.ROLES)
        )
        parquet = stack.enter_context(blobs.local_copy(start.parquet, start.parquet_sha256))
        manifest = manifest_of(start, blobs)
        yield manifest.earlier_model(start.model_id, weights, roles, parquet)
