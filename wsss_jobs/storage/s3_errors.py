"""What boto3 raises, as a `StorageError` that says what to do."""

import contextlib
import re
from collections.abc import Iterator

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from s3transfer.exceptions import RetriesExceededError
from urllib3.exceptions import HTTPError

from wsss_jobs.errors import StorageError
from wsss_jobs.storage.object_store import AccessDeniedError, ObjectNotFoundError
from wsss_jobs.storage.s3_client import S3Options

_NOT_FOUND = frozenset({"NoSuchKey", "404", "NotFound"})
_REFUSED = frozenset({"AccessDenied", "403", "Forbidden", "AllAccessDisabled"})
_BAD_CREDENTIALS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"})
_CLOCK = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_REGION = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect", "301", "IllegalLocationConstraintException"})
_OVERLOAD = frozenset({"SlowDown", "ServiceUnavailable", "503", "Throttling", "RequestLimitExceeded", "429"})
_FAILING = frozenset({"InternalError", "500", "502", "504", "GatewayTimeout"})
_FULL = frozenset({"QuotaExceeded", "InsufficientStorage", "507", "XMinioStorageFull"})


@contextlib.contextmanager
def s3_errors(options: S3Options, bucket: str, key: str = "") -> Iterator[None]:
    """Turns what boto3 raises into a `StorageError` that names the object, the endpoint and what to check."""
    where = f"s3://{bucket}/{key} at {options.endpoint_url or 'AWS'}"
    try:
        yield
    except ClientError as error:
        raise _from_answer(error, where, bucket, options) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StorageError(f"{where}: no complete credentials ({error}); set AWS_ACCESS_KEY_ID and the like") from error
    except RetriesExceededError as error:
        raise StorageError(f"{where}: broke off on every try ({error.last_exception}); check the network") from error
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


def refusal(code: str, message: str, where: str) -> StorageError | None:
    """The error of a service that does not let us; None for other codes."""
    if code in _REFUSED:
        said = f" ({message})" if message and message != code else ""
        hint = "check what these credentials may do there; without s3:ListBucket a missing object answers so as well"
        return AccessDeniedError(f"{where}: access denied{said}; {hint}")
    if code in _BAD_CREDENTIALS:
        return StorageError(f"{where}: credentials refused ({code}); check AWS_ACCESS_KEY_ID and the like")
    return None


def _from_answer(error: ClientError, where: str, bucket: str, options: S3Options) -> StorageError:
    code = error_code(error)
    message = str(error.response.get("Error", {}).get("Message", ""))
    if code in _NOT_FOUND:
        return ObjectNotFoundError(f"{where}: no such object")
    if code == "NoSuchBucket":
        return StorageError(f"{where}: bucket {bucket!r} does not exist; check the name and the endpoint, or create it")
    if code in _REGION:
        return StorageError(f"{where}: {_wrong_region(error, message, options)}")
    refused = refusal(code, message, where)
    return refused or StorageError(f"{where}: {_trouble(code, message, options)}")


def _trouble(code: str, message: str, options: S3Options) -> str:
    if code in _CLOCK:
        return f"this machine's clock and the service's differ too much ({code}); set the clock right (NTP)"
    if code in _OVERLOAD:
        hint = "use fewer workers (resources.max_workers of the stage), or raise store.max_attempts"
        return f"asked to slow down on each of {options.max_attempts} tries ({code}); {hint}"
    if code in _FULL:
        return f"the service has no room ({code}: {message}); free space or raise the quota"
    if code in _FAILING:
        return f"the service failed on each of {options.max_attempts} tries ({code}: {message}); see its status"
    if code.startswith("KMS."):
        return f"the key {options.kms_key_id or 'of this bucket'} cannot be used ({code}: {message}); check it in KMS"
    hint = "check the region, the service's state and its quotas"
    if code == "NotImplemented" and options.encryption != "default":
        hint = f"it does not know encryption: {options.encryption}; set store.encryption: default"
    return f"{code} ({message}); {hint}"


def _wrong_region(error: ClientError, message: str, options: S3Options) -> str:
    named = re.search(r"expecting '([\w-]+)'", message)
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = named.group(1) if named else headers.get("x-amz-bucket-region")
    signed = f"requests are signed for region {options.region or 'of the AWS settings'}"
    if region is None:
        return f"{signed}, which is not the bucket's ({message}); set AWS_REGION to that of the bucket"
    return f"{signed}, the bucket is in {region}; set AWS_REGION={region}"
