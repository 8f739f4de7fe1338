"""The agent dies in every phase of an update: it says so, and the machine runs old or new.

The agent is a real process that is killed at the very request that brings the machine into the
phase; the machine is the simulator with its bootloader, which knows nothing of the test.
"""

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from contract import timescale
from contract.commands import AnswerStatus, Command
from contract.firmware import UpdateState
from contract.machines import RegisterKind
from firmware_sim import bus, images
from firmware_sim import plant as simulated
from firmware_sim.bootloader import Loader, Trust
from firmware_sim.physics import build
from firmware_sim.unit import Unit, Words
from tests.edge import gateway, plant
from tests.edge import repo as repos
from tests.edge.repo import Repo
from tests.edge.rig import PUMP, Rig
from tests.edge.test_edge_main import process, write_config
from tests.peers import Mosquitto, free_port

pytestmark = pytest.mark.real

IMAGE = images.build(PUMP.name, "1.4.0") + b" " * 4000
"""Large enough to be killed in the middle of it."""


@asynccontextmanager
async def machine(mosquitto: Mosquitto, folder: Path) -> AsyncIterator[tuple[Rig, Unit]]:
    """Serve a simulated pump and hear what the agent says of it."""
    port = free_port()
    async with gateway.listening(mosquitto, f"gateway-{port}") as heard:
        served = plant.Plant({}, port)
        the = Rig(mosquitto, folder, {1: plant.Unit()}, served, heard, timeout_s=2.0, speed=30)
        scale = timescale.parse(the.scale)
        trust = Trust(PUMP.name, repos.KEY.public_key(), 2)
        unit = Unit(PUMP, build(PUMP.name, the.device(), 1), trust, folder / "slots")
        site = simulated.Plant({the.device(): unit}, simulated.plant_now(scale))
        server = await bus.serve_tcp(port, {1: unit})
        time = asyncio.create_task(simulated.run(site, scale))
        try:
            yield the, unit
        finally:
            time.cancel()
            await server.shutdown()  # type: ignore[no-untyped-call]


def published(version: str = "1.4.0", image: bytes = IMAGE) -> Repo:
    repo = Repo()
    repo.add(version, image, hardware=[2])
    repo.publish()
    return repo


def notice(unit: Unit, phase: Callable[[Loader], bool], act: Callable[[], None]) -> None:
    """Act once, within the request that finds the bootloader in a phase or brings it there."""
    write, read = unit.write, unit.read

    def look() -> None:
        if phase(unit._loader):
            unit.write, unit.read = write, read  # type: ignore[method-assign]
            act()

    def watched_write(table: RegisterKind, address: int, values: Sequence[int]) -> None:
        write(table, address, values)
        look()

    def watched_read(table: RegisterKind) -> Words:
        look()
        return read(table)

    unit.write, unit.read = watched_write, watched_read  # type: ignore[method-assign]


async def settled(unit: Unit) -> None:
    """Wait until the machine has come to rest without anybody's help; its trial ends at once."""
    async with asyncio.timeout(60):
        while _under_way(unit._loader):
            unit._loader = replace(unit._loader, trial_until_ns=0)
            await asyncio.sleep(0.05)
        while unit.machine.booting:  # noqa: ASYNC110 - the simulator has no events
            await asyncio.sleep(0.05)


def _under_way(loader: Loader) -> bool:
    return loader.boot_other or loader.reverting or loader.state is UpdateState.TRIAL


PHASES: dict[str, tuple[Callable[[Loader], bool], str]] = {
    "opening": (lambda loader: loader.state is UpdateState.RECEIVING, "1.0.0"),
    "sending": (lambda loader: len(loader.received) > 2000, "1.0.0"),
    "verified": (lambda loader: loader.state is UpdateState.VERIFIED, "1.0.0"),
    "booting": (lambda loader: loader.boot_other, "1.0.0"),
    "trial": (lambda loader: loader.state is UpdateState.TRIAL, "1.0.0"),
    "confirmed": (lambda loader: loader.state is UpdateState.CONFIRMED, "1.4.0"),
}
"""When the agent is killed, and what the machine runs when it has come to rest."""


@asynccontextmanager
async def agent(the: Rig) -> AsyncIterator[Process]:
    """Run the agent as a process, and wait until it is there."""
    before = the.gateway.ticks(the.device())
    async with process(write_config(the)) as child:
        await the.gateway.until(lambda: the.gateway.ticks(the.device()) > before)
        yield child


