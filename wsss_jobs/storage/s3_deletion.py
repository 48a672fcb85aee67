"""Deletes a batch of objects of S3. The request can go well as a whole and still refuse some of its keys."""

from collections.abc import Sequence

from wsss_jobs.errors import StorageError
from wsss_jobs.storage.observation import report_failed_try
from wsss_jobs.storage.s3_client import S3Options, s3_client
from wsss_jobs.storage.s3_errors import refusal
from wsss_jobs.storage.s3_retries import BrokenAnswerError, retrying

_TRY_AGAIN = frozenset({"InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "503", "500"})


def delete_batch(options: S3Options, bucket: str, keys: Sequence[str]) -> None:
    """Deletes up to 1,000 keys; those that the service cannot delete for the moment are asked for again.

    Raises:
        AccessDeniedError: A key may not be deleted with these credentials.
        StorageError: A key was not deleted for another reason.
    """
    left = list(keys)

    def attempt() -> None:
        answer = s3_client(options).delete_objects(
            Bucket=bucket, Delete={"Objects": [{"Key": key} for key in left], "Quiet": True}
        )
        errors = {str(error.get("Key")): error for error in answer.get("Errors", [])}
        left[:] = [key for key in left if key in errors]
        for key, error in errors.items():
            code, message = str(error.get("Code")), str(error.get("Message"))
            if code not in _TRY_AGAIN:
                where = f"s3://{bucket}/{key}"
                raise refusal(code, message, where) or StorageError(f"{where}: not deleted: {code} ({message})")
            report_failed_try("delete", code)
        if errors:
            first = next(iter(errors))
            raise BrokenAnswerError from StorageError(
                f"s3://{bucket}/{first}: and {len(errors) - 1} others not deleted in {options.max_attempts} tries; "
                "run again later"
            )

    retrying("delete", options, attempt)
