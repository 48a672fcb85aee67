"""Real S3 servers behind a proxy that disturbs requests: what passes is survived, what stays is said clearly."""

import random
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from faulty_s3 import TRANSIENT, FaultPlan, FaultyS3

from wsss_jobs.errors import StorageError
from wsss_jobs.storage.object_store import AccessDeniedError, ObjectNotFoundError, TornObjectError
from wsss_jobs.storage.observation import observe_stores
from wsss_jobs.storage.s3_client import S3Options, s3_client
from wsss_jobs.storage.uris import open_store

MIB = 1 << 20
PART_BYTES = 5 * MIB


class Observations:
    """Counts what the stores of this process report."""

    def __init__(self):
        self.operations, self.codes = [], []

    def operation_finished(self, operation, seconds):
        self.operations.append((operation, seconds))

    def try_failed(self, operation, code):
        self.codes.append((operation, code))


@pytest.fixture
def observed():
    """What stores report while the test runs."""
    observations = Observations()
    observe_stores(observations)
    yield observations
    observe_stores(None)


@pytest.fixture(params=["s3", "swift"])
def upstream(request):
    """(endpoint, fresh bucket) of a real server."""
    name = request.param
    return request.getfixturevalue(f"{name}_endpoint"), request.getfixturevalue(f"{name}_bucket")


@pytest.fixture
def faulty(upstream):
    """A function that opens a store behind the proxy: (proxy, store)."""
    proxies = []

    def make(plan, **options):
        proxy = FaultyS3(upstream[0], plan).__enter__()
        proxies.append(proxy)
        known = {"connect_timeout_s": 2.0, "read_timeout_s": 0.5, "part_bytes": PART_BYTES, "max_attempts": 5}
        settings = S3Options(proxy.endpoint, "us-east-1", **(known | options))
        return proxy, open_store(f"s3://{upstream[1]}/some/prefix", settings)

    yield make
    for proxy in proxies:
        proxy.__exit__()


def bodies(num, seed=0):
    """`num` objects of random bytes and sizes, the empty one included."""
    source = random.Random(seed)
    return {f"folder/{number:03d}": source.randbytes(source.randrange(20_000) * (number > 0)) for number in range(num)}


def test_what_passes_is_survived_and_the_bytes_are_the_same(faulty, observed):
    proxy, store = faulty(FaultPlan(TRANSIENT, rate=0.3, seed=1), max_attempts=15, read_timeout_s=1.5)
    written = bodies(60)
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda pair: store.put(*pair), written.items()))
        assert [(info.key, info.size_bytes) for info in store.list()] == [(key, len(written[key])) for key in written]
        assert dict(zip(written, pool.map(store.get, written), strict=True)) == written
        assert all(pool.map(store.exists, written))
        store.delete(list(written)[::2])
    assert [info.key for info in store.list()] == list(written)[1::2]
    assert set(proxy.counts) == set(TRANSIENT), "every kind of fault was met"
    reads = {path: count for (method, path), count in proxy.answered.items() if method == "GET" and "folder/" in path}
    assert len(reads) >= 59, "half of an empty answer is a whole one, but the proxy does not count it"
    assert set(reads.values()) == {1}, "tries that failed are not counted as reads"
    noticed = ("slow_down", "silence", "reset", "lost_answer")  # half of an empty answer is nobody's loss
    assert len(observed.codes) >= sum(proxy.counts[kind] for kind in noticed), "and reported"
    assert ("put", "SlowDown") in observed.codes
    assert {operation for operation, _ in observed.operations} == {"put", "get", "list", "exists", "delete"}


def test_put_if_absent_whose_answer_is_lost_leaves_the_bytes(faulty):
    _, store = faulty(FaultPlan(("lost_answer",), only=("PUT",)))
    store.put_if_absent("a", b"mine")  # whether it says so or not: its first try did it
    assert store.get("a") == b"mine"
    assert store.put_if_absent("a", b"another's") is False
    assert store.get("a") == b"mine"


