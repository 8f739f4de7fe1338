"""What all loops of the gateway share."""

import asyncio
from dataclasses import dataclass, field

from cloud.adapters.clock import PlantClock
from cloud.adapters.mqtt import Link
from cloud.adapters.series import Readable
from cloud.adapters.store import Store
from cloud.config import Config
from cloud.core.asset import AssetRow
from contract.machines import MachineType
from contract.timescale import Timescale


@dataclass(frozen=True)
class Parts:
    """The gateway's adapters and tables, opened once."""

    config: Config
    timescale: Timescale
    clock: PlantClock
    store: Store
    series: Readable
    link: Link
    assets: dict[str, AssetRow]
    machines: dict[str, MachineType]
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    """A case has saved effects: the outbox looks at once."""
