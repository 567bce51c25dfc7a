"""The API and a worker that keep their files on S3, from a table to a backup."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import boto3
import pytest
from stack import SHORT, embedded, running
from worker_process import FOLDHOUSE, environment

from app.cli.doctor import Trouble, storage

pytestmark = pytest.mark.acceptance

ENCRYPTED = {"s3_additional_kwargs": {"ServerSideEncryption": "AES256"}}


def test_a_job_on_s3_from_upload_to_backup(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FSSPEC_S3", json.dumps(ENCRYPTED))  # as docs/operating.md has it
    settings = embedded(tmp_path, storage_url=s3_url)
    with running(settings) as stack:
        stack.upload()
        job = stack.submit(SHORT)
        with stack.worker():
            model = stack.wait(job, "succeeded", "failed")["result"]["model_id"]
        assert stack.price(model) > 0
    assert not (settings.root / "storage").exists()
    bucket = boto3.resource("s3").Bucket("houses")
    found = bucket.objects.filter(Prefix=s3_url.rpartition("/")[2])
    stored = {each.key.partition("/")[2]: bucket.Object(each.key) for each in found}
    assert {each.server_side_encryption for each in stored.values()} == {"AES256"}

    # It checks the hash of each file that it copies.
    backup = tmp_path / "backup"
    subprocess.run([FOLDHOUSE, "backup", backup], env=environment(settings), check=True)
    copied = backup / "storage"
    paths = {str(path.relative_to(copied)) for path in copied.rglob("*") if path.is_file()}
    assert paths
    assert paths <= stored.keys()


def test_a_bucket_that_is_not_there_is_reported(s3_url: str, tmp_path: Path) -> None:
    settings = embedded(tmp_path, storage_url=s3_url.replace("houses", "nowhere"))
    with pytest.raises(Trouble) as trouble:
        storage(settings)
    assert "bucket does not exist" in trouble.value.what
