"""The gateway's only clock: wall time mapped to plant time."""

import asyncio
import time

from contract.timescale import Timescale


class PlantClock:
    """Plant time of this installation; the wall clock unless a demonstration runs faster."""

    def __init__(self, scale: Timescale = Timescale()) -> None:  # noqa: B008 (frozen)
        self._scale = scale

    def now_ns(self) -> int:
        """Return plant time now, in nanoseconds since 1970 UTC."""
        return self._scale.plant_ns(time.time_ns())  # noqa: TID251 (this is the clock adapter)

    async def sleep(self, plant_s: float) -> None:
        """Wait for a span of plant time, in seconds."""
        await asyncio.sleep(self._scale.wall_s(plant_s))
