"""The agent as a process: its exit codes, its memory, and what a SIGKILL does to it."""

import asyncio
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contract.commands import AnswerStatus
from contract.firmware import MAX_IMAGE_BYTES
from tests.edge import plant
from tests.edge import repo as repos
from tests.edge.repo import Repo
from tests.edge.rig import PUMP, Rig, pump, rig
from tests.peers import Mosquitto

RSS_MAX_MIB = 60
RESTART = 10


def write_config(the: Rig) -> Path:
    config = the.config()
    lines = [
        f'agent = "{config.agent}"',
        f'site = "{config.site}"',
        f'timescale = "{config.timescale}"',
        f'data_dir = "{config.data_dir}"',
        *([f'trusted_root = "{config.trusted_root}"'] if config.trusted_root else []),
        "[broker]",
        f'url = "{config.broker.url}"',
        f'username = "{config.broker.username}"',
        f'password_file = "{config.broker.password_file}"',
        "[[buses]]",
        'name = "tcp"',
        'kind = "tcp"',
        'host = "127.0.0.1"',
        f"port = {config.buses[0].port}",
        f"timeout_s = {config.buses[0].timeout_s}",
    ]
    for device in config.devices:
        lines += [
            "[[devices]]",
            f'device = "{device.device}"',
            f'machine_type = "{device.machine_type}"',
            'bus = "tcp"',
            f"unit = {device.unit}",
        ]
    path = the.folder / "edge.toml"
    path.write_text("\n".join(lines))
    return path


@asynccontextmanager
async def process(config: Path) -> AsyncIterator[Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge", "--config", str(config), stderr=PIPE
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


def rss_mib(pid: int, which: str = "VmRSS") -> float:
    line = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if which in line
    )
    return int(line.split()[1]) / 1024


async def test_a_bad_configuration_ends_with_code_2_and_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    path.write_text("agent = 5")
    async with process(path) as child:
        _, errors = await child.communicate()
        assert child.returncode == 2
        assert b"edge.toml cannot be used:" in errors
        assert b"  agent: Input should be a valid string" in errors
        assert b"Traceback" not in errors


@pytest.mark.real
async def test_the_agent_is_small_and_ends_politely(mosquitto: Mosquitto, tmp_path: Path) -> None:
    units = [pump() for _ in range(10)]
    async with rig(mosquitto, tmp_path, *units) as the, process(write_config(the)) as child:
        await the.gateway.until(lambda: the.gateway.ticks(the.device(10)) >= 10)
        rss = rss_mib(child.pid)
        print(f"edge agent with 10 devices: {rss:.1f} MiB")  # noqa: T201 - shown by pytest -s
        assert rss < RSS_MAX_MIB
        child.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(child.communicate(), 60)
        assert child.returncode == 0, errors.decode()
        await the.gateway.until(lambda: not the.gateway.statuses[the.agent_name][-1].online)
        assert the.gateway.statuses[the.agent_name][-1].reason.endswith("stopped")


