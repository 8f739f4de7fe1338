"""A recording through MQTT and the whole loop, as separate processes."""

import csv
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

HEALTHY = {
    "Accelerometer1RMS": 0.027,
    "Accelerometer2RMS": 0.040,
    "Current": 1.3,
    "Pressure": 0.3,
    "Temperature": 79.0,
    "Thermocouple": 26.0,
    "Voltage": 232.0,
    "Volume Flow RateRMS": 32.0,
}


def record(file: Path, rows: int, fault_from: int) -> None:
    """Write a rig's telemetry: noise around healthy values, then a flow that breaks down."""
    dice = random.Random(3)
    start = datetime(2020, 3, 9, 10, 0, tzinfo=UTC)
    with file.open("w", newline="") as text:
        writer = csv.writer(text, delimiter=";")
        writer.writerow(["datetime", *HEALTHY, "anomaly"])
        for i in range(rows):
            sick = i >= fault_from
            values = [v * (1 + 0.02 * dice.gauss(0, 1)) for v in HEALTHY.values()]
            if sick:
                values[-1] *= 0.5
                values[1] *= 2
            at = start + timedelta(seconds=i)
            writer.writerow([at.strftime("%Y-%m-%d %H:%M:%S"), *values, float(sick)])


@pytest.mark.journey
@pytest.mark.timeout(300)
def test_a_recorded_fault_is_found_and_ends_as_a_ticket(tmp_path: Path) -> None:
    file = tmp_path / "rig.csv"
    record(file, rows=1700, fault_from=500)  # longer than a case waits before a visit
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "farfix", "replay", str(file)),
            *("--machine-type", "water_pump_rig", "--device", "rig-1", "--speed", "100"),
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    found = [line for line in lines if "score up to" in line]
    assert len(found) == 1
    assert "2020-03-09 10:08:2" in found[0].split(" to ")[0]
    assert "The file itself marks 2020-03-09 10:08:20 to 2020-03-09 10:28:19" in done.stdout
    leading = next(line for line in lines if "leading signals" in line)
    assert "flow_l_min below" in leading
    assert "phase: dispatched, ticket rig-1-" in done.stdout
