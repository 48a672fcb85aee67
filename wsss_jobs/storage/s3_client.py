"""S3 connections: one client a process, with retries, encryption and checksums as the options say."""

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import boto3
from botocore.config import Config

from wsss_jobs.storage.observation import report_failed_try

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Encryption = Literal["default", "s3", "kms"]

_OPERATIONS = {
    "GetObject": "get",
    "HeadObject": "exists",
    "PutObject": "put",
    "ListObjectsV2": "list",
    "DeleteObjects": "delete",
    "CreateMultipartUpload": "upload",
    "UploadPart": "upload",
    "CompleteMultipartUpload": "upload",
}
_ORDINARY_ANSWERS = frozenset({"NoSuchKey", "404", "NotFound", "PreconditionFailed", "412"})


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
        encryption: `default`: as the bucket is set up (AWS encrypts with keys of S3); `s3`: asked for with every object
            (SSE-S3); `kms`: with a key of AWS KMS (SSE-KMS).
        kms_key_id: The key's id, ARN or alias for `kms`; None is AWS's own key for S3.
        part_bytes: Objects of four times this go in parts of this size, several at a time. S3 wants 5 MiB at least.
    """

    endpoint_url: str | None = None
    region: str | None = None
    max_attempts: int = 5
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 60.0
    max_connections: int = 32
    encryption: Encryption = "default"
    kms_key_id: str | None = None
    part_bytes: int = 16 << 20

    @classmethod
    def from_environment(cls, **others: Any) -> "S3Options":
        """Options with the endpoint and region of `AWS_ENDPOINT_URL[_S3]` and `AWS_[DEFAULT_]REGION`.

        Args:
            others: The other options, where they are not the defaults.
        """
        return cls(
            endpoint_url=os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
            region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
            **others,
        )

    def encryption_arguments(self) -> dict[str, Any]:
        """What a request that creates an object says of its encryption."""
        if self.encryption == "default":
            return {}
        if self.encryption == "s3":
            return {"ServerSideEncryption": "AES256"}
        key = {} if self.kms_key_id is None else {"SSEKMSKeyId": self.kms_key_id}
        return {"ServerSideEncryption": "aws:kms", **key}


def s3_client(options: S3Options) -> "S3Client":
    """This process's client for these options; its threads share it."""
    return _client(options, os.getpid())


@functools.lru_cache(maxsize=8)
def _client(options: S3Options, _process_id: int) -> "S3Client":
    # boto3's default session is not safe to share between threads while a client is made, so each client has its own.
    client = boto3.session.Session().client(
        "s3", endpoint_url=options.endpoint_url, region_name=options.region, config=_client_config(options)
    )
    client.meta.events.register("needs-retry.s3", _report_failed_try)
    return client


def _client_config(options: S3Options) -> Config:
    # Not boto3's adaptive mode: after one "slow down" it holds back all threads of a process, which made the contract
    # tests' mix of faults three times as long. A random pause a request is what S3 asks for.
    config = Config(
        retries={"mode": "standard", "total_max_attempts": options.max_attempts},
        connect_timeout=options.connect_timeout_s,
        read_timeout=options.read_timeout_s,
        max_pool_connections=options.max_connections,
    )
    if options.endpoint_url is None:
        return config
    # Services other than AWS often know neither bucket host names nor the newer checksum trailers. Without a trailer
    # boto3 signs the SHA-256 of the body, so a service that checks signatures checks the body as well.
    compatible = Config(
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return config.merge(compatible)


def _report_failed_try(
    operation: Any, response: tuple[Any, dict[str, Any]] | None, caught_exception: Exception | None, **_others: Any
) -> None:
    name = _OPERATIONS.get(operation.name, operation.name)
    if caught_exception is not None:
        report_failed_try(name, type(caught_exception).__name__)
    elif response is not None and "Error" in response[1]:
        code = str(response[1]["Error"].get("Code", response[0].status_code))
        if code not in _ORDINARY_ANSWERS:
            report_failed_try(name, code)
