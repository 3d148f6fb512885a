"""The host's backup program, run here: a real S3 API, and databases as the API's own storage makes them."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from comentarios_backup.settings import Settings
from moto.server import ThreadedMotoServer
from postgres import Postgres

BUCKET = "comentarios-123456789012-us-east-1-backup"


@pytest.fixture(scope="session")
def s3() -> Iterator[object]:
    """A client of an S3 API that nothing else uses, with the bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        patch.setenv(name, value)
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    yield client
    patch.undo()
    server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres.create()
    yield server
    server.remove()


@pytest.fixture
def settings(tmp_path, s3) -> Iterator[Settings]:
    """A host's settings with an empty place in the bucket."""
    (tmp_path / "data").mkdir()
    yield Settings(
        bucket=BUCKET,
        prefix=f"{tmp_path.name}/",
        region="us-east-1",
        database_url="",
        sqlite_file=tmp_path / "data" / "comentarios.db",
        work_dir=tmp_path / "work",
        stack_dir=tmp_path,
        metrics_file=tmp_path / "backup.prom",
    )
