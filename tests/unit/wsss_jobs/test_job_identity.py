from dataclasses import replace

from wsss_jobs.job_identity import JobIdentity, identity_from, next_number

IDENTITY = JobIdentity("s3://bucket/runs/voc", "voc", "wsgcn", "ab" * 32)


def test_an_identity_survives_as_metadata():
    assert identity_from(IDENTITY.as_metadata() | {"other": "x"}) == IDENTITY
    assert identity_from({"job_name": "someone else's"}) is None


def test_submission_ids_count_and_differ_by_store_and_settings():
    first = IDENTITY.submission_id(1)
    assert next_number(IDENTITY, []) == 1
    assert next_number(IDENTITY, [first, IDENTITY.submission_id(9), f"{first}-preflight-1", "x"]) == 10
    assert replace(IDENTITY, store="s3://other/runs/voc").submission_id(1) != first
    assert replace(IDENTITY, recipe_sha256="cd" * 32).submission_id(1) != first


def test_what_two_jobs_should_not_be_at_is_the_recipe_in_the_store():
    assert replace(IDENTITY, recipe_sha256="cd" * 32).work == IDENTITY.work
    assert replace(IDENTITY, recipe="irn").work != IDENTITY.work