@pytest.mark.real
async def test_the_agent_stays_small_while_it_updates_all_its_devices(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    repo = Repo()
    for number in range(300):
        repo.add(f"1.4.{number}", b"%d" % number, notes="n" * 200)
    repo.add("1.5.0", bytes(MAX_IMAGE_BYTES))
    repo.publish()
    units = [pump() for _ in range(10)]
    for unit in units:
        plant.Bootloader(unit, PUMP)
    with repos.serving(repo) as server:
        async with rig(mosquitto, tmp_path, *units) as the:
            the.trusted_root = repos.root_file(tmp_path, repo)
            async with process(write_config(the)) as child:
                await the.gateway.until(lambda: the.gateway.ticks(the.device(10)) >= 2)
                before = rss_mib(child.pid)
                for number in range(1, 11):
                    command = the.command(
                        "update_firmware", lifetime_s=7200, release=repos.ref(server, "1.5.0")
                    )
                    await the.gateway.send(the.device(number), command)
                await the.gateway.until(lambda: len(the.gateway.answers) == 10)
                assert {answer.firmware for answer in the.gateway.answers} == {"1.5.0"}
                peak = rss_mib(child.pid, "VmHWM")
    print(f"edge agent: {before:.1f} MiB, {peak:.1f} MiB at most in 10 updates")  # noqa: T201 - shown by pytest -s
    assert peak < RSS_MAX_MIB


@pytest.mark.real
async def test_an_agent_ends_politely_also_while_a_server_keeps_it_waiting(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    repo = Repo()
    repo.add("1.4.0")
    repo.publish()
    unit = pump()
    plant.Bootloader(unit, PUMP)
    with repos.serving(repo) as server:
        server.trickle = "/targets/"
        async with rig(mosquitto, tmp_path, unit) as the:
            the.trusted_root = repos.root_file(tmp_path, repo)
            async with process(write_config(the)) as child:
                await the.gateway.until(lambda: the.gateway.ticks(the.device()) > 0)
                command = the.command("update_firmware", release=repos.ref(server))
                await the.gateway.send(the.device(), command)
                async with asyncio.timeout(60):
                    while not server.images():  # noqa: ASYNC110 - the server is a thread
                        await asyncio.sleep(0.05)
                child.send_signal(signal.SIGTERM)
                _, errors = await asyncio.wait_for(child.communicate(), 60)
                assert child.returncode == 0, errors.decode()
                assert b"Traceback" not in errors
    assert unit.writes == []


@pytest.mark.real
async def test_a_kill_in_the_middle_of_a_command_does_not_make_it_act_twice(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    unit = pump()
    async with rig(mosquitto, tmp_path, unit) as the:
        config, command = write_config(the), the.command("restart")
        async with process(config) as child:
            await the.gateway.until(lambda: the.gateway.ticks(the.device()) > 0)
            unit.on_write = lambda address, words: child.kill()
            await the.gateway.send(the.device(), command)
            await asyncio.wait_for(child.wait(), 60)
        await the.gateway.send(the.device(), command)
        async with process(config):
            answer = await the.gateway.answer(command.id, 2)
        assert answer.status is AnswerStatus.FAILED
        assert "interrupted" in answer.reason
        assert [words for at, words in unit.writes if at == RESTART] == [[1]]
        last_will = the.gateway.statuses[the.agent_name]
        assert any("broke" in status.reason for status in last_will)


def sequences_by_boot(the: Rig, unit: int) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for batch in the.gateway.batches.get(the.device(unit), []):
        found.setdefault(batch.boot, []).append(batch.sequence)
    return found


@pytest.mark.real
async def test_ten_kills_at_any_moment_lose_nothing_and_break_no_numbering(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    moments = random.Random(4)
    async with rig(mosquitto, tmp_path, *(pump() for _ in range(4)), speed=60) as the:
        the.note_taken()
        config = write_config(the)
        devices = [the.device(unit) for unit in the.units]
        for kill in range(10):
            the.gateway.acknowledges = kill > 2 and kill % 3 != 1
            before = max(len(the.taken(device)) for device in devices)
            async with process(config) as child:
                async with asyncio.timeout(60):
                    while min(len(the.taken(device)) for device in devices) <= before:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                await asyncio.sleep(moments.uniform(0, 1.0))
                child.kill()
        the.gateway.acknowledges = True
        async with process(config) as child:
            await the.gateway.until(lambda: the.spooled() <= len(devices))
            child.send_signal(signal.SIGTERM)
            await asyncio.wait_for(child.communicate(), 60)
        async with process(config):
            await the.gateway.until(
                lambda: all(the.taken(d) <= the.gateway.times(d) for d in devices)
            )
        for unit, device in enumerate(devices, 1):
            boots = sequences_by_boot(the, unit)
            assert len(boots) >= 10
            for boot, sequences in boots.items():
                assert sorted(set(sequences)) == list(range(1, max(sequences) + 1))
                assert not the.gateway.positions[device, boot].beyond
            assert the.gateway.times(device) <= the.taken(device), "what was never committed"
