"""Whenever the power goes, a machine comes up with the old firmware or the new, never a mixture."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from contract.firmware import UpdateControl, UpdateState
from contract.machines import library
from firmware_sim import bootloader, images, slots
from firmware_sim.bootloader import Loader, Trust
from firmware_sim.physics import build
from firmware_sim.unit import Unit
from tests.sim import cutting
from tests.sim.updating import KEY, Writer, signed, step

PUMP = "centrifugal_pump"
OLD = Loader(slots=(images.factory(PUMP), b""))
NEW = replace(
    OLD,
    slots=(images.factory(PUMP), signed(PUMP, "1.1.0", defects_on={2: ("hunting",)})[1]),
    active=1,
    state=UpdateState.CONFIRMED,
    revert_until_ns=10**18,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pump-1.json"
    slots.save(path, OLD)
    return path


def test_slots_are_whole_wherever_a_write_is_cut(file: Path) -> None:
    cuts = []
    for at in cutting.at_every_byte(lambda: slots.save(file, NEW)):
        assert slots.load(file, PUMP) == OLD
        cuts.append(at)
    assert len(cuts) == len(file.read_bytes()), "every byte was tried"
    assert slots.load(file, PUMP) == NEW


def test_slots_are_whole_wherever_the_machine_dies_while_it_saves(file: Path) -> None:
    seen = []
    for _ in cutting.at_every_line(lambda: slots.save(file, NEW), slots.save.__code__):
        found = slots.load(file, PUMP)
        assert found in (OLD, NEW)
        seen.append(found == NEW)
        slots.save(file, OLD)
    assert seen[0] is False
    assert seen[-1] is True, "some cuts come before the new name is there, some after"
    assert len(seen) > 5


def test_what_takes_the_name_is_on_the_disk_already(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without this order a power cut could leave the new name on an empty file."""
    synced: dict[Path, bytes | None] = {}
    real_sync, real_replace = os.fsync, Path.replace

    def sync(number: int) -> None:
        path = Path(f"/proc/self/fd/{number}").readlink()
        real_sync(number)
        synced[path] = path.read_bytes() if path.is_file() else None

    def take_name(partial: Path, target: Path) -> Path:
        assert synced[partial] == partial.read_bytes()
        synced.clear()
        return real_replace(partial, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", take_name)
    slots.save(file, NEW)
    assert file.parent in synced, "the name itself must be on the disk, too"


WRITER = """
import sys
from pathlib import Path
from firmware_sim import slots
from tests.sim.test_sim_power import NEW, OLD
file = Path(sys.argv[1])
print("ready", flush=True)
while True:
    slots.save(file, NEW)
    slots.save(file, OLD)
"""


def test_a_process_killed_while_it_writes_leaves_whole_slots(file: Path) -> None:
    dice = random.Random(7)
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            time.sleep(dice.uniform(0.0, 0.05))
            writer.send_signal(signal.SIGKILL)
        assert slots.load(file, PUMP) in (OLD, NEW)


def machine(folder: Path) -> Unit:
    unit = Unit(library()[PUMP], build(PUMP, "pump-1", 1), Trust(PUMP, KEY.public_key()), folder)
    step(unit, 20)
    return unit


def test_a_power_cut_at_every_step_of_an_update_leaves_old_or_new(tmp_path: Path) -> None:
    """Cut after every single request, and after every second of plant time in between."""
    release, image = signed(PUMP, "1.1.0")
    unit, confirmed, runs = machine(tmp_path), False, []

    def cut() -> None:
        file = tmp_path / "pump-1.json"
        saved = file.read_bytes()
        after = machine(tmp_path)
        step(after, int(bootloader.TRIAL_S) + 40)
        runs.append(after.machine.firmware)
        assert after.machine.firmware == ("1.1.0" if confirmed else "1.0.0")
        other = after._loader.slots[1 - after._loader.active]
        assert other in (b"", image, images.factory(PUMP)), "a slot holds all of an image or none"
        file.write_bytes(saved)

    class Cutting(Writer):
        def put(self, offset: int, values: object) -> None:
            super().put(offset, values)  # type: ignore[arg-type]
            cut()

    writer = Cutting(unit)
    writer.send(release, image)
    writer.order(UpdateControl.BOOT_TRIAL)
    for _ in range(25):
        step(unit, 1)
        cut()
    assert unit.machine.firmware == "1.1.0"
    confirmed = True
    writer.order(UpdateControl.CONFIRM)
    assert set(runs) == {"1.0.0", "1.1.0"}
