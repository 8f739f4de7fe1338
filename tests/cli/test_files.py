"""`farfix validate` and `farfix doctor`, in a fresh folder."""

import os
import socket
from pathlib import Path

import pytest

from cloud.adapters import webhook
from contract.errors import Malformed
from farfix import doctor, validate

ROOT = Path(__file__).resolve().parents[2]

EDGE = """
agent = "edge-1"
site = "north"
[broker]
url = "mqtt://127.0.0.1:{port}"
[[buses]]
name = "b"
kind = "tcp"
host = "127.0.0.1"
port = {port}
[[devices]]
device = "pump-1"
machine_type = "centrifugal_pump"
bus = "b"
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "file.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    "file",
    [
        *sorted((ROOT / "deploy").glob("*.toml")),
        *sorted((ROOT / "contract" / "machines").glob("*.toml")),
        *sorted((ROOT / "cloud" / "playbooks").glob("*.toml")),
    ],
    ids=lambda file: f"{file.parent.name}-{file.stem}",
)
def test_every_file_that_ships_is_valid(file: Path) -> None:
    assert validate.check(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = ", "is not TOML"),
        ("", "is no config"),
        ("colour = 1", "it has: colour"),
        (EDGE.format(port=1).replace("centrifugal_pump", "teapot"), "teapot"),
        (EDGE.format(port=1).replace('bus = "b"', 'bus = "c"'), "c"),
        (EDGE.format(port=1).replace("mqtt://", "ftp://"), "mqtt://host"),
        ('http_port = "many"', "http_port"),
        ('[[assets]]\ndevice = "P 1"\nsite = "n"\nmachine_type = "chiller"', "cannot name"),
        ('name = "x"\nsignals = 1', "signals"),
    ],
)
def test_a_wrong_file_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        validate.check(write(tmp_path, text))


def test_all_files_are_looked_at_before_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.toml").write_text("a = ")
    (tmp_path / "good.toml").write_text(EDGE.format(port=1))
    assert validate.main([tmp_path]) == 2
    said = capsys.readouterr()
    assert "bad.toml" in said.err
    assert "good.toml: edge agent edge-1" in said.out


def levels(config: Path | None) -> dict[str, str]:
    return {finding.text: finding.level for finding in doctor.look(config)}


def test_a_sound_machine_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert doctor.main(None) == 0


def test_an_agent_without_its_broker_is_told(tmp_path: Path) -> None:
    config = write(tmp_path, EDGE.format(port=1) + "")
    text = config.read_text().replace("[broker]", f'data_dir = "{tmp_path}/data"\n[broker]', 1)
    config.write_text(text)
    found = levels(config)
    assert [v for k, v in found.items() if k.startswith("broker at 127.0.0.1:1")] == ["fail"]
    assert [v for k, v in found.items() if k.startswith("bus b at 127.0.0.1:1")] == ["fail"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        config.write_text(text.replace(':1"', f':{port}"').replace("port = 1", f"port = {port}"))
        assert "fail" not in levels(config).values()


def test_a_gateway_with_a_bad_secret_is_told(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        config = write(
            tmp_path,
            f'data_dir = "{tmp_path}/data"\n[webhook]\nurl = "http://127.0.0.1:{port}"\n'
            f'secret_file = "{secret}"\n',
        )
        assert "fail" in levels(config).values()
        secret.write_text("whsec_short")
        assert any("whsec_" in text and v == "fail" for text, v in levels(config).items())
        secret.write_text(webhook.new_secret())
        assert levels(config)["the webhook's secret can be used"] == "ok"


def test_a_taken_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        finding = doctor.port_free("127.0.0.1", server.getsockname()[1], "x")
    assert finding.level == "warn"
    assert finding.todo


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert doctor.writable(tmp_path / "data").level == "fail"


def test_a_folder_behind_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert doctor.writable(tmp_path / "file" / "data").level == "fail"
