import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from app.live.open import open_board
from app.live.redis import RedisBoard
from app.settings import Settings
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration


@pytest.fixture
def server(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def board(redis_url):
    board = RedisBoard(redis_url, prefix="tilechord:test:", timeout_s=1.0)
    yield board
    board.close()


def test_a_broken_connection_is_replaced_at_the_next_call(board, server):
    board.show("nodes", "w1", {}, ttl_s=60)

    server.client_kill_filter(_type="normal", skipme=True)

    assert set(board.shown("nodes")) == {"w1"}


def test_a_listener_survives_a_broken_connection(board, server):
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(board.listen, 30.0)
        wait_for(lambda: server.info("clients")["blocked_clients"] == 1)
        server.client_kill_filter(_type="normal", skipme=True)

        server.rpush("tilechord:test:events", '{"kind": "job"}')

        assert heard.result(timeout=10) == [{"kind": "job"}]


def test_a_listener_waits_longer_than_its_sockets_do(board):
    began = time.monotonic()

    assert board.listen(2.5) == []

    assert time.monotonic() - began >= 2.5


def test_a_server_that_forgot_everything_is_an_empty_board(board, server):
    board.show("nodes", "w1", {}, ttl_s=60)
    board.lease("dispatcher", "a", ttl_s=60)
    board.tell({"kind": "job"})

    server.flushall()
    server.script_flush()

    assert board.shown("nodes") == {}
    assert board.listen(0.0) == []
    assert board.lease("dispatcher", "b", ttl_s=60)


def test_nothing_stays_when_all_times_are_over(board, server):
    board.show("nodes", "w1", {}, ttl_s=0.1)
    board.show("nodes", "w2", {}, ttl_s=0.2)
    board.lease("dispatcher", "a", ttl_s=0.1)

    wait_for(lambda: not server.keys("tilechord:test:*"))


def test_installations_that_share_a_redis_do_not_see_each_other(redis_url):
    boards = [
        open_board(Settings(broker_url=f"amqp://localhost/{name}", result_backend=redis_url))
        for name in ("maps", "portraits")
    ]

    boards[0].show("nodes", "w1", {}, ttl_s=60)
    boards[0].tell({"kind": "job"})
    boards[0].lease("dispatcher", "a", ttl_s=60)

    assert boards[1].shown("nodes") == {}
    assert boards[1].listen(0.0) == []
    assert boards[1].lease("dispatcher", "b", ttl_s=60)
    for board in boards:
        board.close()
