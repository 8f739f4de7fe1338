"""What the load is made of: machines in good health, and the text of what they measure."""

from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from contract import machines
from contract.machines import MachineType, Role
from tests.bench.metrics import Array

POOL_ROWS = 4096
LEVELS = 16
"""Machines of one kind stand at so many different levels."""
SIGMA_SHARE = 0.004
"""Noise of a signal, as a share of its plausible range."""
_SIGNALS = (
    ("flow_m3h", "m3/h", 120),
    ("pressure_bar", "bar", 10),
    ("suction_bar", "bar", 4),
    ("speed_rpm", "1/min", 3200),
    ("current_a", "A", 45),
    ("voltage_v", "V", 480),
    ("motor_c", "degC", 150),
    ("bearing_c", "degC", 120),
    ("fluid_c", "degC", 90),
    ("vibration_mm_s", "mm/s", 30),
)


class Values(NamedTuple):
    """Rows of values as JSON, one after another."""

    text: bytes
    starts: list[int]
    """Where each row begins, and where the last one ends; rows of one level lie together."""


def ten_signals() -> str:
    """Return the TOML of a machine type of ten signals of which nobody said what explains what."""
    head = 'name = "ten_signals"\ntitle = "Machine of ten signals"\npoll_interval_s = 1\n'
    return head + "".join(
        f'\n[[signals]]\nname = "{name}"\ntitle = "{name}"\nunit = "{unit}"\n'
        f"range = [0.0, {top}.0]\n"
        for name, unit, top in _SIGNALS
    )


def write_types(folder: Path) -> None:
    """Make the folder that a gateway's ``machine_types`` names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ten_signals.toml").write_text(ten_signals())


def machine(name: str) -> MachineType:
    """Return a machine type that ships, or the one of ten signals."""
    if name == "ten_signals":
        return machines.parse(ten_signals(), name)
    return machines.library()[name]


def declared(kind: MachineType) -> bool:
    """Tell whether drivers or modes are declared, so that it is judged by them."""
    return bool(kind.with_role(Role.DRIVER) or kind.with_role(Role.MODE))


def values(kind: MachineType, seed: int = 0) -> Values:
    """Return healthy rows: responses are noise around levels, half of it common to all of them."""
    rng = np.random.default_rng(seed)
    text, starts = bytearray(), [0]
    for _ in range(LEVELS):
        rows = _level(kind, rng)
        for row in rows:
            text += msgspec.json.encode(row)
            starts.append(len(text))
    return Values(bytes(text), starts)


def _level(kind: MachineType, rng: np.random.Generator) -> list[list[float]]:
    rows = POOL_ROWS // LEVELS
    common = rng.standard_normal(rows)
    columns: list[Array] = []
    for signal in kind.signals:
        low, high = signal.range
        span = high - low
        if signal.role is Role.MODE:
            columns.append(np.full(rows, float((signal.judged_modes or [1])[0])))
        elif signal.role is Role.RESPONSE:
            level = low + span * rng.uniform(0.35, 0.65)
            noise = (common + rng.standard_normal(rows)) / np.sqrt(2)
            columns.append(np.round(level + SIGMA_SHARE * span * noise, 3))
        else:  # a driver that jumps lets its machine settle: not judged for a minute
            columns.append(np.full(rows, float(round(low + span / 2))))
    table: list[list[float]] = np.column_stack(columns).tolist()
    return table
