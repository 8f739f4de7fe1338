"""The command line as a person meets it: output, exit codes, messages."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from contract import topics

Done = subprocess.CompletedProcess[str]
Farfix = Callable[..., Done]


def test_it_runs_as_a_program_of_its_own() -> None:
    command = [sys.executable, "-P", "-m", "farfix", "topic", "north", "Pump 1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("farfix: 'Pump 1' cannot name")


def test_help_names_every_verb(farfix: Farfix) -> None:
    done = farfix("--help")
    assert done.returncode == 0
    for verb in (
        "edge",
        "cloud",
        "sim",
        "demo",
        "replay",
        "validate",
        "doctor",
        "topic",
        "release",
    ):
        assert f" {verb} " in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("demo", "--minutes", "0"),
        ("demo", "--machines", "2"),
        ("demo", "--report", "nowhere/report.json"),
        ("edge", "--config", "nowhere.toml"),
        ("replay", "nowhere.csv", "--machine-type", "water_pump_rig", "--device", "rig-1"),
        ("replay", "x.csv", "--machine-type", "teapot", "--device", "rig-1"),
        ("topic", "north", "Pump 1"),
        ("validate", "nowhere.toml"),
        ("nonsense",),
    ],
)
def test_what_makes_no_sense_ends_with_2_and_one_message(
    farfix: Farfix, arguments: tuple[str, ...]
) -> None:
    done = farfix(*arguments)
    assert done.returncode == 2
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


def test_topic_prints_just_the_topic_for_use_in_a_shell(farfix: Farfix) -> None:
    for arguments, channel in (([], "telemetry"), (["command"], "command")):
        done = farfix("topic", "north", "pump-1", *arguments)
        assert done.returncode == 0
        built = topics.build("north", "pump-1", topics.Channel(channel))
        assert done.stdout == f"{built}\n"


def test_a_verb_loads_no_other_program() -> None:
    script = (
        "import sys; from farfix.__main__ import app\n"
        "print([m for m in ('nicegui', 'pymodbus', 'fastapi', 'amqtt') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_secrets_are_made_once(farfix: Farfix, tmp_path: Path) -> None:
    first = farfix("secrets", str(tmp_path / "s"))
    assert first.returncode == 0
    token = (tmp_path / "s" / "api.token").read_text()
    second = farfix("secrets", str(tmp_path / "s"))
    assert second.stdout == ""
    assert (tmp_path / "s" / "api.token").read_text() == token
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700
