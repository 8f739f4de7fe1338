"""The demo's stage: its folder, its keys and secrets, and the config of every program."""

import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from cloud.adapters import webhook
from cloud.adapters.broker import Broker, User
from contract.timescale import Timescale
from farfix import release_kit, toml
from farfix.children import free_port
from farfix.demo import script
from farfix.demo.script import SITES, Machine
from farfix.release_kit import Kit

SILENT_AFTER_S = 1800.0
"""Time runs fast: five minutes, which else is silence, are a moment of a computer that is busy."""
TITLES = {
    "centrifugal_pump": "Centrifugal pump",
    "air_compressor": "Air compressor",
    "chiller": "Packaged chiller",
}
USERS = [User("gateway"), User("witness"), *(User(f"edge-{site}", site) for site in SITES)]


class Stage(Struct, frozen=True):
    """Where everything lies and listens."""

    folder: Path
    scale: Timescale
    machines: list[Machine]
    http_port: int
    control_port: int
    releases: Kit
    api_token: str
    webhook_secret: str

    @property
    def base_url(self) -> str:
        """Address of the gateway's API and console."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def sign_in(self) -> str:
        """How to sign in at the console, once the gateway has run."""
        return f"as admin with {(self.folder / 'cloud' / 'admin-password').read_text().strip()}"

    @property
    def sites(self) -> list[str]:
        """Sites that have machines."""
        return sorted({machine.site for machine in self.machines})

    @property
    def series(self) -> list[Path]:
        """The gateway's telemetry, a file of each worker."""
        return sorted((self.folder / "cloud").glob("telemetry-*.db"))

    @property
    def spools(self) -> list[Path]:
        """What the edge agents keep."""
        return [self.folder / f"edge-{site}" / "edge.db" for site in self.sites]

    @property
    def config(self) -> dict[str, Path]:
        """Config file of every program."""
        names = ["sim", "cloud", *(f"edge-{site}" for site in self.sites)]
        return {name: self.folder / f"{name}.toml" for name in names}


def prepare(folder: Path, machines: list[Machine], scale: Timescale) -> Stage:
    """Make a fresh folder with new keys and secrets."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, mode=0o700)
    stage = Stage(
        folder=folder,
        scale=scale,
        machines=machines,
        http_port=free_port(),
        control_port=free_port(),
        releases=release_kit.make(folder / "release"),
        api_token=secrets.token_urlsafe(24),
        webhook_secret=webhook.new_secret(),
    )
    for name, text in (("api.token", stage.api_token), ("webhook.secret", stage.webhook_secret)):
        file = folder / name
        file.touch(mode=0o600)
        file.write_text(text + "\n")
    return stage


def write_configs(stage: Stage, broker: Broker, webhook_url: str, seed: int) -> None:
    """Write the config of every program."""
    ports = {f"tcp-{site}": free_port() for site in stage.sites}
    files = stage.config
    files["sim"].write_text(toml.dumps(_sim(stage, ports, seed)))
    files["cloud"].write_text(toml.dumps(_cloud(stage, broker, webhook_url)))
    for site in stage.sites:
        files[f"edge-{site}"].write_text(toml.dumps(_edge(stage, broker, site, ports)))


def _buses(machines: Sequence[Machine]) -> list[str]:
    return sorted({machine.bus for machine in machines})


def _sim(stage: Stage, ports: dict[str, int], seed: int) -> toml.Table:
    return {
        "seed": seed,
        "timescale": str(stage.scale),
        "control_port": stage.control_port,
        "trusted_key": stage.releases.image_key,
        "state_dir": stage.folder / "sim",
        "buses": [
            {"name": bus, "kind": "tcp", "port": ports[bus]}
            if bus in ports
            else {"name": bus, "kind": "rtu", "path": stage.folder / bus}
            for bus in _buses(stage.machines)
        ],
        "machines": [
            {"device": m.device, "machine_type": m.machine_type, "bus": m.bus, "unit": m.unit}
            for m in stage.machines
        ],
    }


def _edge(stage: Stage, broker: Broker, site: str, ports: dict[str, int]) -> toml.Table:
    agent = f"edge-{site}"
    machines = [machine for machine in stage.machines if machine.site == site]
    return {
        "agent": agent,
        "site": site,
        "timescale": str(stage.scale),
        "data_dir": stage.folder / agent,
        "trusted_root": stage.releases.room.first_root,
        "broker": _broker(broker, agent),
        "buses": [
            {"name": bus, "kind": "tcp", "host": "127.0.0.1", "port": ports[bus]}
            if bus in ports
            else {"name": bus, "kind": "rtu", "path": stage.folder / bus}
            for bus in _buses(machines)
        ],
        "devices": [
            {"device": m.device, "machine_type": m.machine_type, "bus": m.bus, "unit": m.unit}
            for m in machines
        ],
    }


def _cloud(stage: Stage, broker: Broker, webhook_url: str) -> toml.Table:
    return {
        "data_dir": stage.folder / "cloud",
        "timescale": str(stage.scale),
        "http_host": "127.0.0.1",
        "http_port": stage.http_port,
        "api_token_file": stage.folder / "api.token",
        "release_root": stage.releases.room.first_root,
        "mode_override": "auto",
        "commissioning_s": script.COMMISSIONING_S,
        "commissioning_samples": script.COMMISSIONING_SAMPLES,
        "silent_after_s": SILENT_AFTER_S,
        "broker": _broker(broker, "gateway"),
        "webhook": {
            "url": webhook_url,
            "secret_file": stage.folder / "webhook.secret",
            "allow_private": True,
        },
        "assets": [
            {
                "device": m.device,
                "site": m.site,
                "machine_type": m.machine_type,
                "title": f"{TITLES[m.machine_type]} {m.device.rpartition('-')[2]}",
                "serial": f"{m.machine_type[:2].upper()}-{1000 + m.unit}",
                "address": f"Site {m.site}, bay {m.unit}",
            }
            for m in stage.machines
        ],
    }


def _broker(broker: Broker, user: str) -> dict[str, toml.Value]:
    return {
        "url": broker.url,
        "username": user,
        "password_file": broker.password_file(user),
    }
