import socket
import threading
import time

import pytest

from tests.faults.proxy import Proxy, Way

SOON_S = 5.0


class Echo:
    """Answers every line with itself, and remembers what it was sent."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.heard = b""
        self.ended = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client):
        try:
            while data := client.recv(65536):
                self.heard += data
                client.sendall(data)
        except OSError:
            pass
        self.ended.set()
        client.close()

    def close(self):
        self._listener.close()


@pytest.fixture
def echo():
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo):
    started = Proxy(("127.0.0.1", echo.port))
    yield started
    started.close()


@pytest.fixture
def connect(proxy):
    """Opens connections through the proxy and proves each of them to work."""
    opened = []

    def start():
        client = socket.create_connection(("127.0.0.1", proxy.port), timeout=SOON_S)
        opened.append(client)
        assert ask(client, b"hello") == b"hello"
        return client

    yield start
    for client in opened:
        client.close()


def ask(client, data):
    client.sendall(data)
    return read(client, len(data))


def read(client, count):
    data = b""
    while len(data) < count and (piece := client.recv(count - len(data))):
        data += piece
    return data


def is_silent(client, seconds=0.3):
    client.settimeout(seconds)
    try:
        return client.recv(1) is None
    except TimeoutError:
        return True
    finally:
        client.settimeout(SOON_S)


def test_bytes_pass_unchanged_in_both_directions(connect):
    data = bytes(range(256)) * 2000

    client = connect()
    threading.Thread(target=client.sendall, args=(data,), daemon=True).start()

    assert read(client, len(data)) == data


def test_an_end_passes_to_the_other_side(echo, connect):
    connect().shutdown(socket.SHUT_WR)

    assert echo.ended.wait(SOON_S)


def test_latency_delays_each_direction(proxy, connect):
    client = connect()
    proxy.slow(latency_s=0.1)

    start = time.monotonic()
    ask(client, b"x")

    assert time.monotonic() - start >= 0.2


def test_bandwidth_is_limited(proxy, connect):
    client = connect()
    proxy.slow(bytes_per_s=10_000, slice_bytes=100)

    start = time.monotonic()
    ask(client, bytes(2000))

    assert time.monotonic() - start >= 0.2


def test_slices_arrive_one_by_one_and_complete(proxy, connect):
    client = connect()
    proxy.slow(slice_bytes=1, bytes_per_s=1000)

    assert ask(client, b"a long line") == b"a long line"


def test_a_reset_ends_the_connections_of_now_and_new_ones_work(proxy, connect):
    client = connect()

    assert proxy.reset() == 1

    with pytest.raises(ConnectionResetError):
        client.recv(1)
    connect()


def test_a_refusing_proxy_takes_no_connection_until_it_is_healed(proxy, connect):
    proxy.refuse()
    with pytest.raises((ConnectionResetError, BrokenPipeError, AssertionError)):
        connect()

    proxy.heal()

    connect()


def test_a_black_hole_holds_back_everything_until_it_is_healed(echo, proxy, connect):
    client = connect()
    proxy.blackhole()
    client.sendall(b"later")
    assert is_silent(client)
    assert echo.heard == b"hello"

    proxy.heal()

    assert read(client, 5) == b"later"


def test_a_black_hole_can_have_one_direction(echo, proxy, connect):
    client = connect()
    proxy.blackhole(Way.DOWN)
    client.sendall(b"heard")

    assert is_silent(client)

    assert echo.heard == b"helloheard"
    proxy.heal()
    assert read(client, 5) == b"heard"


def test_a_half_open_connection_is_dead_for_the_server_alone(echo, proxy, connect):
    client = connect()

    assert proxy.half_open() == 1

    assert echo.ended.wait(SOON_S)
    client.sendall(b"is anybody there")
    assert is_silent(client)
    assert echo.heard == b"hello"
    connect()


def test_a_half_open_connection_is_reset_when_the_network_heals(proxy, connect):
    client = connect()
    proxy.half_open()

    proxy.heal()

    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_lost_answers_were_heard_by_the_server(echo, proxy, connect):
    client = connect()
    proxy.lose_answers(after_bytes=3)

    client.sendall(b"publish")

    assert read(client, 3) == b"pub"
    assert is_silent(client)
    assert echo.heard == b"hellopublish"


def test_a_connection_that_lost_bytes_does_not_go_on(proxy, connect):
    client = connect()
    proxy.lose_answers()
    client.sendall(b"publish")
    assert is_silent(client)

    proxy.heal()

    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_links_are_counted_while_they_are_open(proxy, connect):
    first, _second = connect(), connect()
    assert proxy.links == 2

    first.close()

    deadline = time.monotonic() + SOON_S
    while proxy.links > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert proxy.links == 1
