"""A bucket prefix of S3, or of a service that speaks S3, as an object store."""

import io
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError

from wsss_jobs.errors import StorageError
from wsss_jobs.storage.local_store import whole_file
from wsss_jobs.storage.object_store import ObjectInfo, ObjectNotFoundError, check_key
from wsss_jobs.storage.s3_client import S3Options, error_code, s3_client, s3_errors

_DELETE_BATCH = 1000  # most keys that one DeleteObjects request takes
_READ_ATTEMPTS = 3  # boto3 retries requests, but not an answer that breaks off
_MULTIPART_BYTES = 64 << 20
_TRANSFER = TransferConfig(multipart_threshold=_MULTIPART_BYTES, multipart_chunksize=16 << 20, max_concurrency=4)
_LOST_RACE = frozenset({"PreconditionFailed", "412"})
_CONDITION_UNSUPPORTED = frozenset({"NotImplemented", "501", "ConditionalRequestConflict", "409"})


@dataclass(frozen=True)
class S3Store:
    """Objects of `bucket` below `prefix` (no slash at either end; may be empty)."""

    bucket: str
    prefix: str
    options: S3Options

    @property
    def uri(self) -> str:
        """The `s3://` address."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def uri_of(self, key: str) -> str:
        """The `s3://` address of an object."""
        return f"s3://{self.bucket}/{self._full(key)}"

    def get(self, key: str) -> bytes:
        """The object's bytes."""
        full = self._full(key)
        with s3_errors(self.options, self.bucket, full):
            for attempt in itertools.count(1):
                answer = s3_client(self.options).get_object(Bucket=self.bucket, Key=full)
                try:
                    return answer["Body"].read()
                except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
                    if attempt == _READ_ATTEMPTS:
                        raise
        raise AssertionError("the loop ends by a return or an error")

    def put(self, key: str, data: bytes) -> None:
        """Write or replace an object: one request, or several parts that become visible together."""
        full = self._full(check_key(key))
        with s3_errors(self.options, self.bucket, full):
            if len(data) < _MULTIPART_BYTES:
                s3_client(self.options).put_object(Bucket=self.bucket, Key=full, Body=data)
            else:
                s3_client(self.options).upload_fileobj(io.BytesIO(data), self.bucket, full, Config=_TRANSFER)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write unless the object exists; whether it was written."""
        full = self._full(check_key(key))
        with s3_errors(self.options, self.bucket, full):
            try:
                s3_client(self.options).put_object(Bucket=self.bucket, Key=full, Body=data, IfNoneMatch="*")
            except ClientError as error:
                if error_code(error) in _LOST_RACE:
                    return False
                if error_code(error) not in _CONDITION_UNSUPPORTED:
                    raise
            else:
                return True
        if self.exists(key):
            return False
        self.put(key, data)
        return True

    def exists(self, key: str) -> bool:
        """Whether the object exists."""
        full = self._full(key)
        try:
            with s3_errors(self.options, self.bucket, full):
                s3_client(self.options).head_object(Bucket=self.bucket, Key=full)
        except ObjectNotFoundError:
            self._check_bucket()  # the answer to HEAD does not say which of the two is missing
            return False
        return True

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """The objects whose key starts with `prefix`, in key order."""
        start = f"{self.prefix}/" if self.prefix else ""
        with s3_errors(self.options, self.bucket, start + prefix):
            pages = s3_client(self.options).get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=start + prefix):
                for entry in page.get("Contents", []):
                    if not entry["Key"].endswith("/"):  # consoles make empty objects to show folders
                        yield ObjectInfo(entry["Key"][len(start) :], entry["Size"])

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects, up to 1,000 a request."""
        remaining = iter(keys)
        while batch := [self._full(key) for key in itertools.islice(remaining, _DELETE_BATCH)]:
            with s3_errors(self.options, self.bucket, batch[0]):
                answer = s3_client(self.options).delete_objects(
                    Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True}
                )
            for error in answer.get("Errors", []):
                raise StorageError(f"s3://{self.bucket}/{error.get('Key')}: not deleted: {error.get('Message')}")

    def child(self, prefix: str) -> "S3Store":
        """The same store seen from `prefix`."""
        return S3Store(self.bucket, self._full(check_key(prefix.rstrip("/"))), self.options)

    def arrow_filesystem(self) -> tuple[Any, str]:
        """Arrow's S3 file system and `bucket/prefix`."""
        from pyarrow import fs

        scheme, _, host = (self.options.endpoint_url or "https://").partition("://")
        filesystem = fs.S3FileSystem(
            endpoint_override=host.rstrip("/") or None,
            scheme=scheme,
            region=self.options.region,
            connect_timeout=self.options.connect_timeout_s,
            request_timeout=self.options.read_timeout_s,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=self.options.max_attempts),
            allow_delayed_open=True,
        )
        return filesystem, f"{self.bucket}/{self.prefix}".rstrip("/")

    def download(self, key: str, path: Path) -> None:
        """Copy an object to a local file."""
        full = self._full(key)
        with s3_errors(self.options, self.bucket, full), whole_file(path) as temporary:
            s3_client(self.options).download_file(self.bucket, full, os.fspath(temporary), Config=_TRANSFER)

    def upload(self, path: Path, key: str) -> None:
        """Copy a local file to an object, in parts when it is large."""
        if not path.is_file():
            raise ObjectNotFoundError(f"{path}: no such file to store as {key!r}")
        full = self._full(check_key(key))
        with s3_errors(self.options, self.bucket, full):
            s3_client(self.options).upload_file(os.fspath(path), self.bucket, full, Config=_TRANSFER)

    def _full(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _check_bucket(self) -> None:
        with s3_errors(self.options, self.bucket):
            try:
                s3_client(self.options).head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if error_code(error) == "404":
                    error.response["Error"]["Code"] = "NoSuchBucket"
                raise
