"""The plant of a drill: its machines, the links between programs, and everybody's config."""

import tomllib
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from cloud.adapters.broker import Broker
from cloud.adapters.clock import PlantClock
from cloud.adapters.series import Readable
from cloud.adapters.series_stores import open_reader
from cloud.config import SeriesStore
from contract import machines as machine_types
from contract.timescale import Timescale
from farfix import toml
from farfix.chaos import influxd
from farfix.chaos.tally import Stored
from farfix.children import free_port
from farfix.demo import script, stage
from farfix.demo.script import Machine
from farfix.demo.stage import Stage

MACHINES = 32
"""On two sites, each with an agent."""
FEW_MACHINES = 16
SHORT_SAMPLES = 20_000
"""A drill of fewer samples has few machines, so that it takes a minute or two."""
WORKERS = 2
"""Of the gateway; with more than one it shows if they keep to their own devices."""
READINGS_PER_S = 320.0
"""Of the wall clock; what two cores bear while every program is up."""
POLL_S = 5.0
"""How often the shipped machine types are polled, in plant time."""
MAX_SPEED = 60.0
"""How fast plant time runs at most; an outage lasts longer there by as much."""
SILENT_AFTER_S = 86_400.0
"""So long that no partition of a drill looks like a machine that fell silent."""
DATABASE = "farfix"
EDGE_BROKER, CLOUD_BROKER, CLOUD_STORE = "edge-broker", "cloud-broker", "cloud-store"
ALL_TIME = (0, 2**63 - 1)
MARKS = ("quality", "score", "alarm")
"""What a row has beside its signals."""


class Stand(Struct, frozen=True):
    """Where everything of a drill lies."""

    stage: Stage
    store_port: int
    """Of the real database; 0: the embedded store."""

    @property
    def store(self) -> str:
        """Which program keeps the series."""
        return "influxd" if self.store_port else "embedded"

    def targets(self, broker_port: int) -> dict[str, int]:
        """Return the links that can be troubled, and the port behind each."""
        links = {EDGE_BROKER: broker_port, CLOUD_BROKER: broker_port}
        return links | ({CLOUD_STORE: self.store_port} if self.store_port else {})

    def spool(self, site: str) -> Path:
        """Return the file of a site's agent."""
        return self.stage.folder / f"edge-{site}" / "edge.db"


def prepare(folder: Path, samples: int, origin_ns: int) -> Stand:
    """Make a fresh folder with new keys and secrets."""
    count = MACHINES if samples >= SHORT_SAMPLES else FEW_MACHINES
    speed = min(READINGS_PER_S * POLL_S / count, MAX_SPEED)
    fleet = [replace(m, bus=f"tcp-{m.site}") for m in script.fleet(count)]
    made = stage.prepare(folder, fleet, Timescale(speed, origin_ns))
    return Stand(made, free_port() if influxd.program() else 0)


def write_configs(
    stand: Stand, broker: Broker, ports: dict[str, int], webhook_url: str, seed: int
) -> None:
    """Write the config of every program, with all links through the proxy."""
    stage.write_configs(stand.stage, broker, webhook_url, seed)
    if stand.store_port:
        influxd.write_config(stand.stage.folder / "influxd", stand.store_port, free_port())
    for name, file in stand.stage.config.items():
        config = tomllib.loads(file.read_text())
        if name == "cloud":
            config["broker"]["url"] = f"mqtt://127.0.0.1:{ports[CLOUD_BROKER]}"
            config["workers"] = WORKERS
            config["silent_after_s"] = SILENT_AFTER_S
            if stand.store_port:
                url = f"http://127.0.0.1:{ports[CLOUD_STORE]}"
                config["series"] = {"kind": "influx1", "url": url, "database": DATABASE}
        elif name.startswith("edge"):
            config["broker"]["url"] = f"mqtt://127.0.0.1:{ports[EDGE_BROKER]}"
        file.write_text(toml.dumps(config))


def open_store(stand: Stand) -> Readable:
    """Open the store as it is, not through the proxy."""
    config = SeriesStore()
    if stand.store_port:
        url = f"http://127.0.0.1:{stand.store_port}"
        config = SeriesStore(kind="influx1", url=url, database=DATABASE)
    folder = stand.stage.folder / "cloud"
    return open_reader(
        config, lambda _: sorted(folder.glob("telemetry-*.db")), PlantClock(stand.stage.scale)
    )


def stored(store: Readable, machine: Machine) -> Stored:
    """Return everything that a store has of a machine."""
    signals = [s.name for s in machine_types.library()[machine.machine_type].signals]
    fields = [*signals, *MARKS]
    points = store.read(machine.machine_type, machine.device, fields, *ALL_TIME, 10**9)
    rows = list(zip(points.times_ns, *points.columns.values(), strict=True))
    values = {
        time_ns: {name: v for name, v in zip(signals, row, strict=False) if v is not None}
        for time_ns, *row in rows
    }
    return Stored(values, {time_ns for time_ns, *row in rows if row[-1] is not None})
