"""The fault proxy: what it says it does to a link really happens, on real sockets."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farfix.chaos.proxy import HEALTHY, Proxy, Toxics


class Echo:
    """Answers every byte with itself, one thread for each connection."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                return


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.server.close()


@pytest.fixture(scope="module")
def shared(echo: Echo) -> Iterator[Proxy]:
    with Proxy({"a": echo.port, "b": echo.port}, seed=1) as running:
        yield running


@pytest.fixture
def proxy(shared: Proxy) -> Iterator[Proxy]:
    yield shared
    shared.heal()


def client(proxy: Proxy, link: str = "a") -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port(link)), 60)


def assert_silent(connection: socket.socket) -> None:
    connection.settimeout(0.3)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    connection.settimeout(60)


def receive(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count and (data := connection.recv(65536)):
        found += data
    return found


def receive_until_reset(connection: socket.socket) -> bytes:
    found = b""
    try:
        while data := connection.recv(100):
            found += data
    except ConnectionResetError:
        return found
    pytest.fail("the connection ended politely")


@settings(max_examples=25, deadline=None)
@given(
    st.binary(min_size=1, max_size=40_000),
    st.sampled_from([0, 1000, 4096]),
    st.sampled_from([0.0, 0.001]),
)
def test_what_passes_passes_whole_and_in_order(
    shared: Proxy, data: bytes, slice_bytes: int, jitter_s: float
) -> None:
    shared.set("a", Toxics(slice_bytes=slice_bytes, jitter_s=jitter_s))
    with client(shared) as connection:
        connection.sendall(data)
        assert receive(connection, len(data)) == data
    shared.heal()


def test_latency_delays_each_way(proxy: Proxy) -> None:
    proxy.set("a", Toxics(latency_s=0.15))
    with client(proxy) as connection:
        started_s = time.monotonic()
        connection.sendall(b"ping")
        assert receive(connection, 4) == b"ping"
        assert time.monotonic() - started_s >= 0.3
    assert proxy.counts("a")["delayed"] >= 8


def test_bandwidth_is_bounded(proxy: Proxy) -> None:
    proxy.set("a", Toxics(bandwidth_bytes_s=20_000))
    with client(proxy) as connection:
        started_s = time.monotonic()
        connection.sendall(bytes(10_000))
        receive(connection, 10_000)
        assert time.monotonic() - started_s >= 0.5
        proxy.set("a", HEALTHY)
        started_s = time.monotonic()
        connection.sendall(bytes(100_000))
        assert len(receive(connection, 100_000)) == 100_000
        assert time.monotonic() - started_s < 4


def test_a_slicer_sends_tiny_pieces(proxy: Proxy) -> None:
    proxy.set("a", Toxics(slice_bytes=3))
    with client(proxy) as connection:
        connection.sendall(bytes(300))
        assert len(receive(connection, 300)) == 300
    assert proxy.counts("a")["sliced"] >= 3


def test_a_reset_is_a_reset_and_only_on_its_link(proxy: Proxy) -> None:
    with client(proxy) as connection, client(proxy, "b") as other:
        for each in (connection, other):
            each.sendall(b"x")
            assert receive(each, 1) == b"x"
        cut = proxy.counts("a")["cut"]
        assert proxy.reset("a") == 1
        assert proxy.counts("a")["cut"] == cut + 1
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        other.sendall(b"y")
        assert receive(other, 1) == b"y"
    with client(proxy) as again:
        again.sendall(b"z")
        assert receive(again, 1) == b"z"


def test_a_limit_cuts_in_the_middle_of_a_message(proxy: Proxy) -> None:
    cut = proxy.counts("a")["cut"]
    proxy.set("a", Toxics(limit_bytes=100, slice_bytes=7))
    with client(proxy) as connection:
        connection.sendall(bytes(5000))
        assert len(receive_until_reset(connection)) < 100
    assert proxy.counts("a")["cut"] == cut + 1
    with client(proxy) as short:
        short.sendall(b"below")
        assert receive(short, 5) == b"below"


def test_a_partition_passes_nothing_tells_nobody_and_heals(proxy: Proxy) -> None:
    with client(proxy) as connection:
        connection.sendall(b"1")
        assert receive(connection, 1) == b"1"
        proxy.set("a", Toxics(timeout=True))
        connection.sendall(b"2")
        assert_silent(connection)
        with client(proxy) as newcomer:
            newcomer.sendall(b"3")
            assert_silent(newcomer)
            assert proxy.counts("a")["held"] >= 1
            proxy.set("a", HEALTHY)
            assert receive(connection, 1) == b"2"
            assert receive(newcomer, 1) == b"3"


def test_nobody_behind_the_link_is_a_reset() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # nobody else gets the port, and nobody listens there
        with Proxy({"a": deaf.getsockname()[1]}) as proxy:
            # it may come as soon as the connection stands
            with pytest.raises(ConnectionResetError), client(proxy) as connection:
                connection.recv(1)
            assert proxy.counts("a")["refused"] == 1


def test_a_side_that_closes_is_heard_out(proxy: Proxy) -> None:
    with client(proxy) as connection:
        connection.sendall(b"last words")
        connection.shutdown(socket.SHUT_WR)
        assert receive(connection, 1000) == b"last words"


def test_the_end_of_the_block_drops_connections(echo: Echo) -> None:
    with Proxy({"a": echo.port}) as proxy:
        connection = client(proxy)
        connection.sendall(b"x")
        assert receive(connection, 1) == b"x"
        port = proxy.port("a")
    with contextlib.suppress(ConnectionResetError):
        assert connection.recv(1) == b""
    connection.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)
