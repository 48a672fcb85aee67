"""S3 connections: one client a process, and errors that say what to check."""

import contextlib
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from urllib3.exceptions import HTTPError

from wsss_jobs.errors import StorageError
from wsss_jobs.storage.object_store import AccessDeniedError, ObjectNotFoundError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_NOT_FOUND = frozenset({"NoSuchKey", "404", "NotFound"})
_REFUSED = frozenset({"AccessDenied", "403", "Forbidden", "AllAccessDisabled"})
_BAD_CREDENTIALS = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "RequestTimeTooSkewed"}
)


@dataclass(frozen=True, slots=True)
class S3Options:
    """How to reach S3. Credentials are not among them: each process finds its own by AWS's usual chain.

    Args:
        endpoint_url: Address of an S3-compatible service, which is then asked for buckets by path; None is AWS.
        region: Region that requests are signed for; None lets boto3 decide.
        max_attempts: Tries of one request, the first included, with random pauses of up to 1, 2, 4, ... s between.
        connect_timeout_s: Longest wait for a connection.
        read_timeout_s: Longest silence within an answer.
        max_connections: Connections of one process, shared by its threads.
    """

    endpoint_url: str | None = None
    region: str | None = None
    max_attempts: int = 5
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 60.0
    max_connections: int = 32

    @classmethod
    def from_environment(cls) -> "S3Options":
        """Options with the endpoint and region of `AWS_ENDPOINT_URL[_S3]` and `AWS_[DEFAULT_]REGION`."""
        return cls(
            endpoint_url=os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
            region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        )


def s3_client(options: S3Options) -> "S3Client":
    """This process's client for these options; its threads share it."""
    return _client(options, os.getpid())


@functools.lru_cache(maxsize=8)
def _client(options: S3Options, _process_id: int) -> "S3Client":
    # boto3's default session is not safe to share between threads while a client is made, so each client has its own.
    return boto3.session.Session().client(
        "s3", endpoint_url=options.endpoint_url, region_name=options.region, config=_client_config(options)
    )


def _client_config(options: S3Options) -> Config:
    config = Config(
        retries={"mode": "adaptive", "total_max_attempts": options.max_attempts},
        connect_timeout=options.connect_timeout_s,
        read_timeout=options.read_timeout_s,
        max_pool_connections=options.max_connections,
    )
    if options.endpoint_url is None:
        return config
    # Services other than AWS often know neither bucket host names nor the newer checksum trailers.
    compatible = Config(
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return config.merge(compatible)


@contextlib.contextmanager
def s3_errors(options: S3Options, bucket: str, key: str = "") -> Iterator[None]:
    """Turns what boto3 raises into a `StorageError` that names the object, the endpoint and what to check."""
    where = f"s3://{bucket}/{key} at {options.endpoint_url or 'AWS'}"
    try:
        yield
    except ClientError as error:
        raise _from_answer(error, where, bucket) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StorageError(f"{where}: no complete credentials ({error}); set AWS_ACCESS_KEY_ID and the like") from error
    except (BotoConnectionError, HTTPClientError, HTTPError) as error:
        hint = "check AWS_ENDPOINT_URL, the network and that the service runs"
        raise StorageError(f"{where}: no connection after {options.max_attempts} tries ({error}); {hint}") from error
    except OSError as error:
        raise StorageError(f"{where}: local file trouble ({error}); check free space and permissions here") from error
    except (BotoCoreError, ValueError) as error:
        raise StorageError(f"{where}: {error}; check the bucket's name, the endpoint and the AWS settings") from error


def error_code(error: ClientError) -> str:
    """The service's code for what went wrong, such as `NoSuchKey`; the HTTP status where there is none."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _from_answer(error: ClientError, where: str, bucket: str) -> StorageError:
    code = error_code(error)
    message = error.response.get("Error", {}).get("Message", "")
    if code in _NOT_FOUND:
        return ObjectNotFoundError(f"{where}: no such object")
    if code == "NoSuchBucket":
        return StorageError(f"{where}: bucket {bucket!r} does not exist; check the name and the endpoint, or create it")
    if code in _REFUSED:
        return AccessDeniedError(f"{where}: access denied; check what these credentials are allowed to do there")
    if code in _BAD_CREDENTIALS:
        return StorageError(
            f"{where}: credentials refused ({code}); check AWS_ACCESS_KEY_ID and the like, and the clock"
        )
    return StorageError(f"{where}: {code} ({message}); check the region, the service's state and its quotas")
