"""Files are checked by their hash before anything of them is used, in a folder and elsewhere."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import pytest
from house_api import manifest

from app.registry import service
from app.storage.blobs import ArtifactCorrupt, Blobs
from app.storage.tables import Model
from models import artifacts

MIB = 1024**2


@pytest.fixture(params=["folder", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "folder":
        return Blobs(str(tmp_path / "storage"))
    return Blobs(request.getfixturevalue("s3_url"))


def test_a_file_is_what_was_stored(blobs: Blobs, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"a table")
    blobs.put("datasets/a", source)
    sha256 = hashlib.sha256(b"a table").hexdigest()
    for known in (sha256, None):
        with blobs.local_copy("datasets/a", known) as path:
            assert path.read_bytes() == b"a table"
    with blobs.open_checked("datasets/a", sha256) as file:
        assert file.read() == b"a table"


def test_names_of_a_folder_until_it_is_removed(blobs: Blobs, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("a", "b"):
        source.write_text(name)
        blobs.put(f"datasets/ds/{name}", source)
    blobs.put("datasets/other/a", source)
    source.write_text("again")
    blobs.put("datasets/ds/a", source)
    assert sorted(blobs.names("datasets/ds")) == ["a", "b"]
    with blobs.open("datasets/ds/a") as file:
        assert file.read() == b"again"
    for _ in range(2):
        blobs.delete("datasets/ds")
    assert not blobs.exists("datasets/ds/a")
    assert blobs.names("datasets/ds") == []
    assert blobs.names("datasets/other") == ["a"]


@pytest.mark.parametrize("key", ["datasets/other", "datasets/missing"])
def test_a_file_that_is_another_or_missing(blobs: Blobs, tmp_path: Path, key: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"another table")
    blobs.put("datasets/other", source)
    sha256 = hashlib.sha256(b"a table").hexdigest()
    with pytest.raises(ArtifactCorrupt, match=key), blobs.local_copy(key, sha256):
        pass
    with pytest.raises(ArtifactCorrupt, match=key):
        blobs.open_checked(key, sha256)
    missing = "datasets/missing"
    with pytest.raises(ArtifactCorrupt, match=missing), blobs.local_copy(missing, None):
        pass


def test_an_export_holds_no_file_in_memory(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path / "storage"))
    hashes = {}
    for name in service.EXPORTED:
        if name == artifacts.MANIFEST:
            (tmp_path / name).write_text(manifest().model_dump_json())
        else:
            with (tmp_path / name).open("wb") as file:
                file.truncate(48 * MIB if name == artifacts.ONNX else 10)
        hashes[name] = blobs.put_artifact("job_1", tmp_path / name)
    model = Model(id="mdl_1", job_id="job_1", artifacts=hashes)
    tracemalloc.start()
    try:
        service.export_zip(model, blobs).close()
        service.open_file(model, blobs, artifacts.ONNX).close()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB
