"""Addresses: from what a user writes to a store or to bytes."""

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from wsss_jobs.errors import ConfigError
from wsss_jobs.storage.local_store import LocalStore, read_local_file
from wsss_jobs.storage.object_store import ObjectStore

if TYPE_CHECKING:
    from wsss_jobs.storage.s3_client import S3Options


def open_store(uri: str | Path, options: "S3Options | None" = None) -> ObjectStore:
    """The store at an address: a path, `file:///path` or `s3://bucket/prefix`. Nothing is read or created yet.

    The S3 endpoint and region are taken from the environment of the process that opens the store and travel with it, so
    workers reach the same service.

    Raises:
        ConfigError: The scheme is unknown or the bucket is missing.
    """
    text = str(uri)
    if text.startswith("s3://"):
        from wsss_jobs.storage.s3_client import S3Options
        from wsss_jobs.storage.s3_store import S3Store

        bucket, prefix = _split_s3(text)
        return S3Store(bucket, prefix.strip("/"), options or S3Options.from_environment())
    return LocalStore(local_path(text).absolute())


def read_uri(uri: str, options: "S3Options | None" = None) -> bytes:
    """The bytes at an address: a path, `file:///path` or `s3://bucket/key`.

    Raises:
        ObjectNotFoundError: Nothing is there.
        ConfigError: The scheme is unknown.
    """
    if uri.startswith("s3://"):
        from wsss_jobs.storage.s3_client import S3Options
        from wsss_jobs.storage.s3_store import S3Store

        bucket, key = _split_s3(uri)
        return S3Store(bucket, "", options or S3Options.from_environment()).get(key)
    return read_local_file(local_path(uri))


def is_remote(uri: str) -> bool:
    """Whether the address is on another machine."""
    return uri.startswith("s3://")


def local_path(uri: str) -> Path:
    """The path of a local address. `file://` addresses are percent-decoded, plain paths are taken as they are.

    Raises:
        ConfigError: The address has a scheme other than `file`.
    """
    if uri.startswith("file://"):
        return Path(os.fsdecode(unquote_to_bytes(uri.removeprefix("file://").removeprefix("localhost"))))
    scheme, separator, _ = uri.partition("://")
    if separator and scheme.isalnum():
        raise ConfigError(f"{uri}: addresses of kind {scheme}:// are not supported; use a path, file:// or s3://")
    return Path(uri).expanduser()


def _split_s3(uri: str) -> tuple[str, str]:
    # Not urllib: `#` and `?` are ordinary characters of a key.
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise ConfigError(f"{uri}: the bucket is missing; write s3://bucket/prefix")
    return bucket, key
