"""The gateway's settings: one TOML file plus environment (``FARFIX_CLOUD_BROKER__URL=...``)."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from cloud.core.states import Mode
from contract import machines, topics
from contract.settings import Settings, Table, TimescaleText, TopicName, ZoneName, read


class Oidc(Table):
    """Sign-in by an OpenID Connect provider, beside local people; off without an issuer."""

    issuer: str = ""
    """``https://...``; its ``/.well-known/openid-configuration`` tells the rest."""
    client_id: str = ""
    client_secret_file: Path | None = None
    role_claim: str = "farfix_role"
    """The claim that holds a role; whoever has none may not come in."""

    @model_validator(mode="after")
    def _fits(self) -> "Oidc":
        parts = urlsplit(self.issuer)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if self.issuer and not (parts.scheme == "https" or (parts.scheme == "http" and local)):
            raise ValueError(f"oidc: issuer {self.issuer!r} must begin with https://")
        if self.issuer and not self.client_id:
            raise ValueError("oidc: an issuer needs a client_id, as the provider calls us")
        return self


class Prices(Table):
    """The operator's own assumptions; without them the value report counts and prices nothing."""

    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "EUR"
    visit: Annotated[float, Field(ge=0)] | None = None
    downtime_per_hour: Annotated[float, Field(ge=0)] | None = None
    downtime_h_per_visit: Annotated[float, Field(ge=0)] | None = None


class Customer(Table):
    """Somebody who is told how their machines are."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
    title: str = ""
    language: Literal["en", "zh"] = "en"
    time_zone: ZoneName = "UTC"
    quiet_from: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] | None = None
    """In the customer's time; what happens until ``quiet_until`` is told after it."""
    quiet_until: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] | None = None
    urls_file: Path | None = None
    """Where they are told: one Apprise URL a line (they hold passwords, hence a file)."""


class Broker(Table):
    """The MQTT broker; without a URL the gateway starts one of its own."""

    url: str = ""
    """``mqtt://host:port`` or ``mqtts://...``; empty starts mosquitto, or amqtt without it."""
    username: str = "gateway"
    password_file: Path | None = None
    ca_file: Path | None = None
    """Whose certificates are believed with ``mqtts``; default: those of the system."""
    port: Annotated[int, Field(ge=0, le=65535)] = 1883
    """Where a broker of our own listens, on 127.0.0.1."""


class SeriesStore(Table):
    """Where telemetry is kept."""

    kind: Literal["sqlite", "influx1", "influx2"] = "sqlite"
    url: str = "http://127.0.0.1:8086"
    database: str = "farfix"
    org: str = "farfix"
    token_file: Path | None = None
    ca_file: Path | None = None
    """Whose certificates are believed with ``https``; default: those of the system."""
    keep_days: Annotated[int, Field(gt=0)] = 30
    """Retention of the embedded store; InfluxDB has its own."""


class Webhook(Table):
    """The dispatch system that takes tickets."""

    url: str = ""
    """Empty keeps tickets here, to be read by the API."""
    secret_file: Path | None = None
    """A ``whsec_...`` secret as Standard Webhooks defines it."""
    allow_private: bool = False
    """Allow loopback and private addresses, as on a plant network."""


class AssetEntry(Table):
    """One machine that this gateway looks after."""

    device: TopicName
    site: TopicName
    machine_type: str
    title: str = ""
    serial: str = ""
    address: str = ""
    tier: Literal["A", "B", "C"] = "B"
    labels: list[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_=.-]{0,63}$")]] = []
    """Words of your own, by which rollouts select."""
    hardware: Annotated[int, Field(ge=0, le=65535)] = 0
    """Revision, where the machine cannot tell it itself; 0: not known."""
    customer: str = ""
    """Name of the customer who is told about it."""
    time_zone: ZoneName = "UTC"
    """Of the site, as in ``Europe/Berlin``: service hours are counted in it."""


