"""The simulator as a program: its configuration, its control port, its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusIOException

from contract.errors import Malformed
from contract.machines import library
from firmware_sim import control
from firmware_sim.bootloader import Trust
from firmware_sim.config import load
from firmware_sim.faults import CATALOGUE
from firmware_sim.physics import build
from firmware_sim.plant import CATCH_UP_S, Plant
from firmware_sim.unit import Unit
from tests.peers import free_port

NOW_NS = 1_795_330_800_000_000_000
FLEET = """
seed = 7
timescale = ""
control_port = {control}
state_dir = "{folder}/state"
[[buses]]
name = "tcp-1"
kind = "tcp"
port = {port}
[[buses]]
name = "rtu-1"
kind = "rtu"
path = "{folder}/rtu-1"
[[machines]]
device = "pump-1"
machine_type = "centrifugal_pump"
bus = "tcp-1"
unit = 1
[[machines]]
device = "chiller-1"
machine_type = "chiller"
bus = "rtu-1"
unit = 1
"""


def write(folder: Path, change: tuple[str, str] = ("", ""), control: int = 0) -> Path:
    text = FLEET.format(control=control, folder=folder, port=free_port())
    assert change[0] in text
    file = folder / "fleet.toml"
    file.write_text(text.replace(*change, 1) if change[0] else text)
    return file


def test_a_fleet_is_read(tmp_path: Path) -> None:
    config = load(write(tmp_path))
    assert [machine.device for machine in config.machines] == ["pump-1", "chiller-1"]
    assert config.key() is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (('"chiller"', '"toaster"'), "no physics for machine type 'toaster'"),
        (('"chiller"', '"water_pump_rig"'), "no physics for machine type 'water_pump_rig'"),
        (('bus = "rtu-1"', 'bus = "rtu-9"'), "there is no bus 'rtu-9'"),
        (('bus = "rtu-1"', 'bus = "tcp-1"'), "unit 1 on bus tcp-1 is given twice"),
        (('"chiller-1"', '"pump-1"'), "device pump-1 is given twice"),
        (('"chiller-1"', '"Chiller 1"'), "cannot name a site or device"),
        (("port = ", "gate = "), "gate"),
        (('kind = "rtu"\npath', 'kind = "rtu"\n#'), "needs path"),
        (('timescale = ""', 'timescale = "40"'), "SPEED@ORIGIN_NS"),
        (("seed = 7", "seed = -1"), "seed"),
        (("seed = 7", "seed = "), "is not TOML"),
        (("unit = 1", "unit = 300"), "unit"),
    ],
)
def test_a_wrong_fleet_says_what_is_wrong(
    tmp_path: Path, change: tuple[str, str], complaint: str
) -> None:
    with pytest.raises(Malformed, match=complaint):
        load(write(tmp_path, change))


def test_the_environment_overrides_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARFIX_SIM_SEED", "99")
    assert load(write(tmp_path)).seed == 99


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    unit = Unit(
        library()["centrifugal_pump"],
        build("centrifugal_pump", "pump-1", 1),
        Trust("centrifugal_pump", None),
        tmp_path,
    )
    return Plant({"pump-1": unit}, NOW_NS)


def ask(plant: Plant, **request: str) -> object:
    line = json.dumps(request).encode()
    return msgspec.json.decode(msgspec.json.encode(control.answer(plant, line)))


def test_faults_are_injected_listed_and_repaired(plant: Plant) -> None:
    plant.advance(NOW_NS + 5_000_000_000)
    done = ask(plant, do="inject", device="pump-1", fault="bearing_wear")
    assert done == {"ok": True, "at_ns": NOW_NS + 5_000_000_000}
    plant.advance(NOW_NS + 9_000_000_000)
    ask(plant, do="repair", device="pump-1", fault="bearing_wear")
    assert ask(plant, do="faults") == [
        {
            "device": "pump-1",
            "fault": "bearing_wear",
            "nature": "on_site",
            "injected_ns": NOW_NS + 5_000_000_000,
            "ended_ns": NOW_NS + 9_000_000_000,
            "ended_by": "repair",
        }
    ]


def test_natures_tell_what_ends_what(plant: Plant) -> None:
    natures = ask(plant, do="natures")
    assert isinstance(natures, dict)
    assert set(natures) == set(CATALOGUE)
    assert natures["centrifugal_pump"]["cavitation"] == {
        "nature": "remote",
        "cured_by": ["open_suction_valve"],
        "diagnosable_as": ["cavitation"],
    }


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"nonsense", "malformed"),
        (b'{"do":"explode"}', "explode"),
        (b'{"do":"inject","device":"pump-1"}', "fault"),
        (b'{"do":"inject","device":"pump-9","fault":"cavitation"}', "no device 'pump-9'"),
        (b'{"do":"inject","device":"pump-1","fault":"rust"}', "has no fault 'rust'"),
        (b"\xff\xfe", ""),
    ],
)
def test_a_bad_request_is_answered_with_its_error(
    plant: Plant, line: bytes, complaint: str
) -> None:
    answer = control.answer(plant, line)
    assert isinstance(answer, dict)
    assert answer["ok"] is False
    assert complaint in answer["error"]


def test_faults_leave_one_line_when_they_come_and_one_when_they_go(
    plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    plant.inject("pump-1", "air_ingress")
    for minute in range(1, 8):
        plant.advance(NOW_NS + minute * 60_000_000_000)
    lines = [r.getMessage() for r in caplog.records if "air_ingress" in r.getMessage()]
    assert lines == ["pump-1: air_ingress injected (self)", "pump-1: air_ingress ended by self"]


def test_a_plant_far_behind_skips_ahead(plant: Plant, caplog: pytest.LogCaptureFixture) -> None:
    plant.advance(NOW_NS + int(10 * CATCH_UP_S * 1e9))
    assert plant.now_ns == NOW_NS + int(10 * CATCH_UP_S * 1e9)
    assert "skipping ahead" in caplog.text


def converse(port: int, *lines: bytes) -> list[object]:
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        stream = connection.makefile("rwb")
        answers = []
        for line in lines:
            stream.write(line + b"\n")
            stream.flush()
            answers.append(json.loads(stream.readline()))
        return answers


def bother(fleet: Path) -> None:
    """Ask for a unit and for registers that are not there."""
    port = load(fleet).buses[0].port
    with (
        ModbusTcpClient("127.0.0.1", port=port, timeout=0.3, retries=0) as impatient,
        pytest.raises(ModbusIOException),
    ):
        impatient.read_input_registers(0, count=1, device_id=9)
    with ModbusTcpClient("127.0.0.1", port=port, timeout=30, retries=0) as client:
        assert client.read_holding_registers(900, count=1, device_id=1).isError()
        assert client.write_register(2, 5, device_id=1).isError()
        assert not client.read_input_registers(0, count=1, device_id=1).isError()


def start(fleet: Path, port: int) -> subprocess.Popen[str]:
    program = subprocess.Popen(
        [sys.executable, "-m", "firmware_sim", "--fleet", str(fleet)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FARFIX_LOG": "INFO"},
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            converse(port, b'{"do":"faults"}')
        except ConnectionRefusedError:
            time.sleep(0.1)
        else:
            return program
    program.kill()
    raise AssertionError(program.communicate()[1])


def test_the_program_serves_and_ends_cleanly_when_told_to(tmp_path: Path) -> None:
    port = free_port()
    fleet = write(tmp_path, control=port)
    program = start(fleet, port)
    try:
        assert (tmp_path / "rtu-1").is_symlink()
        bother(fleet)
        answers = converse(
            port,
            b'{"do":"inject","device":"chiller-1","fault":"refrigerant_leak"}',
            b'{"do":"faults"}',
        )
        assert answers[0]["ok"] is True  # type: ignore[index]
        assert answers[1][0]["fault"] == "refrigerant_leak"  # type: ignore[index]
    finally:
        program.send_signal(signal.SIGTERM)
        log = program.communicate(timeout=60)[1]
    assert program.returncode == 0, log
    assert "refrigerant_leak injected" in log
    assert "Traceback" not in log
    assert "recv:" not in log, "pymodbus dumps frames into the log"
    assert not (tmp_path / "rtu-1").is_symlink()


def test_a_wrong_fleet_ends_the_program_with_code_2(tmp_path: Path) -> None:
    fleet = write(tmp_path, ('"chiller"', '"toaster"'))
    done = subprocess.run(
        [sys.executable, "-m", "firmware_sim", "--fleet", str(fleet)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "toaster" in done.stderr
    assert "Traceback" not in done.stderr
