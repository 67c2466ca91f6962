import signal

import pytest
import redis

from tests.support.cluster import Cluster, running
from tests.support.tiny_model import build_tiny_model

# A shell starts background jobs with SIGINT ignored, and so would be what the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cluster_env(services, tmp_path_factory) -> dict[str, str]:
    """A real broker, results backend and store, and a model small enough for tests."""
    models = tmp_path_factory.mktemp("models")
    build_tiny_model(models / "tiny")
    build_tiny_model(models / "large-tiles", native_px=256)
    return services.env | services.new_installation(
        TILECHORD_MODELS_PATH=str(models),
        TILECHORD_MODEL="large-tiles",
    )


_USUAL = {"control": "control", "w1": "gpu", "w2": "gpu"}


@pytest.fixture(scope="session")
def cluster(cluster_env, tmp_path_factory):
    """A control worker and two rendering workers, real processes on real servers."""
    started = Cluster(cluster_env, tmp_path_factory.mktemp("logs"))
    with running(started, _USUAL):
        yield started


@pytest.fixture
def usual_workers(cluster):
    """Whatever a test does to the workers, the next one finds them as they were."""
    cluster.become(_USUAL)


@pytest.fixture(scope="session")
def reference(cluster_env, tmp_path_factory) -> Cluster:
    """The same models without any server."""
    folder = tmp_path_factory.mktemp("embedded")
    kept = {name: cluster_env[name] for name in ("TILECHORD_MODEL", "TILECHORD_MODELS_PATH")}
    env = kept | {"TILECHORD_STORE_URL": f"file://{folder / 'store'}"}
    return Cluster(env | {"TILECHORD_BROKER_URL": "memory://"}, folder)


@pytest.fixture
def redis_flush(cluster_env):
    with redis.Redis.from_url(cluster_env["TILECHORD_RESULT_BACKEND"]) as client:
        yield client.flushall