async def command_and_kill(
    the: Rig, unit: Unit, command: Command, phase: Callable[[Loader], bool]
) -> None:
    async with agent(the) as child:
        notice(unit, phase, child.kill)
        await the.gateway.send(the.device(), command)
        await asyncio.wait_for(child.wait(), 60)


async def after_restart(the: Rig, unit: Unit, command: Command, runs: str) -> None:
    """Start the agent again: it tells that it was interrupted, and what runs."""
    await settled(unit)
    assert unit.machine.firmware == runs
    slots = unit._loader.slots
    assert set(slots) <= {images.factory(PUMP.name), IMAGE, b""}, "a slot holds all or nothing"
    before = len(the.gateway.statuses[the.device()])
    async with process(write_config(the)):
        answer = await the.gateway.answer(command.id)
        assert answer.status is AnswerStatus.FAILED
        assert "interrupted" in answer.reason
        statuses = the.gateway.statuses[the.device()]
        await the.gateway.until(lambda: any(s.online for s in statuses[before:]))
        told = next(status for status in statuses[before:] if status.online)
        assert (told.firmware, told.hardware) == (runs, 2)


@pytest.mark.parametrize("phase", PHASES)
async def test_an_agent_killed_in_any_phase_of_an_update_says_so_and_can_do_it_again(
    mosquitto: Mosquitto, tmp_path: Path, phase: str
) -> None:
    repo = published()
    with repos.serving(repo) as server:
        async with machine(mosquitto, tmp_path) as (the, unit):
            the.trusted_root = repos.root_file(tmp_path, repo)
            command = the.command("update_firmware", lifetime_s=7200, release=repos.ref(server))
            reached, runs = PHASES[phase]
            await command_and_kill(the, unit, command, reached)
            await after_restart(the, unit, command, runs)
            again = the.command("update_firmware", lifetime_s=7200, release=repos.ref(server))
            async with agent(the):
                await the.gateway.send(the.device(), again)
                answer = await the.gateway.answer(again.id)
                assert (answer.status, answer.firmware) == (AnswerStatus.DONE, "1.4.0")


async def test_an_agent_killed_while_it_has_a_machine_go_back_says_so(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    repo = published()
    with repos.serving(repo) as server:
        async with machine(mosquitto, tmp_path) as (the, unit):
            the.trusted_root = repos.root_file(tmp_path, repo)
            command = the.command("update_firmware", lifetime_s=7200, release=repos.ref(server))
            async with agent(the):
                await the.gateway.send(the.device(), command)
                answer = await the.gateway.answer(command.id)
                assert (answer.status, answer.firmware) == (AnswerStatus.DONE, "1.4.0")
            back = the.command(
                "revert_firmware", lifetime_s=7200, release=repos.ref(server, "1.0.0")
            )
            await command_and_kill(the, unit, back, lambda loader: loader.reverting)
            await after_restart(the, unit, back, "1.0.0")


async def test_an_agent_killed_while_it_downloads_goes_on_where_it_was(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    repo = published()
    with repos.serving(repo) as server:
        async with machine(mosquitto, tmp_path) as (the, unit):
            the.trusted_root = repos.root_file(tmp_path, repo)
            command = the.command("update_firmware", lifetime_s=7200, release=repos.ref(server))
            server.trickle = "/targets/"
            async with agent(the) as child:
                await the.gateway.send(the.device(), command)
                await came(tmp_path / "data" / "tuf" / "images", at_least=10)
                child.kill()
            server.trickle = ""
            async with agent(the):
                await the.gateway.send(the.device(), command)
                answer = await the.gateway.answer(command.id)
            assert (answer.status, answer.firmware) == (AnswerStatus.DONE, "1.4.0")
            assert unit.machine.firmware == "1.4.0"
            first, second = server.images()
            assert first == ""
            assert int(second.removeprefix("bytes=").removesuffix("-")) >= 10


async def came(folder: Path, at_least: int) -> None:
    def held() -> int:
        return max((file.stat().st_size for file in folder.glob("*")), default=0)

    async with asyncio.timeout(60):
        while held() < at_least:  # noqa: ASYNC110 - another process writes
            await asyncio.sleep(0.05)
