"""A bad release is noticed on the machine, stopped and taken back; a good one reaches all.

All programs are real: simulated pumps over Modbus, an edge agent that verifies the repository by
itself, a broker, the gateway with its detectors. Installing succeeds both times.
"""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from cloud.adapters import broker
from cloud.adapters.clock import PlantClock
from contract.firmware import Claims
from contract.timescale import Timescale
from farfix import release_kit
from farfix.api import Gateway
from farfix.children import Children
from farfix.demo import stage
from farfix.demo.dispatch import Dispatch
from farfix.demo.machines import Simulator
from farfix.demo.script import Machine
from firmware_sim import images

pytestmark = [pytest.mark.journey, pytest.mark.timeout(600)]

SPEED = 60.0
PUMPS = [Machine(f"pump-{n}", "centrifugal_pump", "north", f"line-{n}", n) for n in range(1, 6)]
"""Each on a bus of its own: one that restarts keeps no other from confirming its trial."""
STAGES = [{"count": 1, "soak_s": 900}, {"percent": 100, "soak_s": 900}]
ATTEMPTS_MAX = 5
"""A trial lasts four seconds of the clock; a busy computer may need more, and tries again."""
WAIT_S = 280.0


class Plant(NamedTuple):
    """Everything runs and every machine is commissioned."""

    api: httpx.Client
    gateway: Gateway
    at: stage.Stage
    dispatch: Dispatch

    def publish(self, version: str, *defects: str) -> None:
        image = images.build("centrifugal_pump", version, defects)
        claims = Claims(machine_type="centrifugal_pump", version=version)
        release_kit.release(self.at.releases, claims, image)
        release_kit.publish(self.at.releases)
        self.gateway.publish(self.at.releases.room)

    def start(self, version: str, failed_min: int) -> int:
        limits = {"attempts_max": ATTEMPTS_MAX, "failed_min": failed_min}
        policy = {"stages": STAGES, "limits": limits}
        order = {"machine_type": "centrifugal_pump", "version": version, "policy": policy}
        made = self.api.post("/api/rollouts", json={"by": "anna", "order": order})
        assert made.is_success, made.text
        number: int = made.json()["number"]
        agreed = self.api.post(f"/api/rollouts/{number}/approve", json={"by": "bert"})
        assert agreed.is_success, agreed.text
        return number

    def ended(self, number: int) -> dict[str, Any]:
        deadline_s = time.monotonic() + WAIT_S
        while True:
            rollout: dict[str, Any] = self.api.get(f"/api/rollouts/{number}").json()
            if rollout["phase"] in {"finished", "stopped", "canceled"}:
                return rollout
            assert time.monotonic() < deadline_s, self.told(number)
            time.sleep(0.5)

    def told(self, number: int) -> str:
        lines = self.api.get(f"/api/audit?rollout={number}&limit=500").json()
        said = [f"{line['device']} {line['text']}" for line in reversed(lines)]
        for case in self.gateway.cases():
            said += [f"{case.case_id} is {case.phase}"]
            said += [f"  {entry.text}" for entry in self.gateway.case(case.case_id).timeline]
        return "\n".join(said)

    def updates(self, number: int) -> dict[str, str]:
        found = self.api.get(f"/api/rollouts/{number}/updates?limit=100").json()
        rows = found["updates"] if isinstance(found, dict) else found
        return {row["device"]: row["phase"] for row in rows}

    def versions(self) -> dict[str, str]:
        return {m["device"]: m["firmware"] for m in self.api.get("/api/fleet").json()["machines"]}


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("rollout")
    at = stage.prepare(folder / "stage", PUMPS, Timescale(SPEED, PlantClock().now_ns()))
    with (
        Dispatch(at.webhook_secret) as dispatch,
        broker.start(folder / "broker", stage.USERS) as its_broker,
        Children(folder / "logs") as children,
    ):
        stage.write_configs(at, its_broker, dispatch.url, seed=5)
        simulator, gateway = Simulator(at.control_port), Gateway(at.base_url, at.api_token)
        children.start("sim", "firmware_sim", "--fleet", str(at.config["sim"]))
        children.await_ready("the simulator", simulator.ready, 180)
        children.start("cloud", "cloud", "--config", str(at.config["cloud"]))
        children.await_ready("the gateway", gateway.healthy, 180)
        children.start("edge-north", "edge", "--config", str(at.config["edge-north"]))
        headers = {"authorization": f"Bearer {at.api_token}"}
        with httpx.Client(
            base_url=at.base_url, headers=headers, timeout=60, trust_env=False
        ) as api:
            while any(m.status in {"learning", "waiting"} for m in gateway.fleet().machines):
                children.check()
                time.sleep(1)
            yield Plant(api, gateway, at, dispatch)
        gateway.close()


@pytest.fixture(scope="module")
def bad(plant: Plant) -> dict[str, Any]:
    plant.publish("1.1.0", "hunting")
    return plant.ended(plant.start("1.1.0", failed_min=1))


def test_a_bad_release_is_stopped_after_one_machine_and_taken_back(
    plant: Plant, bad: dict[str, Any]
) -> None:
    number = bad["number"]
    assert bad["phase"] == "stopped", plant.told(number)
    assert bad["stop"]["reached"] == 1, plant.told(number)
    phases = plant.updates(number)
    assert sorted(phases.values()) == ["reverted", *["skipped"] * (len(PUMPS) - 1)]
    assert set(plant.versions().values()) == {"1.0.0"}
    [release] = plant.api.get("/api/releases").json()
    assert "stopped" in release["barred"]


def test_the_good_release_after_it_reaches_every_machine(plant: Plant, bad: dict[str, Any]) -> None:
    assert bad["phase"] == "stopped"
    plant.publish("1.2.0")
    good = plant.ended(plant.start("1.2.0", failed_min=len(PUMPS)))
    told = plant.told(good["number"])
    assert good["phase"] == "finished", told
    assert set(plant.updates(good["number"]).values()) == {"updated"}, told
    assert set(plant.versions().values()) == {"1.2.0"}
    assert plant.dispatch.tickets == {}
