"""A release through the whole agent: from a signed repository into a device, and back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.commands import AnswerStatus
from contract.firmware import UpdateState
from contract.machines import RegisterKind
from tests.edge import repo as repos
from tests.edge.repo import IMAGE, Repo, Server
from tests.edge.updating import revert, updatable, update
from tests.peers import Mosquitto

pytestmark = pytest.mark.real

STATE = 1


@pytest.fixture
def repo() -> Repo:
    made = Repo()
    made.add("1.4.0")
    made.publish()
    return made


@pytest.fixture
def server(repo: Repo) -> Iterator[Server]:
    with repos.serving(repo) as serving:
        yield serving


async def test_a_signed_release_is_installed_tried_and_confirmed_once(
    mosquitto: Mosquitto, tmp_path: Path, repo: Repo, server: Server
) -> None:
    async with updatable(mosquitto, tmp_path, repo) as (the, bootloader):
        ticks = the.gateway.ticks(the.device())
        answer = await update(the, server)
        assert (answer.status, answer.firmware, answer.reason) == (AnswerStatus.DONE, "1.4.0", "")
        assert bootloader.image == IMAGE
        assert bootloader.word(STATE) == UpdateState.CONFIRMED
        await the.gateway.until(lambda: the.gateway.ticks(the.device()) > ticks)
        await the.gateway.until(lambda: the.gateway.statuses[the.device()][-1].firmware == "1.4.0")
        writes = len(bootloader.unit.writes)
        again = await update(the, server)
        assert (again.status, again.firmware) == (AnswerStatus.DONE, "1.4.0")
        assert len(bootloader.unit.writes) == writes, "what runs is not sent again"


async def test_a_device_goes_back_to_what_it_ran_and_only_once(
    mosquitto: Mosquitto, tmp_path: Path, repo: Repo, server: Server
) -> None:
    async with updatable(mosquitto, tmp_path, repo) as (the, bootloader):
        await update(the, server)
        requests = len(server.requests)
        answer = await revert(the, "1.2.3")
        assert (answer.status, answer.firmware, answer.reason) == (AnswerStatus.DONE, "1.2.3", "")
        assert bootloader.word(STATE) == UpdateState.REVERTED
        assert len(server.requests) == requests, "no image travels"
        writes = len(bootloader.unit.writes)
        again = await revert(the, "1.2.3")
        assert (again.status, again.firmware) == (AnswerStatus.DONE, "1.2.3")
        assert len(bootloader.unit.writes) == writes
        other = await revert(the, "1.1.1")
        assert (other.status, other.firmware) == (AnswerStatus.FAILED, "1.2.3")
        assert "nothing that it may go back to" in other.reason


async def test_going_back_to_something_else_than_was_asked_has_failed(
    mosquitto: Mosquitto, tmp_path: Path, repo: Repo, server: Server
) -> None:
    async with updatable(mosquitto, tmp_path, repo) as (the, _):
        await update(the, server)
        answer = await revert(the, "1.2.2")
        assert (answer.status, answer.firmware) == (AnswerStatus.FAILED, "1.2.3")
        assert "runs 1.2.3 in the end" in answer.reason


async def test_a_release_that_falls_back_has_failed_and_the_old_version_is_reported(
    mosquitto: Mosquitto, tmp_path: Path, repo: Repo, server: Server
) -> None:
    async with updatable(mosquitto, tmp_path, repo) as (the, bootloader):
        bootloader.works = False
        answer = await update(the, server)
        assert (answer.status, answer.firmware) == (AnswerStatus.FAILED, "1.2.3")
        assert "FELL_BACK" in answer.reason
        assert bootloader.word(STATE) == UpdateState.FELL_BACK


@pytest.mark.parametrize(
    ("version", "claims", "said"),
    [
        ("1.4.1", {"hardware": [2, 3]}, "runs on hardware 2, 3; the machine has revision 1"),
        ("1.4.1", {"min_version": "1.3.0"}, "needs 1.3.0 to run first; 1.2.3 runs"),
        ("1.2.2", {}, "downgrade"),
        ("1.4.1", {"signature": ""}, "without the signature"),
        ("1.4.1", {"image": b"x" * 65537}, "fit into a slot"),
        ("1.4.1", {"version": "1.4.2"}, "says that it is"),
        ("1.4.1", {"machine_type": "chiller"}, "says that it is"),
        ("1.4.1", {"surprise": 1}, "is no release"),
        ("9.9.9", {"path": "elsewhere.img"}, "has no target"),
    ],
)
async def test_what_does_not_fit_the_machine_never_reaches_it(
    mosquitto: Mosquitto, tmp_path: Path, version: str, claims: dict[str, Any], said: str
) -> None:
    repo = Repo()
    claims = {"image": IMAGE, **claims}
    repo.add(version, claims.pop("image"), **claims)
    repo.publish()
    with repos.serving(repo) as server:
        async with updatable(mosquitto, tmp_path, repo) as (the, bootloader):
            answer = await update(the, server, version)
            assert answer.status is AnswerStatus.REFUSED
            assert said in answer.reason
            assert bootloader.unit.writes == []


async def test_a_machine_that_shows_no_hardware_takes_only_what_runs_on_all(
    mosquitto: Mosquitto, tmp_path: Path, repo: Repo, server: Server
) -> None:
    repo.add("1.5.0", hardware=[1])
    repo.publish()
    async with updatable(mosquitto, tmp_path, repo) as (the, bootloader):
        del bootloader.holding[max(bootloader.holding)]
        answer = await update(the, server, "1.5.0")
        assert answer.status is AnswerStatus.REFUSED
        assert "shows none" in answer.reason
        assert (await update(the, server)).status is AnswerStatus.DONE


async def test_the_status_tells_the_hardware(
    mosquitto: Mosquitto, tmp_path: Path, repo: Repo
) -> None:
    async with updatable(mosquitto, tmp_path, repo, hardware=7) as (the, _):
        await the.gateway.until(lambda: the.gateway.status(the.device()) is not None)
        status = the.gateway.status(the.device())
        assert status is not None
        assert (status.hardware, status.firmware) == (7, "1.2.3")


async def test_an_agent_without_a_trusted_root_updates_nothing(
    mosquitto: Mosquitto, tmp_path: Path, server: Server
) -> None:
    async with updatable(mosquitto, tmp_path, None) as (the, bootloader):
        answer = await update(the, server)
        assert answer.status is AnswerStatus.REFUSED
        assert "trusted_root" in answer.reason
        assert bootloader.unit.writes == []
        assert server.requests == []


async def test_an_image_that_cannot_be_fetched_is_said_to_have_done_nothing(
    mosquitto: Mosquitto, tmp_path: Path, repo: Repo, server: Server
) -> None:
    del repo.files[next(path for path in repo.files if path.startswith("/targets/"))]
    async with updatable(mosquitto, tmp_path, repo) as (the, bootloader):
        answer = await update(the, server)
        assert answer.status is AnswerStatus.FAILED
        assert "nothing was done" in answer.reason
        assert bootloader.unit.writes == []


async def test_a_device_without_an_update_block_is_left_alone(
    mosquitto: Mosquitto, tmp_path: Path, repo: Repo, server: Server
) -> None:
    async with updatable(mosquitto, tmp_path, repo) as (the, bootloader):
        holding = bootloader.unit.tables[RegisterKind.HOLDING]
        for address in [a for a in holding if a >= bootloader.block]:
            del holding[address]
        answer = await update(the, server)
        assert answer.status is AnswerStatus.REFUSED
        assert "no update block" in answer.reason
        assert bootloader.unit.writes == []


async def test_an_update_waits_until_a_trial_has_come_to_its_end(
    mosquitto: Mosquitto, tmp_path: Path, repo: Repo, server: Server
) -> None:
    async with updatable(mosquitto, tmp_path, repo) as (the, bootloader):
        bootloader.become(UpdateState.TRIAL)
        bootloader.show_version(1_004_000)
        command = the.command("update_firmware", release=repos.ref(server))
        await the.gateway.send(the.device(), command)
        await the.gateway.until(lambda: the.gateway.statuses[the.device()][-1].firmware == "1.4.0")
        assert the.gateway.answers == []
        bootloader.show_version(1_002_003)
        bootloader.become(UpdateState.FELL_BACK)
        answer = await the.gateway.answer(command.id)
        assert (answer.status, answer.firmware) == (AnswerStatus.DONE, "1.4.0")
        assert bootloader.image == IMAGE
