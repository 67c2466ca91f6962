import pytest
import redis

from tests.support.tiny_model import build_tiny_model


@pytest.fixture(scope="session")
def cluster_env(services, tmp_path_factory) -> dict[str, str]:
    """A real broker, results backend and store, and a model small enough for tests."""
    models = tmp_path_factory.mktemp("models")
    build_tiny_model(models / "tiny")
    return services.env | {
        "TILECHORD_BROKER_URL": services.rabbitmq.new_vhost(),
        "TILECHORD_MODELS_PATH": str(models),
        "TILECHORD_MODEL": "tiny",
    }


@pytest.fixture
def redis_flush(cluster_env):
    with redis.Redis.from_url(cluster_env["TILECHORD_RESULT_BACKEND"]) as client:
        yield client.flushall
