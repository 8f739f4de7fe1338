"""Check files before anything runs on them; what kind a file is, its content tells."""

import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from contract import machines
from contract.errors import Malformed


def main(files: list[Path]) -> int:
    """Check every file, folders with all their TOML files; return the exit code."""
    bad = 0
    for file in _expand(files):
        try:
            print(f"ok    {file}: {check(file)}")
        except Malformed as error:
            bad += 1
            print(f"wrong {file}: {error}", file=sys.stderr)
    return 2 if bad else 0


def _expand(files: list[Path]) -> list[Path]:
    found = []
    for file in files:
        found += sorted(file.rglob("*.toml")) if file.is_dir() else [file]
    if not found:
        raise Malformed(f"there are no TOML files in {', '.join(map(str, files))}")
    return found


def check(file: Path) -> str:
    """Check one file and say what it is.

    Raises:
        Malformed: what is wrong, and where.
    """
    try:
        table = tomllib.loads(file.read_text())
    except OSError as error:
        raise Malformed(f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"is not TOML: {error}") from error
    return _reader(table)(file)


def _reader(table: Mapping[str, object]) -> Callable[[Path], str]:
    """Tell by its tables what a file is."""
    keys = table.keys()
    if "signals" in keys:
        return _machine_type
    if "machine_type" in keys or "levels" in keys:
        return _playbook
    if "agent" in keys or "devices" in keys:
        return _edge
    if "machines" in keys:
        return _fleet
    if keys & {"assets", "http_port", "http_host", "broker", "series", "webhook", "data_dir"}:
        return _cloud
    raise Malformed(
        "is no config of the gateway (assets ...) or an agent (agent, devices ...), no fleet for "
        "the simulator (machines ...), no machine type (signals ...), no playbook "
        f"(machine_type ...) and no policy (levels ...); it has: {', '.join(keys) or 'nothing'}"
    )


def _machine_type(file: Path) -> str:
    found = machines.parse(file.read_text(), str(file))
    return f"machine type {found.name}: {len(found.signals)} signals, {len(found.faults)} faults"


def _edge(file: Path) -> str:
    from edge.config import load  # noqa: PLC0415 - each kind loads only its own program

    found = load(file)
    return f"edge agent {found.agent} on site {found.site}: {len(found.devices)} devices"


def _cloud(file: Path) -> str:
    from cloud.config import load  # noqa: PLC0415 - each kind loads only its own program

    found = load(file)
    return f"gateway: {len(found.assets)} assets, telemetry in {found.series.kind}"


def _fleet(file: Path) -> str:
    from firmware_sim.config import load  # noqa: PLC0415 - each kind loads only its own program

    found = load(file)
    return f"simulated fleet: {len(found.machines)} machines on {len(found.buses)} buses"


def _playbook(file: Path) -> str:
    from cloud.core import playbook  # noqa: PLC0415 - each kind loads only its own program

    found = playbook.load(file.parent, machines.library())
    if file.name == playbook.SERVICE_FILE:
        return f"policy for {len(found.by_machine_type)} playbooks"
    return f"playbook of {tomllib.loads(file.read_text())['machine_type']}"
