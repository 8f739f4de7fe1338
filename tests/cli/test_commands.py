"""The command line as a person meets it: output, exit codes, messages."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from contract import firmware, topics
from farfix import releases
from farfix.__main__ import main

Done = subprocess.CompletedProcess[str]
Farfix = Callable[..., Done]


@pytest.fixture
def farfix(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Farfix:
    """Run the command line in this process: starting Python anew is most of the time."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["farfix", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return subprocess.CompletedProcess(arguments, ended.value.code, output.out, output.err)

    return run


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


def test_a_signed_image_is_one_that_devices_take(farfix: Farfix, tmp_path: Path) -> None:
    key, image, out = tmp_path / "key", tmp_path / "image.bin", tmp_path / "release.json"
    image.write_bytes(b"new firmware")
    made = farfix("release", "keygen", str(key))
    assert made.returncode == 0
    assert key.stat().st_mode & 0o777 == 0o600
    options = ["--machine-type", "centrifugal_pump", "--version", "1.1.0"]
    signed = farfix("release", "sign", str(image), "--key", str(key), *options, "--out", str(out))
    assert signed.returncode == 0, signed.stderr
    release = releases.read_key(key)
    upload = json.loads(out.read_text())
    firmware.verify(firmware.Release(**upload["release"]), b"new firmware", release.public_key())
    assert release.public_key().public_bytes_raw().hex() == made.stdout.strip()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--machine-type": "teapot"}, "no machine type"),
        ({"--machine-type": "water_pump_rig"}, "cannot be updated"),
        ({"--version": "one"}, "1.2.3"),
        ({"--key": "image.bin"}, "holds no key"),
        ({"--key": "nowhere"}, "cannot read"),
    ],
)
def test_a_wrong_release_is_explained(
    farfix: Farfix, tmp_path: Path, changed: dict[str, str], message: str
) -> None:
    (tmp_path / "image.bin").write_bytes(b"x")
    releases.make_key(tmp_path / "key")
    options = {"--machine-type": "chiller", "--version": "1.1.0", "--key": "key"} | changed
    options["--key"] = str(tmp_path / options["--key"])
    flat = [part for pair in options.items() for part in pair]
    done = farfix("release", "sign", str(tmp_path / "image.bin"), *flat)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_key_is_never_overwritten(farfix: Farfix, tmp_path: Path) -> None:
    assert farfix("release", "keygen", str(tmp_path / "key")).returncode == 0
    before = (tmp_path / "key").read_text()
    again = farfix("release", "keygen", str(tmp_path / "key"))
    assert again.returncode == 1
    assert "left alone" in again.stderr
    assert (tmp_path / "key").read_text() == before


def test_secrets_are_made_once(farfix: Farfix, tmp_path: Path) -> None:
    first = farfix("secrets", str(tmp_path / "s"))
    assert first.returncode == 0
    token = (tmp_path / "s" / "api.token").read_text()
    second = farfix("secrets", str(tmp_path / "s"))
    assert second.stdout == ""
    assert (tmp_path / "s" / "api.token").read_text() == token
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700
