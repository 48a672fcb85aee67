"""What only a remote store can get wrong: addresses, credentials, answers that break off."""

import socket
import threading

import pytest

from wsss_jobs.errors import ConfigError, StorageError
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.s3_client import S3Options
from wsss_jobs.storage.s3_store import S3Store
from wsss_jobs.storage.uris import open_store, read_uri


@pytest.mark.parametrize(
    "act",
    [
        lambda store: store.get("a"),
        lambda store: store.put("a", b"x"),
        lambda store: store.put_if_absent("a", b"x"),
        lambda store: store.exists("a"),
        lambda store: list(store.list()),
        lambda store: store.delete(["a"]),
    ],
)
def test_a_missing_bucket_is_named_with_the_remedy(s3_endpoint, act):
    with pytest.raises(StorageError, match=r"no-such-bucket.*does not exist; check the name") as caught:
        act(open_store("s3://no-such-bucket/prefix"))
    assert not isinstance(caught.value, ObjectNotFoundError)
    assert s3_endpoint in str(caught.value)


def test_a_dead_endpoint_is_an_error_in_bounded_time(s3_endpoint):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{probe.getsockname()[1]}"
    options = S3Options(endpoint_url=dead, region="us-east-1", max_attempts=2, connect_timeout_s=1)
    with pytest.raises(StorageError, match=f"{dead}: no connection after 2 tries.*check AWS_ENDPOINT_URL"):
        open_store("s3://bucket/prefix", options).get("a")


def test_a_silent_endpoint_is_an_error_in_bounded_time(s3_endpoint):
    with socket.create_server(("127.0.0.1", 0)) as server:
        options = S3Options(f"http://127.0.0.1:{server.getsockname()[1]}", "us-east-1", 1, 0.5, 0.5)
        with pytest.raises(StorageError, match="no connection after 1 tries"):
            open_store("s3://bucket/prefix", options).get("a")


def test_no_credentials_is_said_so(s3_endpoint, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    options = S3Options(s3_endpoint, "us-east-1", max_attempts=1, max_connections=1)  # no other test's cached client
    with pytest.raises(StorageError, match="no complete credentials"):
        open_store("s3://bucket/prefix", options).get("a")


def test_an_impossible_bucket_name_is_a_storage_error(s3_endpoint):
    with pytest.raises(StorageError, match="bucket's name"):
        open_store("s3://not a bucket/prefix").get("a")


def test_addresses(s3_endpoint):
    assert open_store("s3://bucket").uri == "s3://bucket"
    assert open_store("s3://bucket/a/b/").uri_of("c?#") == "s3://bucket/a/b/c?#"
    for bad in ("s3://", "s3:///key"):
        with pytest.raises(ConfigError, match="bucket is missing"):
            open_store(bad)
    for act in (open_store, read_uri):
        with pytest.raises(ConfigError, match="hdfs:// are not supported"):
            act("hdfs://host/x")


def test_the_environment_chooses_endpoint_and_region(monkeypatch):
    for name in ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    assert open_store("s3://bucket").options == S3Options()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://one")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert open_store("s3://bucket").options == S3Options("http://one", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://two")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert open_store("s3://bucket").options == S3Options("http://two", "eu-north-1")


def test_keys_of_other_tools_can_be_read(s3_bucket):
    """A bucket of images that others filled has folder markers and keys that we would not write."""
    from wsss_jobs.storage.s3_client import s3_client

    store = open_store(f"s3://{s3_bucket}/images")
    assert isinstance(store, S3Store)
    client = s3_client(store.options)
    for key in ("images/", "images/folder/", "images/a//b.jpg"):
        client.put_object(Bucket=s3_bucket, Key=key, Body=b"x")
    assert [info.key for info in store.list()] == ["a//b.jpg"]
    assert read_uri(store.uri_of("a//b.jpg")) == b"x"


class _BreakingServer(threading.Thread):
    """Answers GET with half of the promised body `num_breaks` times, then whole."""

    def __init__(self, num_breaks):
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.num_breaks = num_breaks
        self.num_answers = 0

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                self.num_answers += 1
                body = b"0123456789" if self.num_answers > self.num_breaks else b"01234"
                head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n"
                connection.sendall(head + body)


@pytest.mark.parametrize(("num_breaks", "arrives"), [(1, True), (99, False)])
def test_an_answer_that_breaks_off_is_read_again_a_few_times(s3_endpoint, num_breaks, arrives):
    server = _BreakingServer(num_breaks)
    server.start()
    store = open_store("s3://bucket", S3Options(server.endpoint, "us-east-1", max_attempts=3))
    try:
        if arrives:
            assert store.get("a") == b"0123456789"
            assert server.num_answers == 2
        else:
            with pytest.raises(StorageError, match="bucket/a"):
                store.get("a")
            assert server.num_answers == 3
    finally:
        server.socket.close()


@pytest.mark.parametrize("code", ["NotImplemented", "ConditionalRequestConflict"])
def test_put_if_absent_where_the_service_has_no_conditional_writes(s3_bucket, monkeypatch, code):
    from botocore.exceptions import ClientError

    from wsss_jobs.storage import s3_store

    store = open_store(f"s3://{s3_bucket}")
    real = s3_store.s3_client(store.options)

    class WithoutConditions:
        def __getattr__(self, name):
            return getattr(real, name)

        def put_object(self, **arguments):
            if "IfNoneMatch" in arguments:
                raise ClientError({"Error": {"Code": code}}, "PutObject")
            return real.put_object(**arguments)

    monkeypatch.setattr(s3_store, "s3_client", lambda options: WithoutConditions())
    assert store.put_if_absent("a", b"1") is True
    assert store.put_if_absent("a", b"2") is False
    assert store.get("a") == b"1"
