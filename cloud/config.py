"""The gateway's settings: one TOML file plus environment (``FARFIX_CLOUD_BROKER__URL=...``)."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from cloud.core.states import Mode
from contract import machines, timescale, topics
from contract.errors import Malformed


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Broker(_Section):
    """The MQTT broker; without a URL the gateway starts one of its own."""

    url: str = ""
    """``mqtt://host:port`` or ``mqtts://...``; empty starts mosquitto, or amqtt without it."""
    username: str = "gateway"
    password_file: Path | None = None
    port: Annotated[int, Field(ge=0, le=65535)] = 1883
    """Where a broker of our own listens, on 127.0.0.1."""


class SeriesStore(_Section):
    """Where telemetry is kept."""

    kind: Literal["sqlite", "influx1", "influx2"] = "sqlite"
    url: str = "http://127.0.0.1:8086"
    database: str = "farfix"
    org: str = "farfix"
    token_file: Path | None = None
    keep_days: Annotated[int, Field(gt=0)] = 30
    """Retention of the embedded store; InfluxDB has its own."""


class Webhook(_Section):
    """The dispatch system that takes tickets."""

    url: str = ""
    """Empty keeps tickets here, to be read by the API."""
    secret_file: Path | None = None
    """A ``whsec_...`` secret as Standard Webhooks defines it."""
    allow_private: bool = False
    """Allow loopback and private addresses, as on a plant network."""


class AssetEntry(_Section):
    """One machine that this gateway looks after."""

    device: str
    site: str
    machine_type: str
    title: str = ""
    serial: str = ""
    address: str = ""
    tier: Literal["A", "B", "C"] = "B"

    @field_validator("device", "site")
    @classmethod
    def _name(cls, value: str) -> str:
        try:
            return topics.name(value)
        except Malformed as error:
            raise ValueError(str(error)) from error

    @field_validator("machine_type")
    @classmethod
    def _known(cls, value: str) -> str:
        known = machines.library()
        if value not in known:
            raise ValueError(f"unknown machine type {value!r}; known: {', '.join(known)}")
        return value


class Config(BaseSettings):
    """Everything that the gateway reads at its start, and nothing else reads."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="FARFIX_CLOUD_", env_nested_delimiter="__"
    )

    data_dir: Path = Path("var/cloud")
    timescale: str = ""
    """``SPEED@ORIGIN_NS`` of a demonstration; empty is the wall clock."""
    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    public_url: str = ""
    """How edge agents and people reach the gateway; default ``http://http_host:http_port``."""
    api_token_file: Path | None = None
    """Holds the token for calls that change something; made at the first start if absent."""
    database_url: str = ""
    """SQLAlchemy URL for cases; default SQLite in ``data_dir``."""
    release_key: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """Public ed25519 key (hex) that signs firmware releases; empty refuses uploads."""
    mode_override: Mode | None = None
    """Runs every playbook in this mode. For demonstrations; leave out in service."""
    commissioning_s: Annotated[float, Field(gt=0)] = 3600.0
    commissioning_samples: Annotated[int, Field(ge=20)] = 300
    silent_after_s: Annotated[float, Field(gt=0)] = 300.0
    """A machine that sends nothing for so long is a fault of its own (``no_data``)."""
    broker: Broker = Broker()
    series: SeriesStore = SeriesStore()
    webhook: Webhook = Webhook()
    assets: list[AssetEntry] = []

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

    @field_validator("timescale")
    @classmethod
    def _timescale(cls, value: str) -> str:
        try:
            timescale.parse(value)
        except Malformed as error:
            raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _fits(self) -> "Config":
        devices = [asset.device for asset in self.assets]
        twice = {device for device in devices if devices.count(device) > 1}
        if twice:
            raise ValueError(f"assets: {', '.join(sorted(twice))} given twice")
        if self.webhook.url and self.webhook.secret_file is None:
            raise ValueError("webhook: a url needs a secret_file, so that dispatch can trust us")
        return self

    @property
    def base_url(self) -> str:
        """The address under which agents and people reach the gateway."""
        return self.public_url.rstrip("/") or f"http://{self.http_host}:{self.http_port}"


def load(path: Path | None) -> Config:
    """Read the file and the environment.

    Raises:
        Malformed: says which field of which file is wrong, and how.
    """
    data: dict[str, object] = {}
    if path is not None:
        try:
            data = tomllib.loads(path.read_text())
        except OSError as error:
            raise Malformed(f"cannot read {path}: {error.strerror}") from error
        except tomllib.TOMLDecodeError as error:
            raise Malformed(f"{path} is not TOML: {error}") from error
    try:
        return Config(**data)  # type: ignore[arg-type]  # checked by pydantic right here
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in e['loc']) or 'file'}: {e['msg']}"
            for e in error.errors()
        ]
        raise Malformed(
            f"{path or 'environment'} is no gateway config:\n" + "\n".join(lines)
        ) from error
