import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract import topics
from contract.codec import MAX_MESSAGE_BYTES
from contract.topics import Channel
from tests import peers
from tests.service.gateway_process import SIGNALS, Gateway, Plant, running, until

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, mosquitto: peers.Mosquitto
) -> Iterator[tuple[Gateway, Plant]]:
    with running(tmp_path_factory.mktemp("bad"), mosquitto, "bad") as both:
        yield both


def telemetry(device: str, site: str = "bad") -> str:
    return topics.build(site, device, Channel.TELEMETRY)


def now_ns() -> int:
    return time.time_ns()  # noqa: TID251 - the test stands outside, with a clock of its own


ONE_TICK = '{"v":1,"signals":["%s"],"times_ns":[1],"values":[[%s]]}'
BAD: dict[str, tuple[str, str, str]] = {
    "no JSON": (telemetry("bad-pump-1"), "\x00", "not a TelemetryBatch"),
    "unknown device": (telemetry("stranger"), "{}", "not in the gateway's list of assets"),
    "another version": (
        telemetry("bad-pump-1"),
        (ONE_TICK % ("mode", 1)).replace('"v":1', '"v":9'),
        "version 9",
    ),
    "ragged": (telemetry("bad-pump-1"), ONE_TICK % ("mode", "1,2"), "must have 1 rows of 1"),
    "NaN": (telemetry("bad-pump-1"), ONE_TICK % ("mode", "NaN"), "not a TelemetryBatch"),
    "strangers only": (telemetry("bad-pump-1"), ONE_TICK % ("flow_gpm", 1), "none of its signals"),
    "gigantic": (telemetry("bad-pump-1"), " " * (MAX_MESSAGE_BYTES + 1), "exceeds"),
    "wrong partition": (telemetry("bad-pump-1").replace("v1/", "v1/1"), "{}", "belongs to"),
    "hostile topic": ("farfix/v1/1/bad/<script>/telemetry", "{}", "cannot name"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD.keys())
def test_bad_messages_are_quarantined_with_a_reason_and_stop_nobody(
    world: tuple[Gateway, Plant], case: tuple[str, str, str]
) -> None:
    gateway, plant = world
    topic, payload, reason = case
    time_ns = now_ns()
    plant.raw(topic, payload.encode())
    plant.send("bad-pump-2", 0, time_ns, boot="")
    until(lambda: any(reason in r for r in gateway.quarantined()[:3]), f"reason {reason!r}")
    until(lambda: time_ns in gateway.stored("bad-pump-2"), "the other machine's reading")


def test_a_clock_that_jumps_ahead_is_quarantined_and_acknowledged(
    world: tuple[Gateway, Plant],
) -> None:
    gateway, plant = world
    ahead_ns = now_ns() + 3600 * 10**9
    plant.send("bad-pump-1", 1, ahead_ns, boot="jump")
    until(lambda: any("ahead of the gateway" in r for r in gateway.quarantined()), "the reason")
    until(lambda: plant.acks.get(("bad-pump-1", "jump")) == 1, "acknowledgement")
    assert ahead_ns not in gateway.stored("bad-pump-1")


def test_a_batch_that_cannot_be_used_does_not_block_its_sender(
    world: tuple[Gateway, Plant],
) -> None:
    gateway, plant = world
    time_ns = now_ns()
    plant.send("bad-pump-1", 1, time_ns, boot="stuck", values=[[1.0]])
    plant.send("bad-pump-1", 2, time_ns, boot="stuck")
    until(lambda: plant.acks.get(("bad-pump-1", "stuck")) == 2, "acknowledgement of both")
    until(lambda: time_ns in gateway.stored("bad-pump-1"), "the good one")
    until(lambda: any("must have 1 rows of 3" in r for r in gateway.quarantined()), "the reason")


def test_a_signal_of_another_unit_is_left_out_and_the_rest_is_kept(
    world: tuple[Gateway, Plant],
) -> None:
    gateway, plant = world
    time_ns = now_ns()
    plant.send("bad-pump-1", 1, time_ns, boot="mixed", signals=["flow_m3h", "flow_gpm", "mode"])
    until(lambda: any("left out: ['flow_gpm']" in r for r in gateway.quarantined()), "the reason")
    until(lambda: time_ns in gateway.stored("bad-pump-1"), "the known signal")


def test_the_gateway_ends_cleanly_when_told(tmp_path: Path, mosquitto: peers.Mosquitto) -> None:
    with running(tmp_path, mosquitto, "calm") as (gateway, plant):
        plant.send("calm-pump-1", 1, now_ns())
        until(lambda: plant.acks.get(("calm-pump-1", "b1")) == 1, "acknowledgement")
        assert gateway.stop() == 0


def test_what_was_acknowledged_survives_kill_9_once_and_in_order(
    tmp_path: Path, mosquitto: peers.Mosquitto
) -> None:
    sent: list[int] = []
    with running(tmp_path, mosquitto, "kill") as (gateway, plant):
        for strike in range(3):
            for _ in range(40):
                sent.append(max(now_ns(), sent[-1] + 1 if sent else 0))
                plant.send("kill-pump-1", len(sent), sent[-1])
            wanted = len(sent) - 20 * (strike % 2)
            until(lambda n=wanted: plant.acks.get(("kill-pump-1", "b1"), 0) >= n, "an ack")  # type: ignore[misc]
            gateway.kill()
            gateway.start()
            # As an edge agent does: what is not acknowledged is sent again, and a bit more.
            acknowledged = plant.acks["kill-pump-1", "b1"]
            for sequence in range(max(1, acknowledged - 5), len(sent) + 1):
                plant.send("kill-pump-1", sequence, sent[sequence - 1])
            until(lambda: plant.acks["kill-pump-1", "b1"] == len(sent), "everything acknowledged")
        until(lambda: len(gateway.stored("kill-pump-1")) >= len(sent), "everything stored")
        assert gateway.stored("kill-pump-1") == sent


def test_equipment_without_sequence_is_deduplicated_by_its_time(
    tmp_path: Path, mosquitto: peers.Mosquitto
) -> None:
    with running(tmp_path, mosquitto, "plain") as (gateway, plant):
        time_ns = now_ns()
        for value in (1.0, 2.0):
            values = [[value, 4.0, 2.0]]
            plant.send("plain-pump-1", 0, time_ns, boot="", signals=SIGNALS, values=values)
        until(lambda: gateway.stored("plain-pump-1") == [time_ns], "one row")
        assert plant.acks == {}


@pytest.mark.parametrize(
    ("asset", "texts"),
    [
        (
            'device = "Pump 1"\nmachine_type = "chiller"',
            ["assets.0.device", "cannot name"],
        ),
        (
            'device = "pump-1"\nmachine_type = "submarine"',
            ["asset pump-1", "submarine", "centrifugal_pump"],
        ),
    ],
)
def test_a_config_that_makes_no_sense_is_refused_with_file_field_and_reason(
    tmp_path: Path, asset: str, texts: list[str]
) -> None:
    config = tmp_path / "cloud.toml"
    config.write_text(f'[[assets]]\nsite = "a"\n{asset}\n')
    command = [sys.executable, "-P", "-m", "cloud", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    for text in (str(config), *texts):
        assert text in done.stderr
    assert "Traceback" not in done.stderr
