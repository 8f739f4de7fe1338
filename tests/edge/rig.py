"""A whole agent between a plant and a real broker, for tests."""

import asyncio
import itertools
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from contract import codec, machines, timescale
from contract.commands import Command, Precondition
from contract.firmware import ReleaseRef
from contract.telemetry import TelemetryBatch
from edge import agent
from edge.adapters.clock import Clock
from edge.adapters.spool import open_database
from edge.config import BrokerConfig, BusConfig, Config, DeviceConfig
from tests.edge import gateway, plant
from tests.peers import Mosquitto

PUMP = machines.library()["centrifugal_pump"]
SPEED = 20
_numbers = itertools.count(1)


def pump(**values: float) -> plant.Unit:
    """Return a unit that shows a healthy pump in its main mode."""
    unit = plant.Unit()
    healthy = {"mode": 2, "discharge_pressure_bar": 3, "boot_count": 4, "calibration_count": 1}
    unit.show(PUMP, **{**healthy, "firmware_version": 1_002_003, **values})
    unit.serve_commands(PUMP)
    return unit


@dataclass
class Rig:
    """Names are new for every rig, so that nothing retained by the broker gets in the way."""

    broker: Mosquitto
    folder: Path
    units: dict[int, plant.Unit]
    plant: plant.Plant
    gateway: gateway.Gateway
    trusted_root: Path | None = None
    timeout_s: float = 10.0
    number: int = field(default_factory=lambda: next(_numbers))
    speed: int = SPEED
    origin_ns: int = field(default_factory=time.time_ns)  # noqa: TID251 - wall time is meant
    ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def scale(self) -> str:
        return f"{self.speed}@{self.origin_ns}"

    @property
    def agent_name(self) -> str:
        return f"edge-{self.number}"

    def device(self, unit: int = 1) -> str:
        return f"pump-{self.number}-{unit}"

    def config(self) -> Config:
        return Config(
            agent=self.agent_name,
            site=gateway.SITE,
            timescale=self.scale,
            data_dir=self.folder / "data",
            trusted_root=self.trusted_root,
            spool_max_bytes=1_000_000,
            broker=BrokerConfig(
                url=self.broker.url,
                username=self.broker.username,
                password_file=self.broker.password_file,
            ),
            buses=[
                BusConfig(
                    name="tcp",
                    kind="tcp",
                    host="127.0.0.1",
                    port=self.plant.port,
                    timeout_s=self.timeout_s,
                )
            ],
            devices=[
                DeviceConfig(device=self.device(unit), machine_type=PUMP.name, bus="tcp", unit=unit)
                for unit in self.units
            ],
        )

    @property
    def spool(self) -> Path:
        return self.folder / "data" / "edge.db"

    def note_taken(self) -> None:
        """Have the spool's file remember all that was ever committed to it."""
        with closing(open_database(self.spool)) as db:
            db.executescript(
                "CREATE TABLE taken (device TEXT, data BLOB); "
                "CREATE TRIGGER note AFTER INSERT ON batch BEGIN "
                "INSERT INTO taken VALUES (new.device, new.data); END"
            )

    def taken(self, device: str) -> set[int]:
        """Return the event times of a device that were ever committed to the spool."""
        with closing(sqlite3.connect(self.spool)) as db:
            rows = db.execute("SELECT data FROM taken WHERE device = ?", (device,)).fetchall()
        return {t for (data,) in rows for t in codec.decode(data, TelemetryBatch).times_ns}

    def spooled(self) -> int:
        """Return how many batches wait in the spool."""
        with closing(sqlite3.connect(self.spool)) as db:
            count: int = db.execute("SELECT count(*) FROM batch").fetchone()[0]
            return count

    def now_ns(self) -> int:
        return Clock(timescale.parse(self.scale)).now_ns()

    def command(
        self,
        name: str,
        argument: float | None = None,
        lifetime_s: float = 7200,
        precondition: Precondition | None = None,
        release: ReleaseRef | None = None,
    ) -> Command:
        now_ns = self.now_ns()
        return Command(
            id=f"c{self.number}-{next(self.ids)}",
            name=name,
            argument=argument,
            issued_ns=now_ns,
            expires_ns=now_ns + int(lifetime_s * 1e9),
            precondition=precondition,
            release=release,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the agent until the block ends."""
        stop = asyncio.Event()
        task = asyncio.create_task(agent.run(self.config(), stop))
        try:
            yield
        finally:
            stop.set()
            await task


@asynccontextmanager
async def rig(
    broker: Mosquitto,
    folder: Path,
    *units: plant.Unit,
    timeout_s: float = 10.0,
    speed: int = SPEED,
) -> AsyncIterator[Rig]:
    """Set up a plant with these units, numbered from 1, and a listening gateway."""
    numbered = dict(enumerate(units, 1))
    async with (
        plant.running(numbered) as served,
        gateway.listening(broker, f"gateway-{next(_numbers)}") as heard,
    ):
        yield Rig(broker, folder, numbered, served, heard, timeout_s=timeout_s, speed=speed)
