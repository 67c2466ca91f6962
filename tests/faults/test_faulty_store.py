import secrets
import time
from hashlib import sha256

import pytest
from minio import Minio
from minio.error import S3Error
from urllib3.exceptions import HTTPError

from app.cluster.servers import BUCKET, REGION
from app.domain.errors import StorageUnavailableError
from app.storage.s3 import S3Store, bounded_pool
from tests.faults.faulty_store import FaultyStore, Rates

pytestmark = pytest.mark.integration


@pytest.fixture
def front(cluster_site, s3_server):
    started = FaultyStore(("127.0.0.1", cluster_site.ports["s3"]), seed=7)
    yield started
    started.close()


@pytest.fixture
def client_of(cluster_site):
    """A real client that signs its requests for the address it talks to."""

    def make(port, *, retries=0, read_s=5.0):
        return Minio(
            f"127.0.0.1:{port}",
            access_key=cluster_site.secrets.s3_access,
            secret_key=cluster_site.secrets.s3_secret,
            secure=False,
            region=REGION,
            http_client=bounded_pool(read_s=read_s, retries=retries, backoff_s=0.01),
        )

    return make


@pytest.fixture
def store_of(client_of, request):
    # Always the same: which requests suffer is drawn from their paths.
    prefix = sha256(request.node.name.encode()).hexdigest()[:8]

    def make(port, **limits):
        return S3Store(client_of(port, **limits), BUCKET, prefix=prefix, url_expiry_s=60)

    return make


@pytest.fixture
def store(front, store_of):
    """One attempt a request, through the front."""
    return store_of(front.port)


@pytest.fixture
def behind(cluster_site, store_of):
    """The same blobs past the front."""
    return store_of(cluster_site.ports["s3"])


def test_a_healthy_front_serves_every_kind_of_request(front, store, behind):
    body = secrets.token_bytes(300_000)

    assert store.put("a/tile", body)
    assert not store.put("a/tile", b"late")
    assert store.get("a/tile") == body
    assert list(store.keys("a/")) == ["a/tile"]
    assert behind.get("a/tile") == body
    store.delete("a/tile")
    assert not store.exists("a/tile")
    assert front.done == {}


def test_signatures_are_checked_behind_the_front(front, client_of, store):
    store.put("a", b"x")
    stranger = Minio(f"127.0.0.1:{front.port}", "nobody", "wrong", secure=False, region=REGION)

    with pytest.raises(S3Error, match="InvalidAccessKeyId"):
        stranger.get_object(BUCKET, "a")


def test_a_presigned_address_leads_through_the_front(front, store):
    import urllib.request

    store.put("a", b"picture")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    with opener.open(store.url("a"), timeout=5) as answer:
        assert answer.read() == b"picture"


@pytest.mark.parametrize("status", [500, 503])
def test_an_error_keeps_the_request_from_the_server(status, front, store, behind):
    front.rates = Rates(**{f"error_{status}": 1.0})

    with pytest.raises(StorageUnavailableError):
        store.put("a", b"x")

    assert not behind.exists("a")
    assert front.done[f"error_{status}"] == 1


def test_a_lost_answer_is_a_request_that_was_served(front, store, behind):
    front.rates = Rates(lost_answer=1.0)

    with pytest.raises(StorageUnavailableError):
        store.put("a", b"x")

    assert behind.get("a") == b"x"


def test_a_lost_answer_can_keep_the_client_waiting(front, store_of, behind):
    front.rates = Rates(lost_answer=1.0, silence_s=30.0)
    impatient = store_of(front.port, read_s=0.5)

    start = time.monotonic()
    with pytest.raises(StorageUnavailableError):
        impatient.put("a", b"x")

    assert time.monotonic() - start < 5
    assert behind.get("a") == b"x"


def test_a_truncated_body_is_never_taken_for_the_whole(front, store, behind):
    behind.put("a", bytes(10_000))
    front.rates = Rates(truncated=1.0)

    with pytest.raises((StorageUnavailableError, HTTPError)):
        store.get("a")

    assert front.done["truncated"] == 1


def test_a_slow_answer_arrives(front, store):
    front.rates = Rates(slow=1.0, slow_s=0.3)

    start = time.monotonic()
    store.put("a", b"x")

    assert time.monotonic() - start >= 0.3


def test_a_patient_client_gets_through_a_faulty_store(front, store_of):
    front.rates = Rates(error_500=0.1, error_503=0.1, lost_answer=0.1)
    patient = store_of(front.port, retries=5)

    for number in range(60):
        patient.put(f"tiles/{number}", b"%d" % number)

    assert [patient.get(f"tiles/{number}") for number in range(60)] == [
        b"%d" % number for number in range(60)
    ]
    assert front.done.keys() == {"error_500", "error_503", "lost_answer"}


def test_the_seed_decides_which_requests_suffer():
    rates = Rates(error_500=0.2, truncated=0.2)
    target = ("127.0.0.1", 9)
    fronts = [FaultyStore(target, seed=seed) for seed in (1, 1, 2)]

    met = [
        [rates.fault(front._draw("GET", f"/b/{number}"), "GET") for number in range(50)]
        for front in fronts
    ]

    for front in fronts:
        front.close()
    assert met[0] == met[1]
    assert met[0] != met[2]
    assert set(met[0]) == {"error_500", "truncated", None}


def test_a_healed_front_lets_everything_pass(front, store):
    front.rates = Rates(error_500=1.0)

    front.heal()

    assert store.put("a", b"x")
