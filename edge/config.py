"""Configuration of the edge agent: a TOML file, and ``FARFIX_EDGE_...`` from the environment."""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    model_validator,
)
from pydantic_settings import (
    SettingsConfigDict,
)

from contract import machines
from contract.errors import Malformed
from contract.settings import Settings, Table, TimescaleText, TopicName, read


def _broker_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in ("mqtt", "mqtts") or not url.hostname or url.username:
        raise ValueError("write mqtt://host:1883 or mqtts://host:8883, without credentials")
    return text


@cache
def _library(folder: Path | None) -> dict[str, machines.MachineType]:
    return machines.library(folder)


class BrokerConfig(Table):
    """Where telemetry goes."""

    url: Annotated[str, AfterValidator(_broker_url)]
    username: str = ""
    password: SecretStr = SecretStr("")
    password_file: Path | None = None
    ca_file: Path | None = None
    """Certificates to trust for ``mqtts``; the system's when left out."""
    keepalive_s: int = Field(default=30, ge=5, le=1200)

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password_file is not None and self.password.get_secret_value():
            raise ValueError("give password or password_file, not both")
        return self


class BusConfig(Table):
    """One Modbus host or serial line."""

    name: str
    kind: Literal["tcp", "rtu"]
    host: str = ""
    port: int = Field(default=502, ge=1, le=65535)
    path: str = ""
    baud: int = Field(default=19200, ge=300, le=4_000_000)
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: int = Field(default=1, ge=1, le=2)
    timeout_s: float = Field(default=1.0, gt=0, le=30)
    """Seconds of the wall clock, whatever the timescale: a network does not run faster."""

    @model_validator(mode="after")
    def _has_address(self) -> Self:
        if self.kind == "tcp" and not self.host:
            raise ValueError(f"bus {self.name} of kind tcp needs host")
        if self.kind == "rtu" and not self.path:
            raise ValueError(f"bus {self.name} of kind rtu needs path, for example /dev/ttyUSB0")
        return self


class DeviceConfig(Table):
    """One machine on a bus."""

    device: TopicName
    machine_type: str
    bus: str
    unit: int = Field(default=1, ge=1, le=247)


class Config(Settings):
    """Everything that the agent is told from outside, read once at start."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="FARFIX_EDGE_", env_nested_delimiter="__"
    )

    agent: TopicName
    site: TopicName
    timescale: TimescaleText = ""
    data_dir: Path = Path("var/edge")
    trusted_root: Path | None = None
    """Root metadata (``root.json``) of the signed repository of releases; none: no updates."""
    gateway_ca_file: Path | None = None
    """Certificates to trust where releases come by ``https``; the system's when left out."""
    machine_types: Path | None = None
    """Folder with machine types of your own, one ``NAME.toml`` each; as the gateway has them."""
    spool_max_bytes: int = Field(default=50_000_000, ge=1_000_000, le=100_000_000_000)
    spool_max_age_s: float = Field(default=7 * 86400, ge=60, le=366 * 86400)
    """Telemetry that the gateway could not get for so long is dropped."""
    batch_ticks: int = Field(default=2, ge=1, le=20)
    """Ticks of a device that travel in one message; more saves traffic, fewer saves time."""
    broker: BrokerConfig
    buses: list[BusConfig] = Field(min_length=1)
    devices: list[DeviceConfig] = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = [*_name_problems(self), *_device_problems(self)]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def machine(self, device: DeviceConfig) -> machines.MachineType:
        """Return a configured device's machine type."""
        return _library(self.machine_types)[device.machine_type]


def _name_problems(config: Config) -> list[str]:
    found = []
    for kind, names in (
        ("bus", [bus.name for bus in config.buses]),
        ("device", [config.agent, *(d.device for d in config.devices)]),
        ("address", [f"unit {d.unit} on bus {d.bus}" for d in config.devices]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        found += [f"{kind} {name} is given twice; each needs its own" for name in twice]
    return found


def _device_problems(config: Config) -> list[str]:
    known, buses = _known_types(config), [bus.name for bus in config.buses]
    found = []
    for device in config.devices:
        machine = known.get(device.machine_type)
        if machine is None:
            found.append(
                f"device {device.device}: unknown machine type {device.machine_type!r}; "
                f"known: {', '.join(known)}"
            )
        elif not any(signal.modbus for signal in machine.signals):
            found.append(
                f"device {device.device}: machine type {device.machine_type} has no registers, "
                "so there is nothing to poll; let the equipment publish by itself"
            )
        if device.bus not in buses:
            found.append(
                f"device {device.device}: there is no bus {device.bus!r}; "
                f"add it to [[buses]], which has: {', '.join(buses)}"
            )
    return found


def _known_types(config: Config) -> dict[str, machines.MachineType]:
    try:
        return _library(config.machine_types)
    except Malformed as error:
        raise ValueError(str(error)) from error


def load(path: Path) -> Config:
    """Read the configuration.

    Raises:
        Malformed: says which file, which field, and what is wrong with it.
    """
    return read(Config, path)
