"""At its bounds the gateway says so, loses nothing, and lets nobody pay for another's flood."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cloud.adapters.series_files import instants
from tests import peers
from tests.service.gateway_process import Gateway, Plant, running, until

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

FLOOD = 3000
SECOND_NS = 10**9


def now_ns() -> int:
    return time.time_ns()  # noqa: TID251 - the test stands outside, with a clock of its own


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Mosquitto]:
    with peers.mosquitto(tmp_path_factory.mktemp("broker"), saves=False) as found:
        yield found


def test_a_device_that_floods_is_throttled_alone(tmp_path: Path, broker: peers.Mosquitto) -> None:
    with running(tmp_path, broker, "flood", "workers = 2") as (gateway, plant):
        other, begin_ns = Plant(broker, "flood", "other"), now_ns() - 100 * SECOND_NS
        plant.flood("flood-pump-1", FLOOD, begin_ns)
        waits = []
        for n in range(1, 6):
            asked_s = time.monotonic()
            other.send("flood-pump-2", n, now_ns())
            until(lambda n=n: other.acks.get(("flood-pump-2", "b1")) == n, "its turn")  # type: ignore[misc]
            waits.append(time.monotonic() - asked_s)
        other.close()
        until(lambda: "flood-pump-1 floods" in gateway.troubles(), "the alarm")
        assert "flood-pump-2" not in gateway.troubles()
        assert max(waits) < 10
        until(lambda: settled(plant), "rest")
        held = plant.acks["flood-pump-1", "b1"]
        assert held < FLOOD  # what was turned away was not acknowledged
        for n in range(held + 1, FLOOD + 1):  # as an agent does: again, and no faster than allowed
            plant.send("flood-pump-1", n, begin_ns + n)
            time.sleep(0.005)
        until(lambda: plant.acks["flood-pump-1", "b1"] == FLOOD, "all of it in the end")
        until(lambda: len(stored(gateway, "flood-pump-1")) == FLOOD, "all of it stored")
        assert len(gateway.stored("flood-pump-2")) == 5


def stored(gateway: Gateway, device: str) -> set[int]:
    """Return the instants that the embedded store holds of a device."""
    files = (gateway.directory / "data").glob("telemetry-*.db")
    return {at for file in files for whose, at in instants(file) if whose == device}


def counted(port: int) -> int:
    """Return how many readings InfluxDB holds of the pump."""
    query = {"db": "farfix", "q": "SELECT count(quality) FROM centrifugal_pump"}
    found = httpx.get(f"http://127.0.0.1:{port}/query", params=query, timeout=30).json()
    series = found["results"][0].get("series")
    return int(series[0]["values"][0][1]) if series else 0


def settled(plant: Plant) -> bool:
    """Tell whether a moment later nothing more has been acknowledged."""
    held = plant.acks["flood-pump-1", "b1"]
    time.sleep(1)
    return plant.acks["flood-pump-1", "b1"] == held


def test_a_full_journal_acknowledges_nothing_says_so_and_goes_on_when_the_store_is_back(
    tmp_path: Path, broker: peers.Mosquitto
) -> None:
    port, ticks = peers.free_port(), 1000
    series = f'[series]\nkind = "influx1"\nurl = "http://127.0.0.1:{port}"\n'
    settings = "journal_max_bytes = 10_000_000"
    begin_ns = now_ns() - 10**6 * ticks * 80
    with running(tmp_path, broker, "full", settings, series) as (gateway, plant):

        def send(n: int) -> None:
            times_ns = [begin_ns + (n * ticks + i) * 10**6 for i in range(ticks)]
            values = [[50.123456789 + i / 7, 4.123456789 + i / 9, 2.0] for i in range(ticks)]
            plant.send("full-pump-1", n, 0, times_ns=times_ns, values=values)

        sent = 0
        while "Telemetry is refused" not in gateway.troubles():
            sent += 1
            assert sent < 400, "the journal never filled"
            send(sent)
        held = plant.acks["full-pump-1", "b1"]
        assert 0 < held < sent
        assert "time-series store is away" in gateway.troubles()
        (tmp_path / "influx").mkdir()
        with peers.influx(tmp_path / "influx", port):
            for n in range(held + 1, sent + 1):
                send(n)
            until(lambda: plant.acks["full-pump-1", "b1"] == sent, "all acknowledged", 60)
            until(lambda: not gateway.troubles(), "all is well again", 60)
            until(lambda: counted(port) == sent * ticks, "all stored", 60)


def test_a_worker_that_is_told_to_end_saves_and_another_takes_its_place(
    tmp_path: Path, broker: peers.Mosquitto
) -> None:
    with running(tmp_path, broker, "leave") as (gateway, plant):
        plant.send("leave-pump-1", 1, now_ns())
        until(lambda: plant.acks.get(("leave-pump-1", "b1")) == 1, "acknowledgement")
        assert gateway.process
        children = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children")
        (worker,) = children.read_text().split()
        os.kill(int(worker), signal.SIGTERM)
        until(lambda: children.read_text().split() not in ([worker], []), "another worker", 30)
        plant.send("leave-pump-1", 2, now_ns())
        until(lambda: plant.acks.get(("leave-pump-1", "b1")) == 2, "acknowledgement", 60)
        until(lambda: len(stored(gateway, "leave-pump-1")) == 2, "both stored")
        assert "Traceback" not in (tmp_path / "log").read_text()
