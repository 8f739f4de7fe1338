"""Configuration of the simulator: a TOML file, and ``FARFIX_SIM_...`` from the environment."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from contract import machines, timescale, topics
from contract.errors import Malformed
from firmware_sim.physics import MACHINES


def _name(text: str) -> str:
    try:
        return topics.name(text)
    except Malformed as error:
        raise ValueError(str(error)) from error


def _timescale(text: str) -> str:
    try:
        timescale.parse(text)
    except Malformed as error:
        raise ValueError(str(error)) from error
    return text


@cache
def library() -> dict[str, machines.MachineType]:
    """Return the machine types, read once."""
    return machines.library()


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BusConfig(_Table):
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


class MachineConfig(_Table):
    """One simulated machine."""

    device: Annotated[str, AfterValidator(_name)]
    machine_type: str
    bus: str
    unit: int = Field(default=1, ge=1, le=247)


class Config(BaseSettings):
    """The fleet, read once at start."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="FARFIX_SIM_", env_nested_delimiter="__"
    )

    seed: int = Field(default=7, ge=0)
    timescale: Annotated[str, AfterValidator(_timescale)] = ""
    control_port: int = Field(default=0, ge=0, le=65535)
    """JSON lines on this port of this computer; 0: none."""
    trusted_key: str = Field(default="", pattern=r"^([0-9a-fA-F]{64})?$")
    """Public ed25519 key, hexadecimal, burned into the bootloaders; empty: no updates."""
    state_dir: Path = Path("var/sim")
    """Firmware slots lie here and survive restarts."""
    buses: list[BusConfig] = Field(min_length=1)
    machines: list[MachineConfig] = Field(min_length=1, max_length=1000)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment override the file, whose values come in as init arguments."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

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
    try:
        return Config(**tomllib.loads(path.read_text()))
    except OSError as error:
        raise Malformed(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"{path} is no TOML: {error}") from error
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise Malformed(f"{path} does not describe a fleet:\n" + "\n".join(lines)) from error