def test_large_files_pass_in_parts_through_faults(faulty, tmp_path):
    # Timeouts are left out: on a slow machine the real server may take longer than they allow.
    kinds = tuple(kind for kind in TRANSIENT if kind != "silence")
    proxy, store = faulty(FaultPlan(kinds, rate=0.5, seed=7), max_attempts=15, read_timeout_s=60.0)
    data = random.Random(1).randbytes(4 * PART_BYTES + 12345)
    (tmp_path / "source").write_bytes(data)
    store.upload(tmp_path / "source", "checkpoint/model.pt")
    store.download("checkpoint/model.pt", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == data
    assert proxy.counts.total() >= 3
    assert [(info.key, info.size_bytes) for info in store.list()] == [("checkpoint/model.pt", len(data))]


def test_an_upload_that_fails_leaves_nothing(faulty, upstream, tmp_path):
    proxy, store = faulty(FaultPlan((), rate=0.0), max_attempts=1, read_timeout_s=60.0)
    proxy.plan = FaultPlan(("access_denied",), max_in_a_row=0, only=("PUT",))
    (tmp_path / "source").write_bytes(bytes(4 * PART_BYTES + 1))
    with pytest.raises(AccessDeniedError, match="checkpoint/model"):
        store.upload(tmp_path / "source", "checkpoint/model.pt")
    assert list(store.list()) == []
    client = boto3.session.Session().client("s3", endpoint_url=upstream[0], region_name="us-east-1")
    assert "Uploads" not in client.list_multipart_uploads(Bucket=upstream[1]), "its parts were given back"


def test_bytes_that_change_on_the_way_back_are_read_again(faulty, observed, tmp_path):
    proxy, store = faulty(FaultPlan(("corrupt_answer",), only=("GET",)))
    store.put("a", b"the true bytes")
    assert store.get("a") == b"the true bytes"
    assert observed.codes.count(("get", "TornObjectError")) == proxy.counts["corrupt_answer"] == 2
    store.download("a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"the true bytes"


def test_bytes_that_always_change_are_never_taken(faulty, tmp_path):
    proxy, store = faulty(FaultPlan((), rate=0.0), max_attempts=2)
    store.put("a", b"the true bytes")
    proxy.plan = FaultPlan(("corrupt_answer",), only=("GET",), max_in_a_row=0)
    with pytest.raises(TornObjectError, match=r"/a: has SHA-256 \w+, was written with \w+"):
        store.get("a")
    with pytest.raises(TornObjectError):
        store.download("a", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_body_that_changes_on_the_way_there_is_sent_again(swift_endpoint, swift_bucket):
    """Swift checks the signed SHA-256 of a body and refuses; moto checks nothing, and only the reader would notice."""
    with FaultyS3(swift_endpoint, FaultPlan(("corrupt_request",), only=("PUT",))) as proxy:
        store = open_store(f"s3://{swift_bucket}", S3Options(proxy.endpoint, "us-east-1"))
        store.put("a", b"the true bytes")
        assert proxy.counts["corrupt_request"] == 2
    direct = open_store(f"s3://{swift_bucket}", S3Options(swift_endpoint, "us-east-1"))
    assert direct.get("a") == b"the true bytes"


def test_an_object_that_was_changed_in_the_store_is_torn(upstream, faulty):
    _, store = faulty(FaultPlan((), rate=0.0), max_attempts=1)
    store.put("a", b"the true bytes")
    client = s3_client(store.options)
    metadata = client.head_object(Bucket=store.bucket, Key="some/prefix/a")["Metadata"]
    client.put_object(Bucket=store.bucket, Key="some/prefix/a", Body=b"the false bytes", Metadata=metadata)
    with pytest.raises(TornObjectError, match="damaged"):
        store.get("a")


STAYING = {
    "access_denied": (AccessDeniedError, r"access denied \(User: arn\S+ is not authorized.*check what these"),
    "clock_skew": (StorageError, "clock and the service's differ too much.*NTP"),
    "no_bucket": (StorageError, "bucket 'bucket-.*' does not exist; check the name"),
    "wrong_region": (StorageError, "signed for region us-east-1, the bucket is in eu-west-3; set AWS_REGION=eu-west-3"),
    "slow_down": (StorageError, r"slow down on each of 2 tries.*fewer workers"),
    "server_error": (StorageError, "failed on each of 2 tries"),
    "reset": (StorageError, "no connection after 2 tries"),
}
ACTIONS = {
    "get": lambda store, _: store.get("a"),
    "put": lambda store, _: store.put("a", b"x"),
    "put_if_absent": lambda store, _: store.put_if_absent("a", b"x"),
    "exists": lambda store, _: store.exists("a"),
    "list": lambda store, _: list(store.list()),
    "delete": lambda store, _: store.delete(["a"]),
    "download": lambda store, path: store.download("a", path / "target"),
    "upload": lambda store, path: store.upload(path / "source", "a"),
}


@pytest.mark.parametrize("kind", STAYING)
def test_what_stays_is_a_clear_error_without_needless_tries(s3_endpoint, s3_bucket, tmp_path, kind):
    (tmp_path / "source").write_bytes(b"x")
    passing = kind in {"slow_down", "server_error", "reset"}
    error, message = STAYING[kind]
    with FaultyS3(s3_endpoint, FaultPlan((kind,), max_in_a_row=0)) as proxy:
        store = open_store(f"s3://{s3_bucket}", S3Options(proxy.endpoint, "us-east-1", max_attempts=2))

        def act(name):
            with pytest.raises(error, match=message) as caught:
                ACTIONS[name](store, tmp_path)
            assert proxy.endpoint in str(caught.value)
            assert not isinstance(caught.value, ObjectNotFoundError)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(act, ACTIONS))
        assert proxy.num_requests <= (4 if passing else 3) * len(ACTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_the_real_server_refuses_a_wrong_key(swift_endpoint, swift_bucket, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    options = S3Options(swift_endpoint, "us-east-1", max_connections=3)  # no other test's cached client
    for name, act in ACTIONS.items():
        if name not in {"download", "upload"}:
            with pytest.raises(StorageError, match=r"credentials refused \(SignatureDoesNotMatch\)"):
                act(open_store(f"s3://{swift_bucket}", options), None)


def test_a_service_that_cannot_encrypt_is_said_so(swift_endpoint, swift_bucket):
    store = open_store(f"s3://{swift_bucket}", S3Options(swift_endpoint, "us-east-1", encryption="s3"))
    with pytest.raises(StorageError, match=r"does not know encryption: s3.*store\.encryption: default"):
        store.put("a", b"x")


@pytest.mark.parametrize(
    ("encryption", "key", "expected"), [("s3", None, "AES256"), ("kms", None, "aws:kms"), ("kms", "alias/k", "aws:kms")]
)
def test_objects_are_encrypted_as_asked_for(s3_endpoint, s3_bucket, tmp_path, encryption, key, expected):
    options = S3Options(s3_endpoint, "us-east-1", encryption=encryption, kms_key_id=key, part_bytes=PART_BYTES)
    store = open_store(f"s3://{s3_bucket}", options)
    (tmp_path / "source").write_bytes(bytes(4 * PART_BYTES))
    store.put("put", b"x")
    store.put_if_absent("put_if_absent", b"x")
    store.upload(tmp_path / "source", "upload")
    for name in ("put", "put_if_absent", "upload"):
        head = s3_client(options).head_object(Bucket=s3_bucket, Key=name)
        assert head["ServerSideEncryption"] == expected
        assert key is None or key in head["SSEKMSKeyId"]
    assert store.get("upload") == bytes(4 * PART_BYTES)
