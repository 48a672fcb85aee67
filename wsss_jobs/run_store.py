"""From a recipe's store settings to the run's store."""

from wsss_jobs.config.recipe import StoreSettings
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.uris import is_remote, open_store


def open_run_store(settings: StoreSettings, run: str) -> ObjectStore:
    """Returns the folder of a run in its store; endpoint and region of S3 come from the environment."""
    if not is_remote(settings.uri):
        return open_store(settings.uri).child(run)
    from wsss_jobs.storage.s3_client import S3Options

    options = S3Options.from_environment(
        max_attempts=settings.max_attempts, encryption=settings.encryption, kms_key_id=settings.kms_key_id
    )
    return open_store(settings.uri, options).child(run)
