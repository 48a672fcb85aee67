"""Tries again where boto3 does not: answers that break off or arrive changed, and bodies that the service got changed.

boto3 repeats requests that are refused for the moment, time out or lose their connection, with growing random pauses.
It hands the body of an answer over as it comes.
"""

import itertools
import random
import time
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import (
    ClientError,
    FlexibleChecksumError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from wsss_jobs.errors import StorageError
from wsss_jobs.storage.object_store import TornObjectError
from wsss_jobs.storage.observation import report_failed_try
from wsss_jobs.storage.s3_client import S3Options
from wsss_jobs.storage.s3_errors import error_code

T = TypeVar("T")

BROKEN_ANSWER = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError, FlexibleChecksumError)
# The service noticed that a body is not what was sent, or not all of it.
_BROKEN_REQUEST = frozenset({"BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "InvalidDigest"})
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0


class BrokenAnswerError(Exception):
    """An answer began well and did not end well; its cause says how."""


def retrying(operation: str, options: S3Options, attempt: Callable[[], T]) -> T:
    """What `attempt` returns; tried up to `options.max_attempts` times with growing random pauses.

    Raises:
        Exception: What the last try raised; of a broken answer, its cause.
    """
    for number in itertools.count(1):
        try:
            return attempt()
        except BrokenAnswerError as error:
            if not isinstance(error.__cause__, StorageError):  # which says that it has been reported
                report_failed_try(operation, type(error.__cause__).__name__)
            if number >= options.max_attempts and error.__cause__ is not None:
                raise error.__cause__ from None
        except TornObjectError as error:
            report_failed_try(operation, type(error).__name__)
            if number >= options.max_attempts:
                raise
        except ClientError as error:
            if error_code(error) not in _BROKEN_REQUEST or number >= options.max_attempts:
                raise
        time.sleep(pause_s(number))
    raise AssertionError("the loop ends by a return or an error")


def pause_s(number: int) -> float:
    """A random pause after the n-th try (from 1), in seconds: so that many workers do not come back at once."""
    return random.uniform(0.0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**number))  # noqa: S311 - not for secrets
