"""A firmware release through the whole agent: from a web server into a device's other slot."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from contract.commands import Answer, AnswerStatus
from contract.firmware import UpdateState
from contract.machines import RegisterKind
from tests.edge import images, plant
from tests.edge.rig import PUMP, Rig, pump, rig
from tests.peers import Mosquitto

pytestmark = pytest.mark.real


@asynccontextmanager
async def updatable(
    mosquitto: Mosquitto, folder: Path, trusted_key: str = images.PUBLIC
) -> AsyncIterator[tuple[Rig, plant.Bootloader]]:
    unit = pump()
    bootloader = plant.Bootloader(unit, PUMP)
    async with rig(mosquitto, folder, unit) as the:
        the.trusted_key = trusted_key
        async with the.running():
            await the.gateway.until(lambda: the.gateway.ticks(the.device()) > 0)
            yield the, bootloader


async def update(the: Rig, body: bytes = images.IMAGE, url: str = "") -> Answer:
    with images.serving() as (server, release):
        server.body = body
        command = the.command("update_firmware", release=replace(release, url=url or release.url))
        await the.gateway.send(the.device(), command)
        return await the.gateway.answer(command.id)


async def test_a_signed_release_is_installed_tried_and_confirmed(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with updatable(mosquitto, tmp_path) as (the, bootloader):
        ticks = the.gateway.ticks(the.device())
        answer = await update(the)
        assert (answer.status, answer.firmware, answer.reason) == (AnswerStatus.DONE, "1.4.0", "")
        assert bootloader.image == images.IMAGE
        assert bootloader.word(1) == UpdateState.CONFIRMED
        await the.gateway.until(lambda: the.gateway.ticks(the.device()) > ticks)
        await the.gateway.until(lambda: the.gateway.statuses[the.device()][-1].firmware == "1.4.0")


async def test_a_release_that_falls_back_has_failed_and_the_old_version_is_reported(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with updatable(mosquitto, tmp_path) as (the, bootloader):
        bootloader.works = False
        answer = await update(the)
        assert (answer.status, answer.firmware) == (AnswerStatus.FAILED, "1.2.3")
        assert "FELL_BACK" in answer.reason
        assert bootloader.word(1) == UpdateState.FELL_BACK


async def test_an_image_that_is_not_the_signed_one_never_reaches_the_device(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with updatable(mosquitto, tmp_path) as (the, bootloader):
        answer = await update(the, body=images.IMAGE[:-1] + b"?")
        assert answer.status is AnswerStatus.REFUSED
        assert "hash" in answer.reason
        assert bootloader.unit.writes == []


async def test_an_agent_without_a_trusted_key_updates_nothing(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with updatable(mosquitto, tmp_path, trusted_key="") as (the, bootloader):
        answer = await update(the)
        assert answer.status is AnswerStatus.REFUSED
        assert "trusted_key" in answer.reason
        assert bootloader.unit.writes == []


async def test_an_image_that_cannot_be_fetched_is_said_to_have_done_nothing(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with updatable(mosquitto, tmp_path) as (the, bootloader):
        answer = await update(the, url="http://127.0.0.1:9/image")
        assert answer.status is AnswerStatus.FAILED
        assert "nothing was done" in answer.reason
        assert bootloader.unit.writes == []


async def test_a_device_without_an_update_block_refuses(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with updatable(mosquitto, tmp_path) as (the, bootloader):
        holding = bootloader.unit.tables[RegisterKind.HOLDING]
        for address in [a for a in holding if a >= bootloader.block]:
            del holding[address]
        answer = await update(the)
        assert answer.status is AnswerStatus.FAILED
        assert "refuses to be updated" in answer.reason
        assert answer.firmware == "1.2.3"
