import pytest

from app.bootstrap import build_runtime
from app.live.memory import MemoryBoard
from app.live.open import open_board
from app.live.redis import RedisBoard
from app.settings import Settings

CLUSTER = {
    "broker_url": "amqp://guest:guest@localhost:5672/maps",
    "result_backend": "redis://localhost:6379/0",
}


def test_an_embedded_installation_has_the_one_board_of_its_process():
    board = open_board(Settings())

    assert isinstance(board, MemoryBoard)
    assert open_board(Settings()) is board
    assert build_runtime(Settings()).board is board


def test_a_cluster_has_its_board_where_its_results_are():
    assert isinstance(open_board(Settings(**CLUSTER)), RedisBoard)
    secure = CLUSTER | {"result_backend": "rediss://localhost:6379/0"}
    assert isinstance(open_board(Settings(**secure)), RedisBoard)


def test_a_backend_that_is_refused_elsewhere_gives_no_error_here():
    chosen = Settings(**CLUSTER | {"result_backend": "rpc://localhost"})

    assert isinstance(open_board(chosen), MemoryBoard)


@pytest.mark.parametrize(
    ("url", "prefix"),
    [
        ("amqp://u:p@a:1/maps", "tilechord:maps:"),
        ("amqp://u:p@a:1/maps;amqp://u:p@b:1/maps", "tilechord:maps:"),
        ("amqp://u:p@a:1//", "tilechord:/:"),
        ("amqp://u:p@a:1", "tilechord:/:"),
    ],
    ids=["named", "several brokers", "root", "none"],
)
def test_keys_carry_the_virtual_host_so_that_installations_may_share_a_redis(url, prefix):
    board = open_board(Settings(**CLUSTER | {"broker_url": url}))

    assert board._prefix == prefix
