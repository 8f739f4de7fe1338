"""The whole agent between a Modbus server and a real Mosquitto."""

import asyncio
import itertools
from pathlib import Path

import pytest

from contract import codec, topics
from contract.commands import AnswerStatus, Precondition
from contract.machines import RegisterKind
from contract.telemetry import Quality, Reading
from contract.topics import Channel
from edge.adapters.spool import Batch, Bounds, Spool, open_database
from edge.agent import reporting, sending
from tests.edge import gateway, plant
from tests.edge.rig import PUMP, pump, rig
from tests.peers import Mosquitto

pytestmark = pytest.mark.real

SUCTION_VALVE = 2
RESTART = 10


@pytest.fixture
def stays_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever waits for a busy machine is live."""
    monkeypatch.setattr(sending, "FRESH_WALL_S", 60.0)


def writes_to(unit: plant.Unit, address: int) -> list[list[int]]:
    return [words for at, words in unit.writes if at == address]


@pytest.mark.usefixtures("stays_fresh")
async def test_telemetry_arrives_once_in_order_and_leaves_the_spool(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with rig(mosquitto, tmp_path, pump(speed_rpm=1450)) as the:
        async with the.running():
            await the.gateway.until(lambda: the.gateway.ticks(the.device()) >= 8)
            status = the.gateway.status(the.device())
            assert status is not None
            assert (status.online, status.firmware, status.boot_count) == (True, "1.2.3", 4)
            mine = the.gateway.status(the.agent_name)
            assert mine is not None
            assert mine.online
            async with asyncio.timeout(60):
                while the.spooled() > 1:  # noqa: ASYNC110 - a file has no event
                    await asyncio.sleep(0.05)
        batches = the.gateway.batches[the.device()]
        assert [b.sequence for b in batches] == list(range(1, len(batches) + 1))
        assert len({b.boot for b in batches}) == 1
        assert not any(b.historical for b in batches)
        times = [t for b in batches for t in b.times_ns]
        interval_ns = PUMP.poll_interval_s * 1e9
        assert times[-1] - times[0] > (len(times) - 2) * interval_ns, "a tick has its own interval"
        assert 0 < min(b - a for a, b in itertools.pairwise(times)) < 1.6 * interval_ns, times
        values = dict(zip(batches[0].signals, batches[0].values[0], strict=True))
        assert values["speed_rpm"] == 1450
        assert set(values) == {s.name for s in PUMP.signals if s.modbus}
        await the.gateway.until(lambda: the.gateway.statuses[the.agent_name][-1].online is False)
        assert the.gateway.statuses[the.device()][-1].reason == f"agent {the.agent_name} stopped"


async def test_a_dead_device_delays_nobody_and_is_found_when_it_returns(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    units = pump(), plant.Unit(silent=True), plant.Unit(silent=True)
    async with rig(mosquitto, tmp_path, *units, timeout_s=0.1) as the, the.running():
        dead = the.device(2)
        await the.gateway.until(lambda: the.gateway.status(dead) is not None)
        status = the.gateway.status(dead)
        assert status is not None
        assert not status.online
        assert "does not answer" in status.reason
        before, asked = the.gateway.ticks(the.device(1)), units[1].requests
        await the.gateway.until(lambda: the.gateway.ticks(the.device(1)) >= before + 12)
        assert units[1].requests - asked <= 6, "a dead device is asked less and less"
        units[1].tables = pump().tables
        units[1].silent = False
        await the.gateway.until(lambda: the.gateway.ticks(dead) > 0)
        await the.gateway.until(lambda: the.gateway.statuses[dead][-1].online)


async def test_a_command_acts_once_however_often_it_comes(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    unit = pump()
    async with rig(mosquitto, tmp_path, unit) as the:
        command = the.command("set_suction_valve", 55.5)
        async with the.running():
            await the.gateway.until(lambda: the.gateway.ticks(the.device()) > 0)
            await the.gateway.send(the.device(), command)
            await the.gateway.send(the.device(), command)
            first = await the.gateway.answer(command.id)
            assert (first.status, first.readback) == (AnswerStatus.DONE, {"value": 55.5})
            assert await the.gateway.answer(command.id, 2) == first
        unit.tables[RegisterKind.HOLDING][SUCTION_VALVE] = 123
        await the.gateway.send(the.device(), command)  # while the agent is away
        async with the.running():
            assert await the.gateway.answer(command.id, 3) == first
        assert writes_to(unit, SUCTION_VALVE) == [[555]]


async def test_what_must_not_act_does_not_touch_the_device(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    unit = pump(discharge_pressure_bar=7)
    async with rig(mosquitto, tmp_path, unit, pump(), timeout_s=1.0) as the, the.running():
        fast = Precondition(signal="speed_rpm", minimum=2900)
        cases = [
            (
                1,
                the.command("set_suction_valve", 50, lifetime_s=0),
                AnswerStatus.EXPIRED,
                "expired",
            ),
            (1, the.command("set_suction_valve", 101), AnswerStatus.REFUSED, "outside 20 to 100"),
            (1, the.command("set_suction_valve"), AnswerStatus.REFUSED, "needs an argument"),
            (1, the.command("restart"), AnswerStatus.REFUSED, "discharge_pressure_bar reads 7"),
            (
                1,
                the.command("set_suction_valve", 50, precondition=fast),
                AnswerStatus.REFUSED,
                "speed_rpm reads",
            ),
            (1, the.command("self_destruct"), AnswerStatus.REFUSED, "no command"),
            (1, the.command("update_firmware"), AnswerStatus.REFUSED, "without a release"),
            (2, the.command("restart"), AnswerStatus.UNREACHABLE, "does not answer"),
        ]
        await the.gateway.until(lambda: the.gateway.ticks(the.device()) > 0)
        for number, command, status, reason in cases:
            the.units[2].silent = number == 2
            await the.gateway.send(the.device(number), command)
            answer = await the.gateway.answer(command.id)
            assert (answer.status, reason in answer.reason) == (status, True), answer
        assert unit.writes == []


async def test_a_setting_that_does_not_stick_has_failed(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    unit = pump(suction_valve_pct=30)
    unit.stubborn = {SUCTION_VALVE}
    async with rig(mosquitto, tmp_path, unit) as the, the.running():
        command = the.command("set_suction_valve", 80)
        await the.gateway.until(lambda: the.gateway.ticks(the.device()) > 0)
        await the.gateway.send(the.device(), command)
        answer = await the.gateway.answer(command.id)
        assert answer.status is AnswerStatus.FAILED
        assert "wrote 80, read back 30" in answer.reason


async def test_a_restart_counts_when_the_boot_counter_says_so(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    unit = pump()

    def reboot(address: int, words: list[int]) -> None:
        if address == RESTART and words == [1]:
            unit.silent = True
            asyncio.get_running_loop().call_later(0.3, back)

    def back() -> None:
        unit.silent = False
        unit.show(PUMP, mode=2, discharge_pressure_bar=3, boot_count=5, firmware_version=1_002_003)

    unit.on_write = reboot
    async with rig(mosquitto, tmp_path, unit, timeout_s=0.5, speed=60) as the, the.running():
        command = the.command("restart")
        await the.gateway.until(lambda: the.gateway.ticks(the.device()) > 0)
        await the.gateway.send(the.device(), command)
        answer = await the.gateway.answer(command.id)
        assert (answer.status, answer.readback) == (AnswerStatus.DONE, {"boot_count": 5})
        await the.gateway.until(lambda: the.gateway.statuses[the.device()][-1].boot_count == 5)
        unit.on_write = lambda address, words: None
        again = the.command("restart")
        await the.gateway.send(the.device(), again)
        answer = await the.gateway.answer(again.id)
        assert answer.status is AnswerStatus.FAILED
        assert "as if nothing happened" in answer.reason
        assert writes_to(unit, RESTART) == [[1], [1]]


async def test_commands_of_different_devices_run_side_by_side(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """One device's restart waits for its counter; another's setting does not wait for that."""
    async with rig(mosquitto, tmp_path, pump(), pump(), speed=10) as the, the.running():
        slow, quick = the.command("restart"), the.command("set_suction_valve", 40)
        await the.gateway.until(lambda: the.gateway.ticks(the.device()) > 0)
        await the.gateway.send(the.device(1), slow)
        await the.gateway.send(the.device(2), quick)
        assert (await the.gateway.answer(quick.id)).status is AnswerStatus.DONE
        ticks = the.gateway.ticks(the.device(1))
        await the.gateway.until(lambda: the.gateway.ticks(the.device(1)) >= ticks + 2)
        the.units[1].show(PUMP, boot_count=5)
        assert (await the.gateway.answer(slow.id)).status is AnswerStatus.DONE
        assert [answer.id for answer in the.gateway.answers] == [quick.id, slow.id]


async def test_nothing_is_lost_while_the_broker_is_away_and_live_does_not_wait(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "FRESH_WALL_S", 1.0)
    async with rig(mosquitto, tmp_path, pump()) as the:
        the.note_taken()
        async with the.running():
            await the.gateway.until(lambda: the.gateway.ticks(the.device()) > 0)
            heard = list(the.gateway.batches[the.device()])
            mosquitto.kill()
            held = the.spooled()
            async with asyncio.timeout(60):
                while the.spooled() < held + 9:  # noqa: ASYNC110 - a file has no event
                    await asyncio.sleep(0.05)
            mosquitto.restart()
            async with gateway.listening(mosquitto, f"after-{the.number}") as after:
                later = after.batches.setdefault(the.device(), [])
                await after.until(lambda: len({b.boot for b in later}) >= 2)
                await after.until(lambda: the.spooled() <= 1)
                taken = the.taken(the.device())
                early = the.gateway.times(the.device())
                await after.until(lambda: taken <= early | after.times(the.device()))
            got = {(b.boot, b.sequence): b for b in heard + later}
            for boot in {boot for boot, _ in got}:
                sequences = sorted(sequence for found, sequence in got if found == boot)
                assert sequences == list(range(1, len(sequences) + 1)), "a batch is missing"
            assert True in [b.historical for b in later], "what waited long is history"


@pytest.mark.usefixtures("stays_fresh")
async def test_what_the_gateway_did_not_acknowledge_comes_again_after_a_reconnect(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with rig(mosquitto, tmp_path, pump()) as the, the.running():
        the.gateway.acknowledges = False
        await the.gateway.until(lambda: len(the.gateway.batches.get(the.device(), [])) >= 4)
        first = the.gateway.batches[the.device()][:4]
        mosquitto.kill()
        mosquitto.restart()
        async with gateway.listening(mosquitto, f"after-{the.number}") as after:
            came = after.batches.setdefault(the.device(), [])
            await after.until(lambda: {b.sequence for b in came} >= {b.sequence for b in first})
            again = {b.sequence: b for b in came if b.sequence <= 4}
        assert {n: (b.boot, b.values) for n, b in again.items()} == {
            b.sequence: (b.boot, b.values) for b in first
        }
        assert again[1].oldest == 1
        assert not any(b.historical for b in again.values()), "they were fresh when they first left"


async def test_a_full_spool_drops_the_oldest_and_says_so(
    mosquitto: Mosquitto,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reporting, "REPORT_INTERVAL_S", 15.0)
    async with rig(mosquitto, tmp_path, pump()) as the:
        spool = Spool(open_database(tmp_path / "data" / "edge.db"), Bounds(1_000_000))
        names = [f"s{i}" for i in range(256)]
        at = the.now_ns()
        while spool.held_bytes < 995_000:
            tick = Reading(at, dict.fromkeys(names, 1.5), dict.fromkeys(names, Quality.GOOD))
            spool.commit([Batch("retired", "x", (tick,))] * 3)
            at += 1
        assert spool.dropped.total() == 0
        the.gateway.acknowledges = False

        def dropped() -> int:
            status = the.gateway.status(the.agent_name)
            return 0 if status is None else status.spool_dropped

        async with the.running():
            await the.gateway.until(lambda: dropped() > 0)
            told = the.gateway.statuses[the.agent_name]
            await the.gateway.until(lambda: any(status.spool_full for status in told))
            said = next(status for status in told if status.spool_full)
            assert said.online
            assert said.spool_dropped >= 1
            assert 0.9e6 < said.spool_bytes <= 1e6
            assert "raise spool_max_bytes" in said.spool_full
            assert 0 < said.spool_oldest_ns <= said.at_ns
            await the.gateway.until(lambda: dropped() > said.spool_dropped)
        assert "batches dropped so far, the oldest first" in caplog.text


async def test_nonsense_from_the_broker_stops_nothing(
    mosquitto: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unit = pump()
    async with rig(mosquitto, tmp_path, unit) as the, the.running():
        await the.gateway.until(lambda: the.gateway.ticks(the.device()) > 0)
        send = the.gateway.client.publish
        command = topics.build(gateway.SITE, the.device(), Channel.COMMAND)
        ack = topics.build(gateway.SITE, the.device(), Channel.ACK)
        for payload in (b"", b"\xff\xfe", b"[]", b'{"v":1}', b'{"v":9}', b"x" * 300_000):
            await send(command, payload, qos=1)
            await send(ack, payload, qos=1)
        kept = the.command("set_suction_valve", 50)
        await send(command, codec.encode(kept), qos=1, retain=True)
        await send(command, b"", qos=1, retain=True)
        good = the.command("set_suction_valve", 60)
        await the.gateway.send(the.device(), good)
        assert (await the.gateway.answer(good.id)).status is AnswerStatus.DONE
        ticks = the.gateway.ticks(the.device())
        await the.gateway.until(lambda: the.gateway.ticks(the.device()) > ticks)
        assert "ignoring a message" in caplog.text


async def test_a_retained_command_is_ignored(mosquitto: Mosquitto, tmp_path: Path) -> None:
    unit = pump()
    async with rig(mosquitto, tmp_path, unit) as the:
        topic = topics.build(gateway.SITE, the.device(), Channel.COMMAND)
        stuck = the.command("set_suction_valve", 50)
        await the.gateway.client.publish(topic, codec.encode(stuck), qos=1, retain=True)
        async with the.running():
            good = the.command("set_suction_valve", 60)
            await the.gateway.until(lambda: the.gateway.ticks(the.device()) > 0)
            await the.gateway.send(the.device(), good)
            await the.gateway.answer(good.id)
        assert writes_to(unit, SUCTION_VALVE) == [[600]]
        await the.gateway.client.publish(topic, b"", qos=1, retain=True)
