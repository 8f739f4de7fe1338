"""A whole agent that may update one device, and a repository for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from contract.commands import Answer
from contract.firmware import ReleaseRef
from tests.edge import plant
from tests.edge import repo as repos
from tests.edge.repo import Repo, Server
from tests.edge.rig import PUMP, Rig, pump, rig
from tests.peers import Mosquitto


@asynccontextmanager
async def updatable(
    mosquitto: Mosquitto, folder: Path, repo: Repo | None, hardware: int = 1
) -> AsyncIterator[tuple[Rig, plant.Bootloader]]:
    """Run an agent that trusts the repository, if there is one, beside one pump."""
    unit = pump()
    bootloader = plant.Bootloader(unit, PUMP, hardware)
    async with rig(mosquitto, folder, unit) as the:
        the.trusted_root = repos.root_file(folder, repo) if repo else None
        async with the.running():
            await the.gateway.until(lambda: the.gateway.ticks(the.device()) > 0)
            yield the, bootloader


async def order(the: Rig, name: str, release: ReleaseRef) -> Answer:
    """Send a command about firmware and wait for its answer."""
    command = the.command(name, release=release)
    await the.gateway.send(the.device(), command)
    return await the.gateway.answer(command.id)


async def update(the: Rig, server: Server, version: str = "1.4.0") -> Answer:
    return await order(the, "update_firmware", repos.ref(server, version))


async def revert(the: Rig, version: str) -> Answer:
    going_back = ReleaseRef(machine_type=PUMP.name, version=version, repository="")
    return await order(the, "revert_firmware", going_back)