class Config(Settings):
    """Everything that the gateway reads at its start, and nothing else reads."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="FARFIX_CLOUD_", env_nested_delimiter="__"
    )

    data_dir: Path = Path("var/cloud")
    machine_types: Path | None = None
    """Folder of machine types of your own, one TOML file each, beside those that ship."""
    workers: Annotated[int, Field(ge=1, le=topics.PARTITIONS)] = 1
    """Processes that share the telemetry by device; one takes some hundred thousand values/s."""
    journal_max_bytes: Annotated[int, Field(ge=10_000_000)] = 4_000_000_000
    """Of one worker: telemetry that waits for the time-series store. What is beyond stays with the
    agents, and the console says so."""
    journal_max_age_s: Annotated[float, Field(ge=3600)] = 7 * 86_400.0
    timescale: TimescaleText = ""
    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    public_url: str = ""
    """How edge agents and people reach the gateway; default ``http://http_host:http_port``."""
    api_token_file: Path | None = None
    """Holds the token for calls that change something; made at the first start if absent."""
    admin_password_file: Path | None = None
    """Holds the password of the first account, ``admin``; made at the first start if absent."""
    database_url: str = ""
    """SQLAlchemy URL for cases; default SQLite in ``data_dir``."""
    release_root: Path | None = None
    """The first root of the release repository (``1.root.json``); without it no releases."""
    http_cert_file: Path | None = None
    """With a key: the console and the API speak https."""
    http_key_file: Path | None = None
    oidc: Oidc = Oidc()
    prices: Prices = Prices()
    customers: list[Customer] = []
    letters: Path | None = None
    """Folder with what customers read, ``en.toml`` and ``zh.toml``, instead of the shipped one."""
    ddi_poll_s: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    """How often machines that speak DDI are told to ask."""
    ddi_gateway_token_file: Path | None = None
    """A token that may act as any DDI device: for laboratories only, none by default."""
    alerts_secret_file: Path | None = None
    """The key by which Grafana signs alerts (``/api/alerts/signed``); without it none is taken."""
    mode_override: Mode | None = None
    """Runs every playbook in this mode. For demonstrations; leave out in service."""
    commissioning_s: Annotated[float, Field(gt=0)] = 3600.0
    commissioning_samples: Annotated[int, Field(ge=20)] = 300
    silent_after_s: Annotated[float, Field(gt=0)] = 300.0
    """A machine that sends nothing for so long is a fault of its own (``no_data``)."""
    keep_closed_days: Annotated[int, Field(ge=30)] = 400
    """For so long it is kept in full what was performed for cases that are over: commands, events
    and messages as they were sent. Cases, tickets, labels and the ledger stay for ever."""
    device_batches_per_s: Annotated[float, Field(gt=0, le=1e6)] = 200.0
    """What a device sends above this rate is left with it, so that its flood drowns nobody."""
    broker: Broker = Broker()
    series: SeriesStore = SeriesStore()
    webhook: Webhook = Webhook()
    assets: list[AssetEntry] = []

    @model_validator(mode="after")
    def _fits(self) -> "Config":
        devices = [asset.device for asset in self.assets]
        twice = {device for device in devices if devices.count(device) > 1}
        if twice:
            raise ValueError(f"assets: {', '.join(sorted(twice))} given twice")
        known = machines.library(self.machine_types)
        for asset in self.assets:
            if asset.machine_type not in known:
                raise ValueError(
                    f"asset {asset.device}: unknown machine type {asset.machine_type!r}; "
                    f"known: {', '.join(known)}"
                )
            if asset.customer and asset.customer not in {c.name for c in self.customers}:
                raise ValueError(f"asset {asset.device}: there is no customer {asset.customer!r}")
        if (self.http_cert_file is None) is not (self.http_key_file is None):
            raise ValueError("http_cert_file and http_key_file belong together: give both")
        if self.webhook.url and self.webhook.secret_file is None:
            raise ValueError("webhook: a url needs a secret_file, so that dispatch can trust us")
        return self

    @property
    def base_url(self) -> str:
        """The address under which agents and people reach the gateway."""
        scheme = "https" if self.http_cert_file else "http"
        return self.public_url.rstrip("/") or f"{scheme}://{self.http_host}:{self.http_port}"


def load(path: Path | None) -> Config:
    """Read the file and the environment.

    Raises:
        Malformed: says which field of which file is wrong, and how.
    """
    return read(Config, path)
