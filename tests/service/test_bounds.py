"""At its bounds the gateway says so, loses nothing, and lets nobody pay for another's flood."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cloud.adapters.series_files import instants
from tests import peers
from tests.service.gateway_process import Gateway, Plant, running, until

pytestmark = pytest.mark.real

FLOOD, AGAIN, PER_S = 2400, 20, 10
"""It takes 2,000 at once and then so few a second that no test machine is too slow to flood."""
SECOND_NS = 10**9


def now_ns() -> int:
    return time.time_ns()  # noqa: TID251 - the test stands outside, with a clock of its own


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Mosquitto]:
    with peers.mosquitto(tmp_path_factory.mktemp("broker"), saves=False) as found:
        yield found


def test_a_device_that_floods_is_throttled_alone(tmp_path: Path, broker: peers.Mosquitto) -> None:
    settings = f"workers = 2\ndevice_batches_per_s = {PER_S}"
    with running(tmp_path, broker, "flood", settings) as (gateway, plant):
        other, begin_ns = Plant(broker, "flood", "other"), now_ns() - 100 * SECOND_NS
        plant.flood("flood-pump-1", FLOOD, begin_ns)
        for n in range(1, 6):
            other.send("flood-pump-2", n, now_ns())
            until(lambda n=n: other.acks.get(("flood-pump-2", "b1")) == n, "its turn")  # type: ignore[misc]
        other.close()
        until(lambda: turned_away(gateway) > 0, "the alarm")
        assert "flood-pump-2" not in gateway.troubles()
        taken = set[int]()

        def over() -> bool:
            taken.update(stored(gateway, "flood-pump-1"))
            return len(taken) + turned_away(gateway) == FLOOD

        until(over, "the end of the flood")
        until(lambda: begin_ns + acked(plant) + 1 not in taken, "rest")
        held = acked(plant)
        assert held < FLOOD  # what was turned away was not acknowledged
        for n in range(held + 1, held + AGAIN + 1):  # as an agent does: again, as fast as allowed
            time.sleep(1 / PER_S)
            plant.send("flood-pump-1", n, begin_ns + n)
        until(lambda: acked(plant) >= held + AGAIN, "its turn")
        wanted = {begin_ns + n for n in range(1, held + AGAIN + 1)}
        until(lambda: wanted <= stored(gateway, "flood-pump-1"), "all of it stored")
        assert len(gateway.stored("flood-pump-2")) == 5


def acked(plant: Plant) -> int:
    return plant.acks.get(("flood-pump-1", "b1"), 0)


def turned_away(gateway: Gateway) -> int:
    """Return how many batches of the first pump the gateway says that it left with it."""
    found = re.search(r"flood-pump-1 floods: (\d+) batches", gateway.troubles())
    return int(found[1]) if found else 0


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

        def held_or_refused() -> bool:  # what is on its way does not pile up where this is slow
            held = plant.acks.get(("full-pump-1", "b1"), 0)
            return held >= sent - 10 or "Telemetry is refused" in gateway.troubles()

        while "Telemetry is refused" not in gateway.troubles():
            sent += 1
            assert sent < 400, "the journal never filled"
            send(sent)
            until(held_or_refused, "its turn")
        held = plant.acks["full-pump-1", "b1"]
        assert 0 < held < sent
        assert "time-series store is away" in gateway.troubles()
        (tmp_path / "influx").mkdir()
        with peers.influx(tmp_path / "influx", port):
            for n in range(held + 1, sent + 1):
                send(n)
            until(lambda: plant.acks["full-pump-1", "b1"] == sent, "all acknowledged")
            until(lambda: not gateway.troubles(), "all is well again")
            until(lambda: counted(port) == sent * ticks, "all stored")


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
        until(lambda: children.read_text().split() not in ([worker], []), "another worker")
        plant.send("leave-pump-1", 2, now_ns())
        until(lambda: plant.acks.get(("leave-pump-1", "b1")) == 2, "acknowledgement")
        until(lambda: len(stored(gateway, "leave-pump-1")) == 2, "both stored")
        assert "Traceback" not in (tmp_path / "log").read_text()
