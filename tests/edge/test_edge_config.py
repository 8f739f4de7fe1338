"""A configuration that cannot work is refused with the field and the way out."""

from pathlib import Path

import pytest

from contract import machines
from contract.errors import Malformed
from edge.config import load

GOOD = """
agent = "edge-1"
site = "north"
[broker]
url = "mqtt://127.0.0.1:1883"
[[buses]]
name = "tcp-1"
kind = "tcp"
host = "127.0.0.1"
[[buses]]
name = "rtu-1"
kind = "rtu"
path = "/dev/ttyUSB0"
[[devices]]
device = "pump-1"
machine_type = "centrifugal_pump"
bus = "tcp-1"
unit = 1
[[devices]]
device = "pump-2"
machine_type = "centrifugal_pump"
bus = "tcp-1"
unit = 2
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "edge.toml"
    path.write_text(text)
    return path


def test_a_good_file_is_read(tmp_path: Path) -> None:
    config = load(write(tmp_path, GOOD))
    assert [bus.name for bus in config.buses] == ["tcp-1", "rtu-1"]
    assert config.machine(config.devices[0]).name == "centrifugal_pump"


def test_the_environment_overrides_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARFIX_EDGE_BROKER__URL", "mqtts://broker.example:8883")
    monkeypatch.setenv("FARFIX_EDGE_TIMESCALE", "40@1795330800000000000")
    config = load(write(tmp_path, GOOD))
    assert config.broker.url == "mqtts://broker.example:8883"
    assert config.timescale == "40@1795330800000000000"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("centrifugal_pump", "warp_drive", "unknown machine type 'warp_drive'; known: "),
        ("centrifugal_pump", "water_pump_rig", "nothing to poll"),
        ('device = "pump-2"', 'device = "pump-1"', "device pump-1 is given twice"),
        ('device = "pump-2"', 'device = "edge-1"', "device edge-1 is given twice"),
        ("unit = 2", "unit = 1", "unit 1 on bus tcp-1 is given twice"),
        ('bus = "tcp-1"', 'bus = "tcp-9"', "there is no bus 'tcp-9'"),
        ('name = "rtu-1"', 'name = "tcp-1"', "bus tcp-1 is given twice"),
        ('host = "127.0.0.1"', "", "bus tcp-1 of kind tcp needs host"),
        ('path = "/dev/ttyUSB0"', "", "needs path"),
        ('device = "pump-1"', 'device = "Pump 1"', "cannot name a site or device"),
        ("mqtt://127", "http://127", "mqtt://host:1883"),
        ('site = "north"', 'site = "north"\ntimescale = "fast"', "SPEED@ORIGIN_NS"),
        ('site = "north"', 'site = "north"\ntrusted_root = 5', "trusted_root"),
        ('site = "north"', 'site = "north"\nspool_max_bytes = 5', "spool_max_bytes"),
        ('site = "north"', 'site = "north"\ncolour = "red"', "colour"),
        ('site = "north"', "site = north", "not TOML"),
    ],
)
def test_what_cannot_work_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(Malformed) as caught:
        load(write(tmp_path, GOOD.replace(old, new, 1)))
    assert said in str(caught.value)
    assert "edge.toml" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match=r"cannot read .*nowhere\.toml"):
        load(tmp_path / "nowhere.toml")


def test_machine_types_of_ones_own_are_read_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "types").mkdir()
    shipped = Path(machines.__file__).parent / "machines" / "centrifugal_pump.toml"
    own = shipped.read_text().replace('name = "centrifugal_pump"', 'name = "warp_drive"')
    (tmp_path / "types" / "warp_drive.toml").write_text(own)
    with_folder = f'machine_types = "{tmp_path / "types"}"\n' + GOOD
    config = load(write(tmp_path, with_folder.replace("centrifugal_pump", "warp_drive")))
    assert config.machine(config.devices[0]).name == "warp_drive"
    with pytest.raises(Malformed, match=r"machine types in .*nowhere cannot be read"):
        load(write(tmp_path, f'machine_types = "{tmp_path / "nowhere"}"\n' + GOOD))
