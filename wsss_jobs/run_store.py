"""From a recipe's store settings to the run's store, here and in other processes of the job."""

import os

from wsss_jobs.config.recipe import StoreSettings
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.uris import is_remote, open_store

_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION")


def forwarded_environment() -> dict[str, str]:
    """Returns where an S3 service is, as this process knows it, for the job's other ones; never who may use it."""
    return {name: os.environ[name] for name in _VARIABLES if name in os.environ}


def open_run_store(settings: StoreSettings, run: str) -> ObjectStore:
    """Returns the folder of a run in its store; endpoint and region of S3 come from the environment."""
    if not is_remote(settings.uri):
        return open_store(settings.uri).child(run)
    from wsss_jobs.storage.s3_client import S3Options

    options = S3Options.from_environment(
        max_attempts=settings.max_attempts,
        read_timeout_s=settings.read_timeout_s,
        encryption=settings.encryption,
        kms_key_id=settings.kms_key_id,
    )
    return open_store(settings.uri, options).child(run)


def run_name(store: ObjectStore) -> str:
    """Returns how metrics and log lines name the run in this folder."""
    return store.uri.rsplit("/", 1)[-1]
