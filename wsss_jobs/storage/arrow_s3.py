"""Arrow's own S3 client: ranges of large Parquet files, and the checkpoints that Ray Train writes."""

from typing import Any

import boto3

from wsss_jobs.storage.s3_client import S3Options


def arrow_s3_filesystem(options: S3Options) -> Any:
    """A `pyarrow.fs.S3FileSystem` that reaches the same service as boto3.

    Credentials of a kind that Arrow cannot find by itself (single sign-on, a process of one's own) are not supported
    here: Arrow's chain is the environment, the shared files and the roles of instances and containers. Objects that
    Arrow writes get the bucket's default encryption.
    """
    from pyarrow import fs

    scheme, _, host = (options.endpoint_url or "https://").partition("://")
    return fs.S3FileSystem(
        endpoint_override=host.rstrip("/") or None,
        scheme=scheme,
        region=options.region or boto3.session.Session().region_name,
        connect_timeout=options.connect_timeout_s,
        request_timeout=options.read_timeout_s,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=options.max_attempts),
        allow_delayed_open=True,
    )
