"""Stores of three kinds: a folder, moto's server, and OpenStack Swift, which checks signatures and hashes."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from swift_server import swift_server

from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.uris import open_store


@pytest.fixture(scope="session")
def swift_endpoint(s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an OpenStack Swift process that speaks S3; takes the credentials that `s3_endpoint` sets."""
    with swift_server(tmp_path_factory.mktemp("swift")) as endpoint:
        yield endpoint


@pytest.fixture
def swift_bucket(swift_endpoint: str) -> str:
    """The name of a fresh, empty bucket of Swift."""
    return new_bucket(swift_endpoint)


@pytest.fixture(params=["local", "s3", "swift"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """An empty object store: a folder, then a bucket prefix on each of the servers."""
    if request.param == "local":
        return open_store(tmp_path / "store")
    if request.param == "s3":
        return open_store(f"s3://{request.getfixturevalue('s3_bucket')}/some/prefix")
    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("swift_endpoint"))
    return open_store(f"s3://{request.getfixturevalue('swift_bucket')}/some/prefix")


def new_bucket(endpoint: str) -> str:
    """The name of a bucket that has just been made."""
    name = f"bucket-{uuid.uuid4().hex}"
    boto3.session.Session().client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=name)
    return name
