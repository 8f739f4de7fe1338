"""Configuration of the simulator: a TOML file, and ``FARFIX_SIM_...`` from the environment."""

from functools import cache
from pathlib import Path
from typing import Literal, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from contract import machines
from contract.settings import Settings, Table, TimescaleText, TopicName, read
from firmware_sim.physics import MACHINES


@cache
def library() -> dict[str, machines.MachineType]:
    """Return the machine types, read once."""
    return machines.library()


class BusConfig(Table):
    """One TCP port or serial line."""

    name: str
    kind: Literal["tcp", "rtu"]
    port: int = Field(default=0, ge=0, le=65535)
    path: Path | None = None
    """Link to the client's end of the serial line."""

    @model_validator(mode="after")
    def _has_address(self) -> Self:
        if self.kind == "tcp" and not self.port:
            raise ValueError(f"bus {self.name} of kind tcp needs port, for example 15021")
        if self.kind == "rtu" and self.path is None:
            raise ValueError(f"bus {self.name} of kind rtu needs path, for example var/sim/rtu-1")
        return self


class MachineConfig(Table):
    """One simulated machine."""

    device: TopicName
    machine_type: str
    bus: str
    unit: int = Field(default=1, ge=1, le=247)
    hardware: int = Field(default=1, ge=1, le=65535)
    """Hardware revision, shown in the update block."""


class Config(Settings):
    """The fleet, read once at start."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="FARFIX_SIM_", env_nested_delimiter="__"
    )

    seed: int = Field(default=7, ge=0)
    timescale: TimescaleText = ""
    control_port: int = Field(default=0, ge=0, le=65535)
    """JSON lines on this port of this computer; 0: none."""
    trusted_key: str = Field(default="", pattern=r"^([0-9a-fA-F]{64})?$")
    """Public ed25519 key, hexadecimal, burned into the bootloaders; empty: no updates."""
    state_dir: Path = Path("var/sim")
    """Firmware slots lie here and survive restarts."""
    buses: list[BusConfig] = Field(min_length=1)
    machines: list[MachineConfig] = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = _problems(self)
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def key(self) -> Ed25519PublicKey | None:
        """Return the key that the bootloaders trust, if there is one."""
        if not self.trusted_key:
            return None
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.trusted_key))


def _problems(config: Config) -> list[str]:
    found = []
    buses = [bus.name for bus in config.buses]
    for kind, names in (
        ("bus", buses),
        ("port", [f"{bus.port}" for bus in config.buses if bus.kind == "tcp"]),
        ("device", [m.device for m in config.machines]),
        ("address", [f"unit {m.unit} on bus {m.bus}" for m in config.machines]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        found += [f"{kind} {name} is given twice; each needs its own" for name in twice]
    for machine in config.machines:
        if machine.machine_type not in library() or machine.machine_type not in MACHINES:
            found.append(
                f"device {machine.device}: no physics for machine type "
                f"{machine.machine_type!r}; there is: {', '.join(sorted(MACHINES))}"
            )
        if machine.bus not in buses:
            found.append(
                f"device {machine.device}: there is no bus {machine.bus!r}; "
                f"add it to [[buses]], which has: {', '.join(buses)}"
            )
    return found


def load(path: Path) -> Config:
    """Read the fleet.

    Raises:
        Malformed: says which file, which field, and what is wrong with it.
    """
    return read(Config, path)
