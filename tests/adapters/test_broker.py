"""The generated brokers, both real: who gets in, and who sees what."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiomqtt
import pytest

from cloud.adapters import broker as broker_adapter
from cloud.adapters.broker import Broker, Kind, User
from contract import codec, topics
from contract.errors import Malformed, Refused
from contract.topics import Channel

USERS = [User("gateway"), User("edge-north", "north"), User("edge-south", "south")]
PATIENCE_S = 60.0


def need(kind: Kind) -> None:
    if kind is Kind.MOSQUITTO and broker_adapter.mosquitto_program() is None:
        message = "mosquitto is missing: apt install mosquitto"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


@pytest.fixture(
    scope="module",
    params=[pytest.param(Kind.MOSQUITTO, marks=pytest.mark.real), Kind.AMQTT],
)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    need(request.param)
    with broker_adapter.start(tmp_path_factory.mktemp("broker"), USERS, kind=request.param) as it:
        yield it


def client(broker: Broker, user: str | None, password: str | None = None) -> aiomqtt.Client:
    if user is not None and password is None:
        password = broker.password(user)
    return aiomqtt.Client(
        "127.0.0.1", broker.port, username=user, password=password, timeout=PATIENCE_S
    )


async def test_broker_refuses_strangers(running: Broker) -> None:
    for user, password in ((None, None), ("gateway", "guess"), ("nobody", "guess")):
        with pytest.raises(aiomqtt.MqttError):
            async with client(running, user, password):
                pass


async def test_telemetry_reaches_the_gateway_and_commands_the_site(running: Broker) -> None:
    telemetry = topics.build("north", "pump-1", Channel.TELEMETRY)
    command = topics.build("north", "pump-1", Channel.COMMAND)
    async with client(running, "gateway") as gateway, client(running, "edge-north") as edge:
        await gateway.subscribe(topics.subscriptions(Channel.TELEMETRY)[0], qos=1)
        await edge.subscribe(command, qos=1)
        await edge.publish(telemetry, b"measured", qos=1)
        await gateway.publish(command, b"do", qos=1)
        async with asyncio.timeout(PATIENCE_S):
            assert (await anext(gateway.messages)).payload == b"measured"
            assert (await anext(edge.messages)).payload == b"do"


async def test_a_site_can_neither_write_nor_hear_another_site(running: Broker) -> None:
    foreign = topics.build("north", "pump-1", Channel.TELEMETRY)
    own = topics.build("south", "pump-9", Channel.TELEMETRY)
    async with client(running, "gateway") as gateway, client(running, "edge-south") as edge:
        await gateway.subscribe(topics.subscriptions(Channel.TELEMETRY)[0], qos=1)
        await hear_what_is_allowed(edge, topics.build("north", "pump-1", Channel.COMMAND))
        await hear_what_is_allowed(edge, "#")
        await edge.subscribe(topics.build("south", "pump-9", Channel.COMMAND), qos=1)
        await edge.publish(foreign, b"forged", qos=1)
        await edge.publish(topics.build("south", "pump-9", Channel.COMMAND), b"forged", qos=1)
        await edge.publish(own, b"mine", qos=1)
        await gateway.publish(topics.build("north", "pump-1", Channel.COMMAND), b"no", qos=1)
        await gateway.publish(topics.build("south", "pump-9", Channel.COMMAND), b"yes", qos=1)
        async with asyncio.timeout(PATIENCE_S):
            assert (await anext(gateway.messages)).payload == b"mine"
            assert (await anext(edge.messages)).payload == b"yes"


async def hear_what_is_allowed(edge: aiomqtt.Client, topic: str) -> None:
    """Subscribe to too much; mosquitto grants and filters, amqtt refuses."""
    try:
        await edge.subscribe(topic, qos=1)
    except aiomqtt.MqttError as error:
        assert "code" in str(error).lower() or "fail" in str(error).lower()


async def test_messages_wait_for_a_session_that_is_away(running: Broker) -> None:
    command = topics.build("north", "pump-2", Channel.COMMAND)

    def away() -> aiomqtt.Client:
        return aiomqtt.Client(
            "127.0.0.1",
            running.port,
            username="edge-north",
            password=running.password("edge-north"),
            identifier="away",
            clean_session=False,
            timeout=PATIENCE_S,
        )

    async with away() as edge:
        await edge.subscribe(command, qos=1)
    async with client(running, "gateway") as gateway:
        for i in range(10):
            await gateway.publish(command, str(i).encode(), qos=1)
    sent, got = [str(i).encode() for i in range(10)], []
    async with away() as edge, asyncio.timeout(PATIENCE_S):
        async for message in edge.messages:
            got.append(message.payload)
            if set(got) >= set(sent):
                break
    assert set(got) == set(sent)
    if running.kind is Kind.MOSQUITTO:  # amqtt may repeat and reorder what it kept (its issue 401)
        assert got == sent


@pytest.mark.real
async def test_a_gigantic_message_is_not_forwarded(tmp_path: Path) -> None:
    need(Kind.MOSQUITTO)
    topic = topics.build("north", "pump-1", Channel.TELEMETRY)
    with broker_adapter.start(tmp_path, USERS, kind=Kind.MOSQUITTO) as running:
        async with client(running, "gateway") as gateway, client(running, "edge-north") as edge:
            await gateway.subscribe(topics.subscriptions(Channel.TELEMETRY)[0], qos=0)
            await edge.publish(topic, b"x" * (codec.MAX_MESSAGE_BYTES + 1), qos=0)
            async with client(running, "edge-north") as next_edge:
                await next_edge.publish(topic, b"small", qos=1)
            async with asyncio.timeout(PATIENCE_S):
                assert (await anext(gateway.messages)).payload == b"small"


@pytest.mark.parametrize("kind", [pytest.param(Kind.MOSQUITTO, marks=pytest.mark.real), Kind.AMQTT])
def test_passwords_survive_a_restart_and_are_private(kind: Kind, tmp_path: Path) -> None:
    need(kind)
    with broker_adapter.start(tmp_path, USERS, kind=kind) as first:
        password = first.password("gateway")
    with broker_adapter.start(tmp_path, USERS, kind=kind) as second:
        assert second.password("gateway") == password
    for path in (first.password_file("gateway"), tmp_path / "users"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(password) >= 32
    assert password not in (tmp_path / "users").read_text()


@pytest.mark.parametrize("kind", [pytest.param(Kind.MOSQUITTO, marks=pytest.mark.real), Kind.AMQTT])
def test_the_broker_of_a_killed_gateway_is_replaced(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_adapter, "STOP_TIMEOUT_S", PATIENCE_S)
    need(kind)
    script = (
        "import os, signal, sys; from pathlib import Path; from cloud.adapters import broker\n"
        "kind = broker.Kind(sys.argv[2])\n"
        "b = broker.start(Path(sys.argv[1]), [broker.User('gateway')], kind=kind)\n"
        "print(b.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-P", "-c", script, str(tmp_path), kind],
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    left = int(killed.stdout)
    with broker_adapter.start(tmp_path, USERS, kind=kind) as running:
        assert running.running()
        assert str(tmp_path) not in broker_adapter._command_line(left)


def test_a_taken_port_and_a_bad_name_are_explained(tmp_path: Path) -> None:
    with (
        broker_adapter.start(tmp_path / "a", USERS) as running,
        pytest.raises(Refused, match=f"port {running.port} is taken"),
    ):
        broker_adapter.start(tmp_path / "b", USERS, port=running.port)
    with pytest.raises(Malformed, match="cannot name"):
        broker_adapter.start(tmp_path / "c", [User("a:b")])
