"""A bucket prefix of S3, or of a service that speaks S3, as an object store."""

import hashlib
import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from wsss_jobs.storage.local_store import whole_file
from wsss_jobs.storage.object_store import ObjectInfo, ObjectNotFoundError, TornObjectError, check_key
from wsss_jobs.storage.observation import timed
from wsss_jobs.storage.s3_client import S3Options, s3_client
from wsss_jobs.storage.s3_deletion import delete_batch
from wsss_jobs.storage.s3_errors import error_code, s3_errors
from wsss_jobs.storage.s3_retries import BROKEN_ANSWER, BrokenAnswerError, retrying

_DELETE_BATCH = 1000  # most keys that one DeleteObjects request takes
_PARTS_WORTH_IT = 4  # smaller objects are sent in one request, which is cheaper than the four of two parts
_PARTS_AT_A_TIME = 4
_SHA256 = "wsss-sha256"  # metadata of every object that we write
_LOST_RACE = frozenset({"PreconditionFailed", "412"})
_CONDITION_UNSUPPORTED = frozenset({"NotImplemented", "501", "ConditionalRequestConflict", "409"})


@dataclass(frozen=True)
class S3Store:
    """Objects of `bucket` below `prefix` (no slash at either end; may be empty).

    Every object carries the SHA-256 of its bytes, taken before they leave the writer and checked by each reader.
    """

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
        with timed("get"), s3_errors(self.options, self.bucket, full):
            return retrying("get", self.options, lambda: self._get(full))

    def put(self, key: str, data: bytes) -> None:
        """Write or replace an object: one request, or several parts that become visible together."""
        full = self._full(check_key(key))
        with timed("put"), s3_errors(self.options, self.bucket, full):
            digest = hashlib.sha256(data).hexdigest()
            if len(data) < _PARTS_WORTH_IT * self.options.part_bytes:
                retrying("put", self.options, lambda: self._put(full, data, digest))
            else:
                retrying("put", self.options, lambda: self._put_parts(full, lambda: io.BytesIO(data), digest))

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write unless the object exists; whether it was written.

        False also where an earlier try of this very call was done but its answer lost: the bytes are stored either way.
        """
        full = self._full(check_key(key))
        digest = hashlib.sha256(data).hexdigest()
        with timed("put"), s3_errors(self.options, self.bucket, full):
            try:
                retrying("put", self.options, lambda: self._put(full, data, digest, IfNoneMatch="*"))
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
        with timed("exists"), s3_errors(self.options, self.bucket, full):
            try:
                self._metadata(full)
            except ClientError as error:
                if error_code(error) != "404":
                    raise
            else:
                return True
        self._check_bucket()  # the answer to HEAD does not say which of the two is missing
        return False

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """The objects whose key starts with `prefix`, in key order."""
        start = f"{self.prefix}/" if self.prefix else ""
        with s3_errors(self.options, self.bucket, start + prefix):
            pages = s3_client(self.options).get_paginator("list_objects_v2")
            remaining = iter(pages.paginate(Bucket=self.bucket, Prefix=start + prefix))
            while True:
                with timed("list"):
                    page = next(remaining, None)
                if page is None:
                    return
                for entry in page.get("Contents", []):
                    if not entry["Key"].endswith("/"):  # consoles make empty objects to show folders
                        yield ObjectInfo(entry["Key"][len(start) :], entry["Size"])

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects, up to 1,000 a request."""
        remaining = iter(keys)
        while batch := [self._full(key) for key in itertools.islice(remaining, _DELETE_BATCH)]:
            with timed("delete"), s3_errors(self.options, self.bucket, batch[0]):
                delete_batch(self.options, self.bucket, batch)

    def child(self, prefix: str) -> "S3Store":
        """The same store seen from `prefix`."""
        return S3Store(self.bucket, self._full(check_key(prefix.rstrip("/"))), self.options)

    def arrow_filesystem(self) -> tuple[Any, str]:
        """Arrow's S3 file system and `bucket/prefix`."""
        from wsss_jobs.storage.arrow_s3 import arrow_s3_filesystem

        return arrow_s3_filesystem(self.options), f"{self.bucket}/{self.prefix}".rstrip("/")

    def download(self, key: str, path: Path) -> None:
        """Copy an object to a local file, large ones in parts."""
        full = self._full(key)
        try:
            with timed("download"), s3_errors(self.options, self.bucket, full), whole_file(path) as temporary:
                retrying("download", self.options, lambda: self._download(full, temporary))
        except ObjectNotFoundError:
            self._check_bucket()
            raise

    def upload(self, path: Path, key: str) -> None:
        """Copy a local file to an object, in parts when it is large."""
        if not path.is_file():
            raise ObjectNotFoundError(f"{path}: no such file to store as {key!r}")
        full = self._full(check_key(key))
        with timed("upload"), s3_errors(self.options, self.bucket, full):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            retrying("upload", self.options, lambda: self._put_parts(full, lambda: path.open("rb"), digest))

    def _full(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _get(self, full: str) -> bytes:
        answer = s3_client(self.options).get_object(Bucket=self.bucket, Key=full)
        try:
            data = answer["Body"].read()
        except BROKEN_ANSWER as error:
            raise BrokenAnswerError from error
        self._check_digest(full, answer["Metadata"], hashlib.sha256(data).hexdigest())
        return data

    def _put(self, full: str, data: bytes, digest: str, **condition: Any) -> None:
        arguments: dict[str, Any] = self.options.encryption_arguments() | condition
        if self.options.encryption == "kms":
            arguments["BucketKeyEnabled"] = True  # small objects then do not cost a request to KMS each
        s3_client(self.options).put_object(
            Bucket=self.bucket, Key=full, Body=data, Metadata={_SHA256: digest}, **arguments
        )

    def _put_parts(self, full: str, open_file: Callable[[], IO[bytes]], digest: str) -> None:
        extra = {"Metadata": {_SHA256: digest}, **self.options.encryption_arguments()}
        with open_file() as file:  # anew for each try: boto3 closes what it has sent
            s3_client(self.options).upload_fileobj(
                file, self.bucket, full, ExtraArgs=extra, Config=_transfer(self.options)
            )

    def _download(self, full: str, path: Path) -> None:
        metadata = self._metadata(full)
        client = s3_client(self.options)
        with path.open("w+b") as file:
            client.download_fileobj(self.bucket, full, file, Config=_transfer(self.options))
            file.seek(0)
            self._check_digest(full, metadata, hashlib.file_digest(file, "sha256").hexdigest())

    def _check_digest(self, full: str, metadata: dict[str, str], found: str) -> None:
        written = metadata.get(_SHA256)
        if written is not None and written != found:
            hint = "`wsss verify --repair` removes damaged results"
            message = f"has SHA-256 {found}, was written with {written}: damaged on the way or in the store"
            raise TornObjectError(f"s3://{self.bucket}/{full}: {message}; {hint}")

    def _metadata(self, full: str) -> dict[str, str]:
        client = s3_client(self.options)
        try:
            return client.head_object(Bucket=self.bucket, Key=full)["Metadata"]
        except ClientError as error:
            if error_code(error) != "404":
                # An answer to HEAD has no body, so it does not say why it refuses; the same request by GET does.
                client.get_object(Bucket=self.bucket, Key=full, Range="bytes=0-0")
            raise

    def _check_bucket(self) -> None:
        with s3_errors(self.options, self.bucket):
            try:
                s3_client(self.options).head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if error_code(error) == "404":
                    error.response["Error"]["Code"] = "NoSuchBucket"
                raise


def _transfer(options: S3Options) -> TransferConfig:
    return TransferConfig(
        multipart_threshold=_PARTS_WORTH_IT * options.part_bytes,
        multipart_chunksize=options.part_bytes,
        max_concurrency=_PARTS_AT_A_TIME,
        num_download_attempts=options.max_attempts,
    )
